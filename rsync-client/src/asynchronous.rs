//! The client for async programs: every call runs on a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::BString;
use rsync_engine::tree::Tree;
use rsync_proto::options::Endpoints;
use tokio::task::{JoinError, spawn_blocking};

use crate::ClientError;
use crate::client::{CancelHandle, Client};
use crate::plan::Plan;
use crate::report::{Listing, Module, TransferReport};

/// Like [`Client`], with calls that do not block the thread of the caller.
///
/// Dropping a call's future ends its transfer, and that of every other call of the same client.
#[derive(Clone, Debug)]
pub struct AsyncClient {
    client: Client,
}

/// Ends the call if its future is dropped before it is done.
struct CancelOnDrop {
    handle: CancelHandle,
    armed: bool,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.handle.cancel();
        }
    }
}

impl AsyncClient {
    /// Wraps a client; its calls need a tokio runtime.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// [`Client::list_modules`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn list_modules(&self, endpoint: impl AsRef<[u8]>) -> Result<Vec<Module>, ClientError> {
        let endpoint = BString::from(endpoint.as_ref());
        self.run(move |client| client.list_modules(&endpoint)).await
    }

    /// [`Client::list`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn list(&self, source: impl AsRef<[u8]>) -> Result<Listing, ClientError> {
        let source = BString::from(source.as_ref());
        self.run(move |client| client.list(&source)).await
    }

    /// [`Client::fetch`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn fetch(&self, source: impl AsRef<[u8]>) -> Result<Vec<u8>, ClientError> {
        let source = BString::from(source.as_ref());
        self.run(move |client| client.fetch(&source)).await
    }

    /// [`Client::pull`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn pull(
        &self,
        source: impl AsRef<[u8]>,
        destination: impl Into<PathBuf>,
    ) -> Result<TransferReport, ClientError> {
        let (source, destination) = (BString::from(source.as_ref()), destination.into());
        self.run(move |client| client.pull(&source, &destination)).await
    }

    /// [`Client::push`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn push<S: AsRef<[u8]>>(
        &self,
        sources: &[S],
        destination: impl AsRef<[u8]>,
    ) -> Result<TransferReport, ClientError> {
        let (sources, destination) = (owned(sources), BString::from(destination.as_ref()));
        self.run(move |client| client.push(&sources, &destination)).await
    }

    /// [`Client::push_tree`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn push_tree<S: AsRef<[u8]>>(
        &self,
        tree: Arc<dyn Tree>,
        sources: &[S],
        destination: impl AsRef<[u8]>,
    ) -> Result<TransferReport, ClientError> {
        let (sources, destination) = (owned(sources), BString::from(destination.as_ref()));
        self.run(move |client| client.push_tree(tree, &sources, &destination)).await
    }

    /// [`Client::copy`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn copy<S: AsRef<Path>>(
        &self,
        sources: &[S],
        destination: impl Into<PathBuf>,
    ) -> Result<TransferReport, ClientError> {
        let sources: Vec<PathBuf> = sources.iter().map(|source| source.as_ref().into()).collect();
        let destination = destination.into();
        self.run(move |client| client.copy(&sources, &destination)).await
    }

    /// [`Client::copy_tree`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn copy_tree<S: AsRef<[u8]>>(
        &self,
        tree: Arc<dyn Tree>,
        sources: &[S],
        destination: impl Into<PathBuf>,
    ) -> Result<TransferReport, ClientError> {
        let (sources, destination) = (owned(sources), destination.into());
        self.run(move |client| client.copy_tree(tree, &sources, &destination)).await
    }

    /// [`Client::transfer`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn transfer(&self, endpoints: Endpoints) -> Result<TransferReport, ClientError> {
        self.run(move |client| client.transfer(&endpoints)).await
    }

    /// [`Client::dry_run`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn dry_run<S: AsRef<[u8]>>(
        &self,
        sources: &[S],
        destination: impl AsRef<[u8]>,
    ) -> Result<Plan, ClientError> {
        let (sources, destination) = (owned(sources), BString::from(destination.as_ref()));
        self.run(move |client| client.dry_run(&sources, &destination)).await
    }

    /// [`Client::replay`].
    ///
    /// # Errors
    /// Those of the call it wraps.
    pub async fn replay(
        &self,
        batch: impl Into<PathBuf>,
        destination: impl Into<PathBuf>,
    ) -> Result<TransferReport, ClientError> {
        let (batch, destination) = (batch.into(), destination.into());
        self.run(move |client| client.replay(&batch, &destination)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(Client) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, ClientError> {
        let client = self.client.clone();
        let mut guard = CancelOnDrop { handle: client.canceller(), armed: true };
        let result = spawn_blocking(move || call(client)).await;
        guard.armed = false;
        match result.map_err(JoinError::try_into_panic) {
            Ok(result) => result,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            Err(Err(_)) => Err(ClientError::Engine(rsync_engine::EngineError::Cancelled)),
        }
    }
}

fn owned<S: AsRef<[u8]>>(words: &[S]) -> Vec<BString> {
    words.iter().map(|word| word.as_ref().into()).collect()
}
