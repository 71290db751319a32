//! What a program that hosts a daemon decides itself: who is let in, who may log in, and trees that are
//! not directories.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bstr::{BStr, BString};
use rsync_engine::tree::Tree;

/// A client that asks for a module.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its address; behind a trusted proxy, the one that the proxy tells.
    pub address: IpAddr,
    /// Its host's name, or `UNDETERMINED` or `UNKNOWN`.
    pub host: String,
    /// The module.
    pub module: BString,
}

type AccessCheck = dyn Fn(&Caller) -> bool + Send + Sync;
type Passwords = dyn Fn(&Caller, &BStr) -> Option<Vec<u8>> + Send + Sync;

/// The host's own parts of a daemon.
#[derive(Clone, Default)]
pub(crate) struct Host {
    pub(crate) access: Option<Arc<AccessCheck>>,
    pub(crate) passwords: Option<Arc<Passwords>>,
    /// By module.
    pub(crate) trees: HashMap<BString, Arc<dyn Tree>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("access", &self.access.is_some())
            .field("passwords", &self.passwords.is_some())
            .field("trees", &self.trees.keys())
            .finish()
    }
}
