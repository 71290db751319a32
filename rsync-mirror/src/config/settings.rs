//! What a configuration says: the tables `[site]` and `[[job]]` as plain data.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact as friendly;
use serde::Deserialize;

use super::Database;
use super::windows::Window;
use crate::Secret;
use crate::health::Checks;
use crate::job::{Job, Program};
use crate::schedule::{Rules, Timetable};

/// The table `[site]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    /// What the page calls the site.
    pub name: String,
    /// Its public address, without a `/` at the end.
    pub url: Option<String>,
    /// Where the process keeps its database and what jobs must remember.
    pub state_dir: PathBuf,
    /// Where states of jobs and their runs are remembered: `site.db` in [`Site::state_dir`] unless given.
    pub database: Option<Database>,
    /// What this process is called among those that share the database; the machine's name unless given.
    pub worker: Option<String>,
    /// How long a claim of a job stands without being renewed: a process that died is noticed after so long.
    #[serde(with = "friendly::required")]
    pub lease: Duration,
    /// Where runs are logged; `log` in [`Site::state_dir`] unless given.
    pub log_dir: Option<PathBuf>,
    /// Where jobs go that name no destination: a directory of their name below this.
    pub mirror_dir: Option<PathBuf>,
    /// Addresses of the page and the API.
    pub listen: Vec<SocketAddr>,
    /// The socket of the commands; `control.sock` in [`Site::state_dir`] unless given.
    pub socket: Option<PathBuf>,
    /// Who has this may start, stop and disable over HTTP; without it only the socket can.
    pub token: Option<Secret>,
    /// A file that holds the token.
    pub token_file: Option<PathBuf>,
    /// How long runs may go on when the process was told to stop, before they are cut off.
    #[serde(with = "friendly::required")]
    pub drain: Duration,
    /// The time zone of schedules and windows that name none; the system's unless given.
    pub zone: Option<String>,
    /// How many runs of each job are remembered.
    pub history: u32,
    /// Who is told that a job failed, went stale or is well again.
    pub notify: Notify,
    /// Servers of the mirrored files in this process.
    pub serve: Serve,
    /// The site in `mirrorz.json`.
    pub mirrorz: Option<Mirrorz>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            name: "Mirrors".to_owned(),
            url: None,
            state_dir: PathBuf::from("/var/lib/rsync-mirror"),
            database: None,
            worker: None,
            lease: Duration::from_secs(60),
            log_dir: None,
            mirror_dir: None,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 14242))],
            socket: None,
            token: None,
            token_file: None,
            drain: Duration::from_secs(60),
            zone: None,
            history: 200,
            notify: Notify::default(),
            serve: Serve::default(),
            mirrorz: None,
        }
    }
}

impl Site {
    /// Where runs are logged.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.log_dir.clone().unwrap_or_else(|| self.state_dir.join("log"))
    }

    /// Where states of jobs are remembered.
    #[must_use]
    pub fn database(&self) -> Database {
        self.database.clone().unwrap_or_else(|| Database::Sqlite(self.state_dir.join("site.db")))
    }

    /// What this process is called among those that share the database.
    #[must_use]
    pub fn worker(&self) -> String {
        self.worker.clone().unwrap_or_else(crate::job::machine)
    }

    /// The socket of the commands.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.state_dir.join("control.sock"))
    }
}

/// Who is told that the state of a job changed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// A program that gets the message on its input and `RSYNC_MIRROR_JOB`, `_STATE`, `_BEFORE` and
    /// `_MESSAGE` in its environment.
    pub command: Option<Program>,
    /// An address that the message is posted to as JSON, over HTTP or HTTPS.
    pub url: Option<String>,
    /// Signs what is posted: `X-Hub-Signature-256` holds `sha256=` and the HMAC of the body.
    pub secret: Option<Secret>,
}

/// Servers of the mirrored files, each of what was published last.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// Addresses of an HTTP server.
    pub http: Vec<SocketAddr>,
    /// Connections that one address may have there.
    pub connections_per_client: usize,
    /// Addresses of an rsync daemon, which has a read-only module for each job.
    pub rsync: Vec<SocketAddr>,
    /// Parameters of `rsyncd.conf` for all of its modules, such as `"max connections" = "50"`.
    pub rsync_settings: BTreeMap<String, String>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            http: Vec::new(),
            connections_per_client: 8,
            rsync: Vec::new(),
            rsync_settings: BTreeMap::new(),
        }
    }
}

/// What `mirrorz.json` says about the site (spec 11 §3.7).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mirrorz {
    /// The short name, which must be given.
    pub abbr: String,
    /// The long name.
    pub name: Option<String>,
    /// A picture.
    pub logo: Option<String>,
    /// The same for dark pages.
    pub logo_darkmode: Option<String>,
    /// The page about the site.
    pub homepage: Option<String>,
    /// Where faults are reported.
    pub issue: Option<String>,
    /// Where mirrors are asked for.
    pub request: Option<String>,
    /// An address for mail.
    pub email: Option<String>,
    /// A chat group.
    pub group: Option<String>,
    /// How much space there is, in words.
    pub disk: Option<String>,
    /// Anything else.
    pub note: Option<String>,
}

/// One job of a site.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteJob {
    /// What it does.
    pub job: Job,
    /// When it may run.
    pub rules: Rules,
    /// What a site says about it.
    pub about: About,
    /// How fast it may be at which time of day.
    pub windows: Vec<Window>,
    /// Who pushes over HTTP signs with this.
    pub push_secret: Option<Secret>,
    /// It is shown as stale when its last good run is longer ago.
    pub stale_after: Option<Duration>,
    /// How its upstreams are checked between runs; none are without it.
    pub health: Option<Checks>,
    /// Where its runs are logged; the site's directory unless given.
    pub log_dir: Option<PathBuf>,
}

/// What a site says about a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// What it holds, in a sentence.
    pub description: Option<String>,
    /// A page for its users.
    pub help: Option<String>,
    /// Its common name, as `mirrorz.json` spells it; the job's name unless given.
    pub cname: Option<String>,
    /// Where its files are served, below the site's address or absolute.
    pub url: Option<String>,
    /// It is not meant to be mirrored from: `slave`, in tunasync's words.
    pub is_secondary: bool,
}

/// The keys of `[[job]]` that are not those of [`Job`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Extras {
    pub(super) schedule: ScheduleText,
    #[serde(with = "friendly::optional")]
    pub(super) jitter: Option<Duration>,
    pub(super) groups: Vec<String>,
    pub(super) priority: i32,
    pub(super) yields: Option<bool>,
    pub(super) bandwidth_windows: Vec<Window>,
    pub(super) extra_options: Vec<String>,
    #[serde(with = "friendly::optional")]
    pub(super) stale_after: Option<Duration>,
    pub(super) push_secret: Option<Secret>,
    pub(super) health: Option<Checks>,
    pub(super) log_dir: Option<PathBuf>,
    pub(super) description: Option<String>,
    pub(super) help: Option<String>,
    pub(super) cname: Option<String>,
    pub(super) url: Option<String>,
}

impl Extras {
    /// The names of the fields, as they are written.
    pub(super) const KEYS: &'static [&'static str] = &[
        "schedule",
        "jitter",
        "groups",
        "priority",
        "yields",
        "bandwidth_windows",
        "extra_options",
        "stale_after",
        "push_secret",
        "health",
        "log_dir",
        "description",
        "help",
        "cname",
        "url",
    ];
}

/// A schedule as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ScheduleText {
    #[serde(with = "friendly::required")]
    Interval(Duration),
    Cron(CronText),
    #[serde(with = "friendly::required")]
    Continuous(Duration),
    OnDemand,
}

impl Default for ScheduleText {
    fn default() -> Self {
        Self::Interval(Duration::from_secs(6 * 3600))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum CronText {
    Times(String),
    Zoned(ZonedCron),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZonedCron {
    pub(super) times: String,
    pub(super) zone: String,
}

impl SiteJob {
    /// The timetable.
    #[must_use]
    pub fn timetable(&self) -> &Timetable {
        &self.rules.timetable
    }
}
