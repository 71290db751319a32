//! `--copy-as`: calls that act as another user.

use rsync_engine::{Copier, EngineError};
use rsync_proto::options::{SuperUser, TransferOptions};

use crate::ClientError;
use crate::client::Client;

impl Client {
    /// Makes a call, in a thread of its own where it will act as another user: the caller's thread stays
    /// what it is.
    pub(crate) fn apart<T: Send>(
        &self,
        call: impl FnOnce() -> Result<T, ClientError> + Send,
    ) -> Result<T, ClientError> {
        if self.options.copy_as.is_none() {
            return call();
        }
        let outcome = std::thread::scope(|scope| scope.spawn(call).join());
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Becomes the user that `options` name, whose own rights then count. This comes behind connecting and
/// reading what the options name, and before any file of the transfer is looked at.
pub(crate) fn become_copier(options: &mut TransferOptions) -> Result<(), ClientError> {
    let Some(text) = &options.copy_as else { return Ok(()) };
    Copier::find(text).and_then(|copier| copier.take()).map_err(EngineError::from)?;
    options.super_user = SuperUser::Auto;
    Ok(())
}
