//! Stands in for TLS in a build without it.

use bstr::BString;
use rsync_engine::Connection;

use crate::{ClientError, TlsSettings};

/// Protection that no value of exists.
#[derive(Debug)]
pub(crate) enum Tls {}

impl Tls {
    /// Says that this build has no TLS.
    pub(crate) fn prepare(host: &BString, _: &TlsSettings) -> Result<Self, ClientError> {
        let reason = "this program was built without TLS (feature `tls`)".to_owned();
        Err(ClientError::Tls { host: host.clone(), reason })
    }

    pub(crate) fn protect(self, _: Connection) -> Result<Connection, ClientError> {
        match self {}
    }
}
