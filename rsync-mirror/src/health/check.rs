//! What is checked, as a configuration says it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bstr::BString;
use serde::{Deserialize, Deserializer};

use super::monitor::Thresholds;
use crate::duration;

/// The checks of one daemon, in the order of depth; the first that fails decides. Without any, a daemon
/// always counts as up until it fails in use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// The host answers an ICMP echo request (`l3`): cheap, and blind to a dead service.
    pub l3: bool,
    /// A connection can be made (`l4`): blind to overload and to error answers.
    pub l4: bool,
    /// The service does what it is for (`l7`).
    pub l7: Option<ServiceCheck>,
    /// Time between two checks.
    #[serde(deserialize_with = "duration::deserialize")]
    pub interval: Duration,
    /// How long all checks together may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// So many good answers in a row bring the daemon back.
    pub rise: u32,
    /// So many bad answers in a row take it away.
    pub fall: u32,
}

impl Default for Checks {
    /// A greeting every five seconds; two good answers bring back, three bad ones take away.
    fn default() -> Self {
        let Thresholds { interval, timeout, rise, fall } = Thresholds::default();
        Self { l3: false, l4: false, l7: Some(ServiceCheck::Greeting), interval, timeout, rise, fall }
    }
}

impl Checks {
    /// When, and how many answers count.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        let &Self { interval, timeout, rise, fall, .. } = self;
        Thresholds { interval, timeout, rise, fall }
    }
}

/// A request that a daemon must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceCheck {
    /// It greets (`greeting`).
    Greeting,
    /// It lists its modules (`list`).
    List,
    /// It opens a module, or asks for a password (`module` or `module:NAME`); without a name, the
    /// [module of the target](super::Target::module).
    Module(Option<BString>),
    /// A module has a file that is not older than so much (`canary:MODULE/PATH[:MAX_AGE]`).
    Canary {
        /// Module and path.
        path: BString,
        /// Oldest modification time.
        max_age: Option<Duration>,
    },
    /// A module has a file whose first line is a date not older than so much, as the trace files of
    /// ftpsync (`trace:MODULE/PATH:MAX_AGE`). The dates of `date -u`, RFC 3339 and RFC 2822 are
    /// understood, and seconds since 1970.
    Trace {
        /// Module and path.
        path: BString,
        /// Oldest date.
        max_age: Duration,
    },
}

/// A text is no check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Nothing of this name.
    #[error(
        "{0:?} is no check: there are greeting, list, module[:NAME], canary:MODULE/PATH[:MAX_AGE] and trace:MODULE/PATH:MAX_AGE"
    )]
    Unknown(String),
    /// The path has no module, or nothing after it.
    #[error("{0:?}: a path begins with a module, as in canary:debian/project/trace/master")]
    Path(String),
    /// The age is missing.
    #[error("{0:?}: an age is needed, as in trace:debian/project/trace/master:12h")]
    Age(String),
}

impl FromStr for ServiceCheck {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let path_and_age = |rest: &str| {
            let aged = rest.rsplit_once(':').and_then(|(path, age)| Some((path, duration::parse(age)?)));
            let (path, age) = aged.map_or((rest, None), |(path, age)| (path, Some(age)));
            let has_module =
                path.split_once('/').is_some_and(|(module, path)| !module.is_empty() && !path.is_empty());
            if has_module { Ok((path.into(), age)) } else { Err(CheckError::Path(text.to_owned())) }
        };
        match (kind, rest) {
            ("greeting", None) => Ok(Self::Greeting),
            ("list", None) => Ok(Self::List),
            ("module", None) => Ok(Self::Module(None)),
            ("module", Some(name)) if !name.is_empty() => Ok(Self::Module(Some(name.into()))),
            ("canary", Some(rest)) => {
                path_and_age(rest).map(|(path, max_age)| Self::Canary { path, max_age })
            }
            ("trace", Some(rest)) => {
                let (path, age) = path_and_age(rest)?;
                let max_age = age.ok_or_else(|| CheckError::Age(text.to_owned()))?;
                Ok(Self::Trace { path, max_age })
            }
            _ => Err(CheckError::Unknown(text.to_owned())),
        }
    }
}

impl fmt::Display for ServiceCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting => f.write_str("greeting"),
            Self::List => f.write_str("list"),
            Self::Module(None) => f.write_str("module"),
            Self::Module(Some(name)) => write!(f, "module:{name}"),
            Self::Canary { path, max_age: None } => write!(f, "canary:{path}"),
            Self::Canary { path, max_age: Some(age) } => write!(f, "canary:{path}:{}", duration::text(*age)),
            Self::Trace { path, max_age } => write!(f, "trace:{path}:{}", duration::text(*max_age)),
        }
    }
}

impl<'de> Deserialize<'de> for ServiceCheck {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read_and_written_alike() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (text, check) in [
            ("greeting", ServiceCheck::Greeting),
            ("list", ServiceCheck::List),
            ("module", ServiceCheck::Module(None)),
            ("module:pub", ServiceCheck::Module(Some("pub".into()))),
            ("canary:pub/f", ServiceCheck::Canary { path: "pub/f".into(), max_age: None }),
            ("canary:pub/a:b", ServiceCheck::Canary { path: "pub/a:b".into(), max_age: None }),
            ("canary:pub/f:2h", ServiceCheck::Canary { path: "pub/f".into(), max_age: Some(hours(2)) }),
            ("trace:d/t:12h", ServiceCheck::Trace { path: "d/t".into(), max_age: hours(12) }),
        ] {
            assert_eq!(text.parse(), Ok(check.clone()));
            assert_eq!(check.to_string(), text);
        }
    }

    #[test]
    fn each_mistake_is_told() {
        let error = |text: &str| text.parse::<ServiceCheck>().expect_err(text);
        for text in ["", "http", "greeting:x", "module:", "canary", "l4"] {
            assert_eq!(error(text), CheckError::Unknown(text.to_owned()));
        }
        for text in ["canary:", "canary:pub", "canary:pub/", "canary:/f", "trace:pub:1h"] {
            assert_eq!(error(text), CheckError::Path(text.to_owned()));
        }
        assert_eq!(error("trace:pub/f"), CheckError::Age("trace:pub/f".into()));
    }

    #[test]
    fn a_table_says_everything_or_nothing() {
        let checks: Checks = toml::from_str("").expect("nothing");
        assert_eq!(checks, Checks::default());
        let text = "l3 = true\nl7 = \"list\"\ninterval = \"1s\"\ntimeout = 2\nfall = 2";
        let checks: Checks = toml::from_str(text).expect("a table");
        assert!(checks.l3 && !checks.l4 && checks.l7 == Some(ServiceCheck::List));
        let expected = Thresholds {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 2,
        };
        assert_eq!(checks.thresholds(), expected);
        for wrong in ["l8 = true", "l7 = \"no\"", "interval = \"soon\""] {
            assert!(toml::from_str::<Checks>(wrong).is_err(), "{wrong}");
        }
    }
}
