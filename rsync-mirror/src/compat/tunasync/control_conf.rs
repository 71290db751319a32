//! `ctl.conf`: which manager a control program speaks to (spec 11 §3.5).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::client::ControlClient;
use crate::Secret;
use crate::config::source::{Findings, Texts};
use crate::config::{ConfigError, Finding};

/// The port of managers.
const PORT: u16 = 14242;

/// Which manager is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlConfig {
    /// Its host; `localhost` if not given.
    pub host: Option<String>,
    /// Its port; 14242 if not given.
    pub port: Option<u16>,
    /// Speak TLS, and trust the authorities in this file.
    pub ca_cert: Option<PathBuf>,
    /// What a manager of ours may want.
    pub token: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    manager_addr: Option<String>,
    manager_port: Option<Spanned<u16>>,
    ca_cert: Option<PathBuf>,
    x_rsync_mirror: Extension,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extension {
    token: Option<Secret>,
}

impl ControlConfig {
    /// Reads files; what a later one says goes before what an earlier one does.
    ///
    /// # Errors
    /// [`ConfigError`] if one cannot be read.
    pub fn load(paths: &[PathBuf]) -> Result<Self, ConfigError> {
        paths.iter().try_fold(Self::default(), |known, path| Ok(Self::read(path)?.or(known)))
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            findings: vec![Finding::of_file(path, format!("cannot read it: {error}"))],
        })?;
        let mut texts = Texts::default();
        texts.add(path, text);
        let mut findings = Findings::new(&texts);
        let mut found = None;
        for source in texts.files() {
            let table = findings.parse_text(source);
            found = findings.interpret::<File>(table, &(0..0), &[]);
        }
        let File { manager_addr, manager_port, ca_cert, x_rsync_mirror } = match found {
            Some(file) if findings.is_clean() => file,
            _ => return Err(ConfigError { findings: findings.into_vec() }),
        };
        Ok(Self {
            host: manager_addr.filter(|host| !host.is_empty()),
            port: manager_port.map(Spanned::into_inner).filter(|&port| port != 0),
            ca_cert: ca_cert.filter(|path| !path.as_os_str().is_empty()),
            token: x_rsync_mirror.token,
        })
    }

    /// What is said here, and else what `known` says.
    #[must_use]
    pub fn or(self, known: Self) -> Self {
        Self {
            host: self.host.or(known.host),
            port: self.port.or(known.port),
            ca_cert: self.ca_cert.or(known.ca_cert),
            token: self.token.or(known.token),
        }
    }

    /// A client of the manager.
    #[must_use]
    pub fn client(&self) -> ControlClient {
        let scheme = if self.ca_cert.is_some() { "https" } else { "http" };
        let host = self.host.as_deref().unwrap_or("localhost");
        let base = format!("{scheme}://{host}:{}", self.port.unwrap_or(PORT));
        ControlClient::new(&base, self.ca_cert.as_deref(), self.token.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_files_go_before_earlier_ones() {
        let place = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let first = write("a", "manager_addr = 'one'\nmanager_port = 1\nca_cert = ''\n");
        let second = write("b", "manager_addr = 'two'\n");
        let config = ControlConfig::load(&[first, second]).unwrap();
        let expected = ControlConfig { host: Some("two".into()), port: Some(1), ..ControlConfig::default() };
        assert_eq!(config, expected);
        let wrong = write("c", "manager_port = 'many'\n");
        let error = ControlConfig::load(&[wrong]).unwrap_err().to_string();
        assert!(error.contains("c:1:16: "), "{error}");
    }
}
