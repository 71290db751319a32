//! `manager.conf` (spec 11 §3.3).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rsync_daemon::TlsFiles;
use serde::Deserialize;
use toml::Spanned;

use super::convert::resolve;
use super::worker_conf::{Placed, given};
use crate::config::source::{Findings, Texts};
use crate::config::{ConfigError, Finding};

/// Where a manager listens unless it is told.
const ADDRESS: &str = "127.0.0.1";
const PORT: u16 = 14242;
/// Where it remembers.
const DATABASE: &str = "/var/lib/tunasync/tunasync.db";

/// A manager, as its configuration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The certificate it shows.
    pub tls: Option<TlsFiles>,
    /// Where it remembers what workers told it.
    pub database: PathBuf,
    /// Whose certificates of workers are trusted; the system's authorities if absent.
    pub ca_cert: Option<PathBuf>,
    /// Who changes something must have this, if it is set; it is what workers and control programs of ours
    /// send, and tunasync's cannot.
    pub token: Option<crate::Secret>,
    /// What has no effect, or is unknown.
    pub warnings: Vec<Finding>,
}

/// What a command line says, which goes before the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagerOverrides {
    /// `--addr`
    pub address: Option<String>,
    /// `--port`
    pub port: Option<u16>,
    /// `--cert`
    pub cert: Option<String>,
    /// `--key`
    pub key: Option<String>,
    /// `--db-file`
    pub db_file: Option<String>,
    /// `--db-type`
    pub db_type: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    debug: Placed<bool>,
    server: Server,
    files: Files,
    x_rsync_mirror: Extension,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Server {
    addr: Placed<String>,
    port: Placed<u16>,
    ssl_cert: Placed<String>,
    ssl_key: Placed<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Files {
    status_file: Placed<String>,
    db_type: Placed<String>,
    db_file: Placed<String>,
    ca_cert: Placed<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Extension {
    token: Option<crate::Secret>,
}

impl ManagerConfig {
    /// Reads a configuration, if there is one, and what the command line says.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong or cannot be honoured.
    pub fn load(path: Option<&Path>, overrides: &ManagerOverrides) -> Result<Self, ConfigError> {
        let mut texts = Texts::default();
        if let Some(path) = path {
            let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
                findings: vec![Finding::of_file(path, format!("cannot read it: {error}"))],
            })?;
            texts.add(path, text);
        }
        let mut findings = Findings::new(&texts);
        let mut warnings = Findings::new(&texts);
        let mut file = File::default();
        for source in texts.files() {
            let table = findings.parse_text(source);
            let mut found = Findings::new(&texts);
            file = found.interpret(table, &(0..0), &[]).unwrap_or_default();
            for finding in found.into_vec() {
                let is_unknown = finding.text.starts_with("unknown key");
                if is_unknown { &mut warnings } else { &mut findings }.add(finding);
            }
        }
        let config = build(&file, overrides, &mut findings, &mut warnings);
        match config {
            Some(config) if findings.is_clean() => Ok(Self { warnings: warnings.into_vec(), ..config }),
            _ => Err(ConfigError { findings: findings.with_warnings(warnings) }),
        }
    }
}

fn build(
    file: &File,
    overrides: &ManagerOverrides,
    findings: &mut Findings<'_>,
    warnings: &mut Findings<'_>,
) -> Option<ManagerConfig> {
    let (server, files) = (&file.server, &file.files);
    let place = |value: &Placed<String>| value.as_ref().map_or(0..0, Spanned::span);
    let choose = |own: &Option<String>, value: &Placed<String>| {
        own.clone().or_else(|| given(value).map(|value| value.get_ref().clone()))
    };
    if let Some(status_file) = given(&files.status_file) {
        warnings.find(&status_file.span(), "\"status_file\" has no effect");
    }
    if given(&file.debug).is_some() {
        let debug = file.debug.as_ref().map_or(0..0, Spanned::span);
        warnings.find(&debug, "\"debug\" has no effect: every request that fails is told anyway");
    }
    let kind = choose(&overrides.db_type, &files.db_type).unwrap_or_else(|| "bolt".to_owned());
    match kind.as_str() {
        // Whatever is asked for is a file that the manager has for itself, and so is ours.
        "bolt" | "badger" | "leveldb" => {}
        "redis" => findings.find(
            &place(&files.db_type),
            "db_type = \"redis\" is not supported: set it to \"bolt\", name a new \"db_file\", and take over what is \
             in the old one while its manager runs by \"rsync-mirror tunasync import --from-manager URL\"",
        ),
        other => findings.find(
            &place(&files.db_type),
            format!("db_type = {other:?} is unknown; there are bolt, badger and leveldb"),
        ),
    }
    let database =
        PathBuf::from(choose(&overrides.db_file, &files.db_file).unwrap_or_else(|| DATABASE.to_owned()));
    if is_foreign(&database) {
        let text = format!(
            "db_file: {} is a database of tunasync, which is not read: name a new file, and take over what is in \
             the old one while its manager runs by \"rsync-mirror tunasync import --from-manager URL\"",
            database.display()
        );
        findings.find(&place(&files.db_file), text);
    }
    let tls = match (choose(&overrides.cert, &server.ssl_cert), choose(&overrides.key, &server.ssl_key)) {
        (Some(cert), Some(key)) => Some(TlsFiles { certificate: cert.into(), key: key.into() }),
        (None, None) => None,
        _ => {
            let span = server.ssl_cert.as_ref().or(server.ssl_key.as_ref()).map_or(0..0, Spanned::span);
            findings.find(&span, "\"ssl_cert\" and \"ssl_key\" belong together");
            None
        }
    };
    let address = choose(&overrides.address, &server.addr).unwrap_or_else(|| ADDRESS.to_owned());
    let port = overrides.port.or(server.port.as_ref().map(|port| *port.get_ref())).unwrap_or(PORT);
    let Some(listen) = resolve(&address, port) else {
        findings.find(&place(&server.addr), format!("addr: {address:?} is no address of this machine"));
        return None;
    };
    Some(ManagerConfig {
        listen,
        tls,
        database,
        ca_cert: given(&files.ca_cert).map(|path| path.get_ref().into()),
        token: file.x_rsync_mirror.token.clone(),
        warnings: Vec::new(),
    })
}

/// Whether something is there that is not ours.
fn is_foreign(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => match file.take(16).read_to_end(&mut head) {
            Ok(_) => !head.is_empty() && head != *b"SQLite format 3\0",
            // badger and leveldb are directories.
            Err(_) => path.is_dir(),
        },
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, overrides: &ManagerOverrides) -> Result<ManagerConfig, String> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("manager.conf");
        std::fs::write(&path, text).unwrap();
        std::fs::write(place.path().join("bolt.db"), [0xED, 0x0C, 0xDA, 0xED, 0, 0, 0, 1]).unwrap();
        let text = text.replace("HERE", &place.path().display().to_string());
        std::fs::write(&path, text).unwrap();
        ManagerConfig::load(Some(&path), overrides).map_err(|error| error.to_string())
    }

    #[test]
    fn the_article_is_understood_and_the_command_line_goes_before_it() {
        let text = "debug = false\n[server]\naddr = '127.0.0.1'\nport = 12345\nssl_cert = ''\nssl_key = ''\n\
             [files]\ndb_type = 'bolt'\ndb_file = 'HERE/new.db'\nca_cert = ''\nstatus_file = '/tmp/x'\n[new]\n";
        let config = load(text, &ManagerOverrides::default()).unwrap();
        assert_eq!((config.listen.to_string().as_str(), config.tls), ("127.0.0.1:12345", None));
        let warnings: Vec<String> = config.warnings.iter().map(|warning| warning.text.clone()).collect();
        assert!(
            warnings[0].contains("status_file") && warnings[1].contains("unknown key \"new\""),
            "{warnings:?}"
        );
        let overrides = ManagerOverrides { port: Some(7), ..ManagerOverrides::default() };
        assert_eq!(load(text, &overrides).unwrap().listen.port(), 7);
    }

    #[test]
    fn databases_that_are_not_ours_are_refused_with_a_remedy() {
        let none = ManagerOverrides::default();
        let error = load("[files]\ndb_type = 'redis'\n", &none).unwrap_err();
        assert!(
            error.contains("manager.conf:2:11: db_type") && error.contains("import --from-manager"),
            "{error}"
        );
        let error = load("[files]\ndb_file = 'HERE/bolt.db'\n", &none).unwrap_err();
        assert!(error.contains(":2:11: db_file") && error.contains("is a database of tunasync"), "{error}");
    }
}
