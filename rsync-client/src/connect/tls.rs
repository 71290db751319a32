//! TLS to a daemon: whom the client trusts, and what it shows of itself (spec 08 §16, 10 §3.14).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use rsync_engine::Connection;
use rsync_engine::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rsync_engine::rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rsync_engine::rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rsync_engine::rustls::pki_types::pem::{self, PemObject};
use rsync_engine::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rsync_engine::rustls::server::ParsedCertificate;
use rsync_engine::rustls::{
    self, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::{ClientError, TlsSettings};

/// What protects one connection.
#[derive(Debug)]
pub(crate) struct Tls {
    host: BString,
    connection: ClientConnection,
}

impl Tls {
    /// Reads the files that `settings` name, before anything is said to `host`.
    pub(crate) fn prepare(host: &BString, settings: &TlsSettings) -> Result<Self, ClientError> {
        let failed = |reason: String| ClientError::Tls { host: host.clone(), reason };
        let name = server_name(host).ok_or_else(|| ClientError::TlsHost { host: host.clone() })?;
        let provider = ring::default_provider();
        let algorithms = provider.signature_verification_algorithms;
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier(settings, algorithms)?));
        let config = match &settings.cert {
            None => config.with_no_client_auth(),
            Some(cert) => {
                let chain = certificates(cert)?;
                let key = settings.key.as_ref().unwrap_or(cert);
                let private = PrivateKeyDer::from_pem_file(path(key)).map_err(file_error(key))?;
                config.with_client_auth_cert(chain, private).map_err(|error| failed(error.to_string()))?
            }
        };
        let connection =
            ClientConnection::new(Arc::new(config), name).map_err(|error| failed(error.to_string()))?;
        Ok(Self { host: host.clone(), connection })
    }

    /// Runs the handshake; the bytes of the answer's peer are those of the verified host.
    pub(crate) fn protect(self, connection: Connection) -> Result<Connection, ClientError> {
        let Self { host, connection: tls } = self;
        connection.secure(tls).map_err(|error| ClientError::Tls { host, reason: reason(&error) })
    }
}

/// The name that the certificate must be for.
fn server_name(host: &[u8]) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_str().ok()?).ok().map(|name| name.to_owned())
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the peer closed the connection during the handshake".to_owned(),
        io::ErrorKind::TimedOut => "the peer went silent during the handshake".to_owned(),
        _ => error.to_string(),
    }
}

fn path(name: &BString) -> PathBuf {
    PathBuf::from(name.to_os_str_lossy().into_owned())
}

fn file_error(path: &BString) -> impl FnOnce(pem::Error) -> ClientError {
    let path = path.clone();
    move |error| match error {
        pem::Error::Io(source) => ClientError::Read { path, source },
        error => ClientError::TlsFile { path, reason: pem_reason(&error) },
    }
}

fn pem_reason(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "it holds no PEM block of that kind".to_owned(),
        error => error.to_string(),
    }
}

fn certificates(file: &BString) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found = CertificateDer::pem_file_iter(path(file)).map_err(file_error(file))?;
    let chain: Vec<_> = found.collect::<Result<_, _>>().map_err(file_error(file))?;
    if chain.is_empty() {
        return Err(file_error(file)(pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn verifier(settings: &TlsSettings, algorithms: WebPkiSupportedAlgorithms) -> Result<Verifier, ClientError> {
    let (roots, listed) = match &settings.ca_cert {
        Some(file) if file.is_empty() => (None, Vec::new()),
        Some(file) => {
            let listed = certificates(file)?;
            (Some(authorities(file, &listed)?), listed)
        }
        None => (Some(system_roots()?), Vec::new()),
    };
    Ok(Verifier { roots, listed, checks_name: !settings.skip_host_name, algorithms })
}

/// The authorities of a file; every one must be usable.
fn authorities(
    file: &BString,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let refused =
            |error: rustls::Error| ClientError::TlsFile { path: file.clone(), reason: error.to_string() };
        roots.add(certificate.clone()).map_err(refused)?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map_or("there is none".to_owned(), ToString::to_string);
        return Err(ClientError::TlsRoots { reason });
    }
    Ok(roots)
}

/// Accepts whom the settings trust. A server that shows a certificate of the user's own file needs no
/// authority above it, as with OpenSSL: such are made by `openssl req -x509`.
#[derive(Debug)]
struct Verifier {
    /// Absent: anybody, because the user said so.
    roots: Option<RootCertStore>,
    listed: Vec<CertificateDer<'static>>,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.listed.contains(end_entity) {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
        }
        if self.checks_name {
            verify_server_name(&certificate, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
