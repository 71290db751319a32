//! What stands for TLS without the feature `tls`: a configuration that wants it is an error.

use std::io;

use crate::config::GlobalSettings;
use crate::peer::Peer;

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A parameter wants it.
    #[error("the parameters for TLS cannot be honoured: this program was built without it")]
    Absent,
}

impl TlsError {
    /// There is no certificate.
    pub(crate) const MISSING: Self = Self::Absent;
}

/// There is none.
pub(crate) enum TlsAcceptor {}

/// There is none.
pub(crate) enum TlsFiles {}

impl TlsFiles {
    pub(crate) fn load(&self) -> Result<TlsAcceptor, TlsError> {
        match *self {}
    }
}

/// None is ever in use.
#[derive(Default)]
pub(crate) struct Certificate(());

impl Certificate {
    pub(crate) fn current(&self, files: &TlsFiles) -> (Option<TlsAcceptor>, Option<TlsError>) {
        match *files {}
    }
}

impl GlobalSettings {
    /// No certificate.
    ///
    /// # Errors
    /// When a parameter wants TLS.
    pub(crate) fn tls_files(&self) -> Result<Option<TlsFiles>, TlsError> {
        match (&self.tls_certificate, &self.tls_key, self.tls_port) {
            (None, None, 0) => Ok(None),
            _ => Err(TlsError::Absent),
        }
    }
}

impl Peer {
    pub(crate) async fn secure(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        match *acceptor {}
    }
}
