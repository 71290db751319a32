//! Several upstreams of a job: which is taken, and which comes next when it fails.

mod choice;
mod probed;

use crate::job::Upstream;

pub(crate) use choice::order;
pub use probed::Probed;
pub(crate) use probed::target;

/// Knows which upstreams are well. Whoever checks them regularly answers from memory; a run asks before
/// each attempt.
pub trait Health: Send + Sync {
    /// Says why `upstream` cannot be used now.
    ///
    /// # Errors
    /// The reason, as a part of a sentence.
    fn check(&self, upstream: &Upstream) -> Result<(), String>;

    /// Hears how an attempt with `upstream` ended: whether it failed for reasons that lie there.
    fn ended(&self, upstream: &Upstream, failed: bool) {
        let _ = (upstream, failed);
    }
}

/// Takes every upstream for well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unchecked;

impl Health for Unchecked {
    fn check(&self, _: &Upstream) -> Result<(), String> {
        Ok(())
    }
}
