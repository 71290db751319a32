//! The daemon's certificate, read again when its files change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::GlobalSettings;
use crate::files::{CONFIG_LIMIT, open_trusted, read_trusted, to_path};
use crate::peer::Peer;
use crate::stream::ClientStream;

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A parameter is missing.
    #[error("\"tls port\" needs \"tls certificate\" and \"tls key\"")]
    Incomplete,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM form", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or are of an unknown kind.
    #[error("the certificate in {} cannot be used with its key: {text}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
}

impl TlsError {
    /// There is no certificate.
    pub(crate) const MISSING: Self = Self::Incomplete;
}

/// The files, in PEM form, of a certificate chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What tells that a file has changed.
type Stamp = (u64, u64, i64, i64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let found = open_trusted(path).ok()?.metadata().ok()?;
    Some((found.dev(), found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

impl GlobalSettings {
    /// The certificate, if TLS is spoken.
    ///
    /// # Errors
    /// [`TlsError::Incomplete`] when TLS is wanted, and a file is not named.
    pub(crate) fn tls_files(&self) -> Result<Option<TlsFiles>, TlsError> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsFiles { certificate: to_path(certificate), key: to_path(key) }))
            }
            (None, None) if self.tls_port == 0 => Ok(None),
            _ => Err(TlsError::Incomplete),
        }
    }
}

impl TlsFiles {
    fn stamps(&self) -> [Option<Stamp>; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }

    /// Reads both.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(&self) -> Result<TlsAcceptor, TlsError> {
        let read = |path: &PathBuf| {
            read_trusted(path, CONFIG_LIMIT)
                .map_err(|source| TlsError::Unreadable { path: path.clone(), source })
        };
        let not_pem = |path: &PathBuf, what| TlsError::NotPem { path: path.clone(), what };
        let text = read(&self.certificate)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|_| not_pem(&self.certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(not_pem(&self.certificate, "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_| not_pem(&self.key, "private key"))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let config = config.map_err(|error| TlsError::Unusable {
            path: self.certificate.clone(),
            text: error.to_string(),
        })?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl Peer {
    /// Speaks TLS from now on, as its server.
    ///
    /// # Errors
    /// When no protected connection comes about.
    pub async fn secure(self, acceptor: &TlsAcceptor) -> io::Result<Self> {
        let (stream, ahead) = self.into_parts();
        let stream = acceptor.accept(stream.after(ahead)).await?;
        Ok(Self::new(ClientStream::Other(Box::new(stream))))
    }
}

/// The certificate in use. One that cannot be used leaves the last one in force.
#[derive(Default)]
pub struct Certificate(Mutex<Option<Loaded>>);

struct Loaded {
    files: TlsFiles,
    stamps: [Option<Stamp>; 2],
    acceptor: TlsAcceptor,
}

impl Certificate {
    /// Speaks with the certificate in `files` as they are now; the error, if there is one, is told once
    /// for each change.
    pub fn current(&self, files: &TlsFiles) -> (Option<TlsAcceptor>, Option<TlsError>) {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = files.stamps();
        if let Some(known) = loaded.as_ref().filter(|known| known.files == *files && known.stamps == stamps) {
            return (Some(known.acceptor.clone()), None);
        }
        match files.load() {
            Ok(acceptor) => {
                *loaded = Some(Loaded { files: files.clone(), stamps, acceptor: acceptor.clone() });
                (Some(acceptor), None)
            }
            Err(error) => match loaded.as_mut() {
                None => (None, Some(error)),
                Some(known) => {
                    (known.files, known.stamps) = (files.clone(), stamps);
                    (Some(known.acceptor.clone()), Some(error))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn write(files: &TlsFiles) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(&files.certificate, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    }

    #[test]
    fn a_changed_certificate_is_read_and_a_broken_one_leaves_the_last_in_force() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name| place.path().join(name);
        let files = TlsFiles { certificate: path("cert"), key: path("key") };
        let certificate = Certificate::default();
        let (none, error) = certificate.current(&files);
        assert!(none.is_none() && matches!(error, Some(TlsError::Unreadable { .. })));
        write(&files);
        let config = |expects_error: bool| {
            let (acceptor, error) = certificate.current(&files);
            assert_eq!(error.is_some(), expects_error, "{error:?}");
            Arc::as_ptr(acceptor.expect("an acceptor").config())
        };
        let first = config(false);
        assert_eq!(config(false), first, "nothing has changed");
        write(&files);
        let second = config(false);
        assert_ne!(second, first);
        fs::write(&files.certificate, "nonsense").expect("written");
        assert_eq!(config(true), second);
        assert_eq!(config(false), second, "told once");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name| place.path().join(name);
        let files = TlsFiles { certificate: path("cert"), key: path("key") };
        write(&files);
        let other = rcgen::KeyPair::generate().expect("a key");
        fs::write(&files.key, other.serialize_pem()).expect("written");
        assert!(matches!(files.load(), Err(TlsError::Unusable { .. })));
        fs::write(&files.key, "").expect("written");
        assert!(matches!(files.load(), Err(TlsError::NotPem { what: "private key", .. })));
    }
}
