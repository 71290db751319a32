//! What a control program says to a manager (spec 11 §3.5).

use std::path::Path;

use axum::http::Method;
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::manager::with_token;
use super::records::{Command, MirrorStatus, WorkerRecord};
use crate::Secret;
use crate::web::{WebClient, WebError};

/// Why a manager did not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It did not answer.
    #[error(transparent)]
    NoAnswer(#[from] WebError),
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// The answer was none.
    #[error("the manager's answer cannot be read: {0}")]
    Broken(serde_json::Error),
    /// What it said cannot be entered.
    #[error(transparent)]
    Ledger(#[from] super::LedgerError),
}

/// Speaks to a manager. Needs a tokio runtime.
#[derive(Clone, Debug)]
pub struct ControlClient {
    base: String,
    client: WebClient,
}

/// A name as a part of a path.
fn part(name: &str) -> String {
    crate::markup::encode(name.as_bytes())
}

impl ControlClient {
    /// A client of the manager at `base`, such as `http://localhost:14242`. One behind TLS must have a
    /// certificate of the authorities in `ca_cert`, or of the system's. A manager of ours may want a token.
    #[must_use]
    pub fn new(base: &str, ca_cert: Option<&Path>, token: Option<&Secret>) -> Self {
        let client = with_token(WebClient::new(ca_cert), token);
        Self { base: base.trim_end_matches('/').to_owned(), client }
    }

    /// Asks for something, and answers what was said.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, ControlError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.client.call(method, &format!("{}{path}", self.base), body).await?;
        let answer: Result<Value, _> = serde_json::from_str(&reply.text);
        if reply.status == 200 {
            return answer.map_err(ControlError::Broken);
        }
        let said = answer.ok().and_then(|answer| answer["error"].as_str().map(str::to_owned));
        Err(ControlError::Refused(said.unwrap_or_else(|| format!("{} {}", reply.status, reply.text.trim()))))
    }

    /// All mirrors, as `/jobs` has them.
    ///
    /// # Errors
    /// [`ControlError`]; so with all calls.
    pub async fn jobs(&self) -> Result<Vec<Value>, ControlError> {
        let jobs = self.call(Method::GET, "/jobs", &Value::Null).await?;
        Ok(jobs.as_array().cloned().unwrap_or_default())
    }

    /// The mirrors of a worker.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn worker_jobs(&self, worker: &str) -> Result<Vec<MirrorStatus>, ControlError> {
        let path = format!("/workers/{}/jobs", part(worker));
        let jobs = self.call(Method::GET, &path, &Value::Null).await?;
        let jobs: Option<Vec<MirrorStatus>> = serde_json::from_value(jobs).map_err(ControlError::Broken)?;
        Ok(jobs.unwrap_or_default())
    }

    /// The workers.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>, ControlError> {
        let workers = self.call(Method::GET, "/workers", &Value::Null).await?;
        let workers: Option<Vec<WorkerRecord>> =
            serde_json::from_value(workers).map_err(ControlError::Broken)?;
        Ok(workers.unwrap_or_default())
    }

    /// Forgets mirrors that are disabled.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn flush(&self) -> Result<(), ControlError> {
        self.call(Method::DELETE, "/jobs/disabled", &Value::Null).await.map(drop)
    }

    /// Forgets a worker.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn remove_worker(&self, worker: &str) -> Result<(), ControlError> {
        self.call(Method::DELETE, &format!("/workers/{}", part(worker)), &Value::Null).await.map(drop)
    }

    /// Says what the size of a mirror is; the size that is known then.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn set_size(&self, worker: &str, mirror: &str, size: &str) -> Result<String, ControlError> {
        let path = format!("/workers/{}/jobs/{}/size", part(worker), part(mirror));
        let known = self.call(Method::POST, &path, &json!({ "name": mirror, "size": size })).await?;
        Ok(known["size"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends a command for a worker.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn command(&self, command: &Command) -> Result<(), ControlError> {
        self.call(Method::POST, "/cmd", &json!(command)).await.map(drop)
    }

    /// Takes over what another manager knows; how many workers and mirrors that were.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn import_into(&self, ledger: &Ledger) -> Result<(usize, usize), ControlError> {
        let workers = self.workers().await?;
        let mut count = 0;
        for worker in &workers {
            let jobs = self.worker_jobs(&worker.id).await?;
            // What it hides is not known here either.
            ledger.set_worker(&WorkerRecord { token: String::new(), ..worker.clone() })?;
            for job in &jobs {
                ledger.set_mirror(&MirrorStatus { worker: worker.id.clone(), ..job.clone() })?;
            }
            count += jobs.len();
        }
        Ok((workers.len(), count))
    }
}
