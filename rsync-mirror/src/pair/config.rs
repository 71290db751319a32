//! The configuration of one server of a pair.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::procedure::{Procedure, Step};
use crate::duration;
use crate::health::{Checks, Endpoint, ServiceCheck, Target};
use crate::job::Program;

/// Most bytes of a configuration.
const FILE_LIMIT: u64 = 1 << 20;
/// Most bytes of the name of a network device.
const DEVICE_LIMIT: usize = 15;

/// What one server of a pair is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairConfig {
    /// The floating address, and how it is watched.
    pub vip: VipConfig,
    /// The steps of a takeover, when there are more than to acquire the address and announce it.
    #[serde(default = "serve_steps", deserialize_with = "steps")]
    pub takeover: Vec<Step>,
    /// The steps of a fail-back, likewise.
    #[serde(default = "serve_steps", deserialize_with = "steps")]
    pub failback: Vec<Step>,
    /// The steps of giving up, when there are more than to release the address.
    #[serde(rename = "yield", default = "yield_steps", deserialize_with = "steps")]
    pub yielding: Vec<Step>,
}

/// The section `[vip]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VipConfig {
    /// The floating address with the bits of its network: `192.0.2.10/24`.
    #[serde(deserialize_with = "network_address")]
    pub address: (IpAddr, u8),
    /// The device that gets it.
    pub dev: String,
    /// The file that remembers the role, and what is under way.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// This server begins to serve when nobody does, at once; the other waits for it.
    #[serde(default)]
    pub primary: bool,
    /// The primary takes the address back as soon as it can.
    #[serde(default)]
    pub preempt: bool,
    /// Where the service listens at the floating address.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The host at the floating address answers an ICMP echo request.
    #[serde(default)]
    pub l3: bool,
    /// A connection can be made.
    #[serde(default)]
    pub l4: bool,
    /// The daemon does what it is for; a greeting, where nothing else is to be checked.
    #[serde(default)]
    pub check: Option<ServiceCheck>,
    /// A program that ends with 0 while all is well, such as a request to a web server.
    #[serde(default)]
    pub probe: Option<Program>,
    /// Time between two checks.
    #[serde(default = "default_interval", deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// How long one check may take; as long as the interval if nothing is said.
    #[serde(default, deserialize_with = "some_duration")]
    pub timeout: Option<Duration>,
    /// So many good answers in a row show that somebody serves.
    #[serde(default = "default_threshold")]
    pub rise: u32,
    /// So many bad answers in a row show that nobody does.
    #[serde(default = "default_threshold")]
    pub fall: u32,
    /// Where this agent tells its role to whoever connects: what the other's witness asks.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// This server's own service, which must be well before the address is taken.
    #[serde(default)]
    pub own: Option<Endpoint>,
    /// Who is asked before a takeover.
    #[serde(default)]
    pub witness: Option<WitnessConfig>,
    /// A program in place of `ip addr add ADDRESS dev DEV`.
    #[serde(default)]
    pub acquire: Option<Program>,
    /// In place of `ip addr del ADDRESS dev DEV`.
    #[serde(default)]
    pub release: Option<Program>,
    /// In place of `arping -U -c 3 -I DEV ADDRESS`, or of unsolicited neighbour advertisements.
    #[serde(default)]
    pub announce: Option<Program>,
    /// How long each of these programs may take.
    #[serde(default = "default_step_timeout", deserialize_with = "duration::deserialize")]
    pub step_timeout: Duration,
}

/// The section `[vip.witness]`: who knows whether the other server serves, by a way of its own, such as a
/// private link.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Where the other agent listens.
    #[serde(default)]
    pub agent: Option<Endpoint>,
    /// Or a service that runs only where it is serving.
    #[serde(default)]
    pub service: Option<Endpoint>,
    /// As in `[vip]`; like the floating address, if no check is named.
    #[serde(default)]
    pub l3: bool,
    /// As in `[vip]`.
    #[serde(default)]
    pub l4: bool,
    /// As in `[vip]`.
    #[serde(default)]
    pub check: Option<ServiceCheck>,
}

/// One step as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepConfig {
    name: Option<String>,
    run: Option<Program>,
    vip: Option<String>,
    #[serde(default = "default_step_timeout", deserialize_with = "duration::deserialize")]
    timeout: Duration,
    required: Option<bool>,
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is longer than anybody writes.
    #[error("{} is longer than {FILE_LIMIT} bytes: is it the configuration of a pair?", path.display())]
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

impl PairConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`PairConfigError`].
    pub fn load(path: &Path) -> Result<Self, PairConfigError> {
        use std::io::Read;
        let failed = |source| PairConfigError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_LIMIT {
            return Err(PairConfigError::TooLong { path: path.to_owned() });
        }
        let config: Self = toml::from_str(&text)
            .map_err(|error| PairConfigError::Syntax { path: path.to_owned(), error: Box::new(error) })?;
        match config.conflict() {
            None => Ok(config),
            Some(text) => Err(PairConfigError::Conflict { path: path.to_owned(), text: text.to_owned() }),
        }
    }

    fn conflict(&self) -> Option<&'static str> {
        let vip = &self.vip;
        let is_device = !vip.dev.is_empty()
            && vip.dev.len() <= DEVICE_LIMIT
            && !vip.dev.starts_with(['-', '.'])
            && !vip.dev.contains(['/', ' ']);
        if !is_device {
            return Some("dev is not the name of a network device");
        }
        if vip.interval.is_zero()
            || vip.timeout.is_some_and(|time| time.is_zero())
            || vip.rise == 0
            || vip.fall == 0
        {
            return Some("interval, timeout, rise and fall are at least 1");
        }
        if let Some(witness) = &vip.witness {
            let is_checked = witness.l3 || witness.l4 || witness.check.is_some();
            match (&witness.agent, &witness.service) {
                (Some(_), None) if !is_checked => {}
                (None, Some(_)) => {}
                _ => return Some("a witness is either an agent, or a service with its checks"),
            }
        }
        if ![&self.takeover, &self.failback].iter().all(|steps| steps.contains(&Step::Acquire)) {
            return Some("takeover and failback need a step vip = \"acquire\"");
        }
        if !self.yielding.contains(&Step::Release) {
            return Some("yield needs a step vip = \"release\"");
        }
        None
    }

    /// The steps of a procedure.
    #[must_use]
    pub fn steps(&self, procedure: Procedure) -> &[Step] {
        match procedure {
            Procedure::Takeover => &self.takeover,
            Procedure::Failback => &self.failback,
            Procedure::Yield => &self.yielding,
        }
    }

    /// What operators should hear before it is used.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let no_witness =
            "there is no [vip.witness]: when only the network between the servers fails, both will serve";
        if self.vip.witness.is_none() { vec![no_witness] } else { Vec::new() }
    }
}

impl VipConfig {
    /// The service at the floating address.
    pub(super) fn target(&self) -> Target {
        Target::new(Endpoint::Tcp { host: self.address.0.to_string(), port: self.port })
    }

    /// How it is checked.
    pub(super) fn checks(&self) -> Checks {
        let is_silent = !self.l3 && !self.l4 && self.check.is_none() && self.probe.is_none();
        Checks {
            l3: self.l3,
            l4: self.l4,
            l7: if is_silent { Some(ServiceCheck::Greeting) } else { self.check.clone() },
            interval: self.interval,
            timeout: self.timeout.unwrap_or(self.interval),
            rise: self.rise,
            fall: self.fall,
        }
    }

    /// How the witness is checked.
    pub(super) fn witness_checks(&self, witness: &WitnessConfig) -> Checks {
        let checks = self.checks();
        if witness.l3 || witness.l4 || witness.check.is_some() {
            return Checks { l3: witness.l3, l4: witness.l4, l7: witness.check.clone(), ..checks };
        }
        checks
    }
}

fn network_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(IpAddr, u8), D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = text.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
    });
    parsed
        .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no ADDRESS/BITS such as 192.0.2.10/24")))
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    let read = |step: StepConfig| match (step.run, step.vip.as_deref(), step.required) {
        (Some(program), None, required) => Ok(Step::Hook {
            name: step.name.unwrap_or_else(|| program.words().join(" ")),
            program,
            timeout: step.timeout,
            required: required.unwrap_or(true),
        }),
        (None, Some("acquire"), None) => Ok(Step::Acquire),
        (None, Some("announce"), None) => Ok(Step::Announce),
        (None, Some("release"), None) => Ok(Step::Release),
        _ => Err(serde::de::Error::custom(
            "a step has either run = [PROGRAM, ...] or vip = \"acquire\", \"announce\" or \"release\"",
        )),
    };
    Vec::<StepConfig>::deserialize(deserializer)?.into_iter().map(read).collect()
}

fn serve_steps() -> Vec<Step> {
    vec![Step::Acquire, Step::Announce]
}

fn yield_steps() -> Vec<Step> {
    vec![Step::Release]
}

fn default_state() -> PathBuf {
    "/var/lib/rsync-mirror/pair.json".into()
}

fn default_port() -> u16 {
    873
}

/// With [`default_threshold`], the other server serves within ten seconds (spec 11 §1.2).
fn default_interval() -> Duration {
    Duration::from_secs(2)
}

fn default_threshold() -> u32 {
    2
}

fn default_step_timeout() -> Duration {
    Duration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<PairConfig, String> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("pair.toml");
        std::fs::write(&path, text).expect("written");
        PairConfig::load(&path).map_err(|error| error.to_string())
    }

    const SHORTEST: &str = "[vip]\naddress = \"192.0.2.10/24\"\ndev = \"eth0\"\n";

    #[test]
    fn the_shortest_configuration_has_the_steps_of_an_address_alone() {
        let config = load(SHORTEST).expect("a configuration");
        assert_eq!(config.steps(Procedure::Takeover), [Step::Acquire, Step::Announce]);
        assert_eq!(config.steps(Procedure::Yield), [Step::Release]);
        assert_eq!(config.warnings().len(), 1);
        assert_eq!(config.vip.target().endpoint.to_string(), "192.0.2.10:873");
        assert_eq!(config.vip.checks().l7, Some(ServiceCheck::Greeting));
    }

    #[test]
    fn steps_are_in_their_order() {
        let text = "[[takeover]]\nname = \"forbid pulls\"\nrun = [\"systemctl\", \"stop\", \"pulls\"]\ntimeout = \"5s\"\n\
                    [[takeover]]\nvip = \"acquire\"\n[[takeover]]\nrun = [\"mail\"]\nrequired = false\n";
        let config = load(&format!("{SHORTEST}{text}")).expect("a configuration");
        let steps: Vec<_> = config.takeover.iter().map(|step| (step.name(), step.is_required())).collect();
        assert_eq!(steps, [("forbid pulls", true), ("acquire the address", true), ("mail", false)]);
    }

    #[test]
    fn a_check_that_is_named_stands_in_place_of_the_greeting() {
        let vip = |lines: &str| load(&format!("{SHORTEST}{lines}")).expect("a configuration").vip;
        let web = vip("port = 80\nl4 = true\n");
        assert_eq!((web.checks().l4, web.checks().l7), (true, None));
        assert_eq!(vip("probe = \"curl -sf http://192.0.2.10/\"\n").checks().l7, None);
        assert_eq!(vip("interval = \"1s\"\n").checks().timeout, Duration::from_secs(1));
        let witnessed = vip("[vip.witness]\nservice = \"10.1.0.1\"\nl3 = true\n");
        let checks = witnessed.witness_checks(witnessed.witness.as_ref().expect("a witness"));
        assert_eq!((checks.l3, checks.l7), (true, None));
    }

    #[test]
    fn each_mistake_is_told() {
        for (text, expected) in [
            ("[vip]\naddress = \"192.0.2.10\"\ndev = \"e\"", "is no ADDRESS/BITS"),
            ("[vip]\naddress = \"192.0.2.10/33\"\ndev = \"e\"", "is no ADDRESS/BITS"),
            ("[vip]\naddress = \"192.0.2.10/24\"\ndev = \"../x\"", "dev is not the name"),
            ("takeover = []", "missing field `vip`"),
            (&format!("{SHORTEST}[[takeover]]\nvip = \"announce\""), "need a step vip = \"acquire\""),
            (&format!("{SHORTEST}[[yield]]\nrun = [\"x\"]"), "needs a step vip = \"release\""),
            (&format!("{SHORTEST}[[yield]]\nname = \"x\""), "a step has either"),
            (&format!("{SHORTEST}[[yield]]\nvip = \"release\"\nrequired = false"), "a step has either"),
            (&format!("{SHORTEST}fall = 0"), "are at least 1"),
            (&format!("{SHORTEST}rank = 1"), "unknown field `rank`"),
            (&format!("{SHORTEST}listen = \"10.1.0.1\""), "invalid socket address"),
            (&format!("{SHORTEST}[vip.witness]\nl3 = true"), "a witness is either"),
            (&format!("{SHORTEST}[vip.witness]\nagent = \"a\"\nservice = \"b\""), "a witness is either"),
            (&format!("{SHORTEST}[vip.witness]\nagent = \"a\"\nl3 = true"), "a witness is either"),
        ] {
            let error = load(text).expect_err(text);
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
