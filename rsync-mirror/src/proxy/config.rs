//! The proxy's configuration: the file of rsync-proxy (spec 11 §4), and what ours adds to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rsync_daemon::{AddressPattern, TlsFiles};
use rsync_proto::session::ProxyHeaderVersion;
use serde::{Deserialize, Deserializer};

use crate::health::{Checks, Endpoint, Target};
use crate::{Secret, duration};

/// Most bytes of a configuration, and of a message of the day.
const FILE_LIMIT: u64 = 4 << 20;

/// What the proxy is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// The front.
    pub proxy: FrontConfig,
    /// The daemons behind it (`[upstreams.NAME]`).
    #[serde(default)]
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// What differs for single modules (`[modules.NAME]`).
    #[serde(default)]
    pub modules: BTreeMap<String, ModuleConfig>,
    /// How upstreams are checked that do not say it themselves (`[check]`).
    #[serde(default)]
    pub check: Checks,
}

/// The section `[proxy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontConfig {
    /// Where clients connect: `ADDRESS:PORT`, or `:PORT` for every address.
    pub listen: ListenAddress,
    /// Where they connect by TLS.
    #[serde(default)]
    pub listen_tls: Option<ListenAddress>,
    /// Where status, metrics and reload are served.
    #[serde(default)]
    pub listen_http: Option<ListenAddress>,
    /// Who may reload over HTTP from other machines: whoever sends this as a bearer token.
    #[serde(default)]
    pub http_token: Option<Secret>,
    /// A file that gets a line for each request; none without.
    #[serde(default)]
    pub access_log: Option<PathBuf>,
    /// A file that gets what goes wrong; standard error without.
    #[serde(default)]
    pub error_log: Option<PathBuf>,
    /// The certificate chain for `listen_tls`, in PEM form.
    #[serde(default)]
    pub tls_cert_file: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub tls_key_file: Option<PathBuf>,
    /// The message of the day.
    #[serde(default)]
    pub motd: Option<String>,
    /// A file that holds it; it is read when the configuration is.
    #[serde(default)]
    pub motd_file: Option<PathBuf>,
    /// Peers whose connections begin with a header of the PROXY protocol: `ADDRESS[/BITS]`.
    #[serde(default, deserialize_with = "patterns")]
    pub proxy_protocol_from: Vec<AddressPattern>,
    /// How a backend is chosen for a module that several have.
    #[serde(default)]
    pub policy: Policy,
    /// Most connections at a time; 0 is no limit.
    #[serde(default = "default_connections")]
    pub max_connections: usize,
    /// Most connections of a client, which is an IPv4 address or a /64 of IPv6; 0 is no limit.
    #[serde(default)]
    pub max_connections_per_client: usize,
    /// Longest wait in a queue; 0 is no limit.
    #[serde(default = "default_queue_timeout", deserialize_with = "duration::deserialize")]
    pub queue_timeout: Duration,
    /// Time from the connection to the name of a module.
    #[serde(default = "default_handshake_timeout", deserialize_with = "duration::deserialize")]
    pub handshake_timeout: Duration,
    /// Time for connecting to a backend and its greeting.
    #[serde(default = "default_dial_timeout", deserialize_with = "duration::deserialize")]
    pub dial_timeout: Duration,
    /// Longest time without a byte in either direction; 0 is no limit.
    #[serde(default = "default_idle_timeout", deserialize_with = "duration::deserialize")]
    pub idle_timeout: Duration,
    /// Longest session; 0 is no limit.
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub max_session: Duration,
    /// Fewest bytes a second, both directions together, on average over [`FrontConfig::min_rate_span`]; 0 is no
    /// limit.
    #[serde(default)]
    pub min_rate: u64,
    /// The time over which the rate is measured, a minute unless given.
    #[serde(default = "minute", deserialize_with = "duration::deserialize")]
    pub min_rate_span: Duration,
    /// How long sessions may go on when the proxy is told to stop; 0 is no limit.
    #[serde(default, deserialize_with = "duration::deserialize")]
    pub drain_timeout: Duration,
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

/// A section `[upstreams.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Where it listens: `HOST[:PORT]` or the path of a Unix socket.
    pub address: Endpoint,
    /// Modules it has.
    #[serde(default)]
    pub modules: Vec<String>,
    /// It is asked for its modules.
    #[serde(default)]
    pub discover_modules: bool,
    /// It expects a header of the PROXY protocol, of version 1 unless `proxy_protocol` says more.
    #[serde(default)]
    pub use_proxy_protocol: bool,
    /// The version of that header.
    #[serde(default, deserialize_with = "header_version")]
    pub proxy_protocol: Option<ProxyHeaderVersion>,
    /// Most sessions at a time; 0 is no limit.
    #[serde(default)]
    pub max_active_connections: usize,
    /// Most clients that wait for one; 0 is no limit.
    #[serde(default)]
    pub max_queued_connections: usize,
    /// Its share, beside those of the other upstreams of a module.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// It gets no new sessions.
    #[serde(default)]
    pub drain: bool,
    /// How it is checked.
    #[serde(default)]
    pub check: Option<Checks>,
}

/// A section `[modules.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModuleConfig {
    /// Most sessions at a time; 0 is no limit.
    pub max_connections: usize,
    /// How a backend is chosen.
    pub policy: Option<Policy>,
    /// Whether it is listed; its backends must list it too.
    pub list: Option<bool>,
}

/// How a backend is chosen for a module that several have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Each client has its own, and keeps it when others come and go.
    #[default]
    ClientIp,
    /// In turn, by weight.
    Weighted,
    /// That with the fewest sessions for its weight.
    LeastConn,
    /// The first by name that is up.
    First,
}

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub Vec<SocketAddr>);

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong =
            |why: &str| serde::de::Error::custom(format!("{text:?} is no address to listen at: {why}"));
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| wrong("after the colon stands a port"))?;
            let every = [IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::UNSPECIFIED)];
            return Ok(Self(every.map(|ip| SocketAddr::new(ip, port)).to_vec()));
        }
        let found: Vec<SocketAddr> =
            text.to_socket_addrs().map_err(|error| wrong(&error.to_string()))?.collect();
        if found.is_empty() { Err(wrong("the name has no address")) } else { Ok(Self(found)) }
    }
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is longer than any configuration.
    #[error("{} is longer than {FILE_LIMIT} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// It is not what it should be; the text names line and column.
    #[error("{}: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: Box<toml::de::Error>,
    },
    /// Its parts do not fit together.
    #[error("{}: {text}", path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        text: String,
    },
}

impl ProxyConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ProxyConfigError`].
    pub fn load(path: &Path) -> Result<Self, ProxyConfigError> {
        let text = read_limited(path)?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ProxyConfigError::Syntax { path: path.to_owned(), error: Box::new(error) })?;
        if let Some(file) = &config.proxy.motd_file {
            config.proxy.motd = Some(read_limited(file)?);
        }
        config.check().map_err(|text| ProxyConfigError::Conflict { path: path.to_owned(), text })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let front = &self.proxy;
        if front.listen_tls.is_some() && (front.tls_cert_file.is_none() || front.tls_key_file.is_none()) {
            return Err("listen_tls needs tls_cert_file and tls_key_file".into());
        }
        if self.upstreams.is_empty() {
            return Err("there is no [upstreams.NAME]: nobody could serve a module".into());
        }
        for (name, upstream) in &self.upstreams {
            let conflict = |text: String| Err(format!("upstream {name}: {text}"));
            if upstream.modules.is_empty() && !upstream.discover_modules {
                return conflict("it has neither modules nor discover_modules = true".into());
            }
            if upstream.weight == 0 {
                return conflict("a weight is at least 1; drain = true keeps new sessions away".into());
            }
            let checks = self.checks(upstream);
            if checks.interval.is_zero() || checks.timeout.is_zero() || checks.rise == 0 || checks.fall == 0 {
                return conflict("interval, timeout, rise and fall of a check are at least 1".into());
            }
            let wrong = |module: &&String| {
                module.is_empty() || module.starts_with('#') || module.contains(['/', '\n', '\0'])
            };
            if let Some(module) = upstream.modules.iter().find(wrong) {
                return conflict(format!("{module:?} cannot be a module"));
            }
        }
        let knows = |module: &String| {
            self.upstreams
                .values()
                .any(|upstream| upstream.discover_modules || upstream.modules.contains(module))
        };
        match self.modules.keys().find(|module| !knows(module)) {
            Some(module) => Err(format!("[modules.{module}]: no upstream has this module")),
            None => Ok(()),
        }
    }

    /// How an upstream is checked.
    #[must_use]
    pub fn checks<'a>(&'a self, upstream: &'a UpstreamConfig) -> &'a Checks {
        upstream.check.as_ref().unwrap_or(&self.check)
    }
}

impl FrontConfig {
    /// The certificate of `listen_tls`.
    pub(super) fn tls_files(&self) -> Option<TlsFiles> {
        Some(TlsFiles { certificate: self.tls_cert_file.clone()?, key: self.tls_key_file.clone()? })
    }

    /// The message of the day as it is sent: with an end of line, and an empty line behind it.
    pub(super) fn motd_bytes(&self) -> Vec<u8> {
        let Some(motd) = self.motd.as_ref().filter(|motd| !motd.is_empty()) else { return Vec::new() };
        let mut bytes = motd.clone().into_bytes();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
        bytes
    }
}

impl UpstreamConfig {
    /// Whom to check, and to connect to.
    pub(super) fn target(&self) -> Target {
        let mut target = Target::new(self.address.clone());
        target.proxy_header =
            self.proxy_protocol.or(self.use_proxy_protocol.then_some(ProxyHeaderVersion::One));
        target.module = self.modules.first().map(|module| module.as_str().into());
        target
    }
}

fn read_limited(path: &Path) -> Result<String, ProxyConfigError> {
    use std::io::Read;
    let failed = |source| ProxyConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(ProxyConfigError::TooLong { path: path.to_owned() });
    }
    Ok(text)
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AddressPattern>, D::Error> {
    let read = |text: String| {
        let wrong = || serde::de::Error::custom(format!("{text:?} is no ADDRESS[/BITS]"));
        AddressPattern::parse(&text).ok_or_else(wrong)
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(read).collect()
}

fn header_version<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ProxyHeaderVersion>, D::Error> {
    match u8::deserialize(deserializer)? {
        1 => Ok(Some(ProxyHeaderVersion::One)),
        2 => Ok(Some(ProxyHeaderVersion::Two)),
        _ => Err(serde::de::Error::custom("proxy_protocol is 1 or 2")),
    }
}

fn default_connections() -> usize {
    4096
}

fn default_weight() -> u32 {
    1
}

fn default_queue_timeout() -> Duration {
    Duration::from_secs(3600)
}

fn default_handshake_timeout() -> Duration {
    Duration::from_secs(60)
}

fn default_dial_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_idle_timeout() -> Duration {
    Duration::from_secs(3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<ProxyConfig, String> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("proxy.toml");
        std::fs::write(&path, text).expect("written");
        ProxyConfig::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_of_rsync_proxy_is_read() {
        let config = load(
            "[proxy]\nlisten = \"0.0.0.0:8730\"\nlisten_tls = \":8740\"\nlisten_http = \"127.0.0.1:9528\"\n\
             access_log = \"/var/log/a.log\"\nerror_log = \"/var/log/e.log\"\ntls_cert_file = \"c\"\n\
             tls_key_file = \"k\"\nmotd = \"Welcome\"\n\
             [upstreams.u1]\naddress = \"127.0.0.1:1234\"\nmodules = [\"foo\", \"bar\"]\n\
             use_proxy_protocol = true\nmax_active_connections = 60\nmax_queued_connections = 100\n\
             [upstreams.u2]\naddress = \"/run/rsync.sock\"\ndiscover_modules = true\n",
        );
        let config = config.expect("a configuration");
        let u1 = &config.upstreams["u1"];
        assert_eq!(u1.target().proxy_header, Some(ProxyHeaderVersion::One));
        assert_eq!((u1.max_active_connections, u1.max_queued_connections), (60, 100));
        assert_eq!(config.upstreams["u2"].address, Endpoint::Unix("/run/rsync.sock".into()));
        assert_eq!(config.proxy.motd_bytes(), b"Welcome\n\n");
        assert_eq!(config.proxy.listen_tls.map(|listen| listen.0.len()), Some(2));
    }

    #[test]
    fn each_mistake_is_told_with_its_place() {
        let front = "[proxy]\nlisten = \"127.0.0.1:1\"\n";
        let upstream = "[upstreams.a]\naddress = \"h\"\nmodules = [\"m\"]\n";
        for (text, expected) in [
            (format!("{front}lisn = 1\n{upstream}"), "unknown field `lisn`"),
            (format!("{front}lisn = 1\n{upstream}"), "line 3"),
            (front.to_owned(), "there is no [upstreams.NAME]"),
            (format!("{front}[upstreams.a]\naddress = \"h\"\n"), "neither modules nor discover_modules"),
            (format!("{front}[upstreams.a]\naddress = \"h:x\"\nmodules = [\"m\"]"), "\"h:x\" is neither"),
            (format!("{front}{upstream}weight = 0"), "a weight is at least 1"),
            (format!("{front}{upstream}proxy_protocol = 3"), "proxy_protocol is 1 or 2"),
            (format!("{front}{upstream}check.fall = 0"), "are at least 1"),
            (format!("{front}{upstream}[modules.x]\nlist = false"), "no upstream has this module"),
            (format!("{front}listen_tls = \":2\"\n{upstream}"), "needs tls_cert_file"),
            (format!("{front}policy = \"best\"\n{upstream}"), "unknown variant `best`"),
            (
                format!("{front}proxy_protocol_from = [\"10.0.0\"]\n{upstream}\nmodules = [\"a/b\"]"),
                "duplicate key",
            ),
            ("[proxy]\nlisten = \"873\"\n".into(), "is no address to listen at"),
        ] {
            let error = load(&text).expect_err(&text);
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
