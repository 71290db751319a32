//! The client for async programs: every call runs on a thread of its own.

use std::path::PathBuf;

use bstr::BString;
use tokio::task::{JoinError, spawn_blocking};

use crate::ClientError;
use crate::client::{CancelHandle, Client};
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
