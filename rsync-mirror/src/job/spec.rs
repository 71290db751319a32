//! What a job is: plain data that a configuration, a command line or a program fills in.
//!
//! Durations are written as jiff's friendly format in text (`90s`, `2h 30m`), sizes in bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact as friendly;
use serde::{Deserialize, Serialize};

use super::class::ClassRules;
use super::profile::Profile;
use crate::Secret;

/// rsync's options of a job that names none: those of tunasync (spec 11 §2.2), whose trees no mirror
/// needs owners of.
pub const DEFAULT_OPTIONS: &[&str] = &[
    "-aHh",
    "--no-o",
    "--no-g",
    "--filter=risk .~tmp~/",
    "--exclude=.~tmp~/",
    "--delete",
    "--delete-after",
    "--delay-updates",
    "--safe-links",
];

/// One mirror: where it comes from, where it goes, and under which conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name: what state, logs, hooks and pages call it. No slash, and no dot at its beginning.
    pub name: String,
    /// Where it may come from; at least one.
    pub upstreams: Vec<Upstream>,
    /// The directory of the mirror; see [`Publish`] for what is in it.
    pub destination: PathBuf,
    /// How files are brought.
    #[serde(default)]
    pub method: Method,
    /// rsync's options, in the words of its command line; [`DEFAULT_OPTIONS`] unless given.
    #[serde(default = "default_options")]
    pub options: Vec<String>,
    /// When waiting ends.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How often a run is tried, and when.
    #[serde(default)]
    pub retry: Retry,
    /// What must hold before the first change.
    #[serde(default)]
    pub guard: Guard,
    /// How readers come to see the new tree.
    #[serde(default)]
    pub publish: Publish,
    /// The trace file that is written after a good run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Programs around a run.
    #[serde(default)]
    pub hooks: Hooks,
    /// A lock that others honour too, taken with flock(2) and never waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_file: Option<PathBuf>,
    /// Jobs that share this name never run at the same time; one waits for the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutex: Option<String>,
    /// Paths below the destination that may be immutable here: a run that only failed on those is good.
    #[serde(default)]
    pub expect_immutable: Vec<String>,
    /// Most KiB per second; absent or 0 is as much as there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    /// What exit codes mean, where it is not what spec 11 §2.1 says.
    #[serde(default)]
    pub classes: ClassRules,
    /// Variables of the job's programs.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What becomes of the logs.
    #[serde(default)]
    pub log: LogRotation,
}

/// A place that a job can come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Where: `rsync://`, `rsyncs://`, `host::module/path`, `host:path` or a path of this machine.
    pub url: String,
    /// How much of the choice falls on it, among those of the same priority; 0 is only taken when all
    /// others failed.
    #[serde(default = "one")]
    pub weight: u32,
    /// Lower numbers are taken first, and again as soon as they are well.
    #[serde(default)]
    pub priority: u32,
    /// Login name for the daemon where the URL has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password for the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// More options of rsync for this upstream, such as `-4`, `--address` or `--rsh`.
    #[serde(default)]
    pub options: Vec<String>,
}

/// How files are brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// One transfer.
    #[default]
    Rsync,
    /// Two transfers: first without the files that name others, and nothing deleted; then everything
    /// (spec 11 §2.2).
    TwoStage(Profile),
    /// A program that does the work. It gets `TUNASYNC_*` and `RSYNC_MIRROR_*` in its environment, a log as
    /// its output, and [`Job::destination`] as its directory.
    Command(CommandMethod),
}

/// A program in place of a transfer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandMethod {
    /// The program and its arguments.
    pub program: Program,
    /// A regular expression whose match in the log makes the run fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fail_on_match: Option<String>,
    /// A regular expression whose first group, in its last match in the log, is the size of the mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_pattern: Option<String>,
    /// What the program may take.
    #[serde(default)]
    pub limits: Limits,
}

/// Limits of a program, by a control group (version 2) of its own. All absent: no group is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The group below which the program's is made; must be writable and have the controllers that the
    /// limits need.
    pub cgroup: Option<PathBuf>,
    /// Bytes of memory (`memory.max`).
    pub memory: Option<u64>,
    /// Processors, as a number such as 1.5 (`cpu.max`).
    pub cpus: Option<f64>,
    /// Processes (`pids.max`).
    pub processes: Option<u32>,
    /// Lines for `io.max`, such as `8:0 wbps=1048576`.
    pub io: Vec<String>,
}

/// When waiting ends. Absent means never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// For one address of an upstream to accept a connection.
    #[serde(with = "friendly::optional")]
    pub connect: Option<Duration>,
    /// Without anything said in a connection (rsync's `--timeout`, whole seconds).
    #[serde(with = "friendly::optional")]
    pub io: Option<Duration>,
    /// Without any entry that changes or byte of a file, though the connection is alive. A tree of which
    /// nothing changes shows no progress however long it is, so this is meant for hours.
    #[serde(with = "friendly::optional")]
    pub no_progress: Option<Duration>,
    /// For the whole run with all its attempts.
    #[serde(with = "friendly::optional")]
    pub total: Option<Duration>,
}

/// How often a run is tried, and when. What may be tried again is said by [`Class`](super::Class).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all; at least one is made.
    pub attempts: u32,
    /// The pause after the first attempt. Each later one is twice as long as the one before.
    #[serde(with = "friendly::required")]
    pub first_pause: Duration,
    /// The longest pause.
    #[serde(with = "friendly::required")]
    pub longest_pause: Duration,
    /// The share of a pause that chance takes away, from 0 to 1.
    pub jitter: f64,
}

/// What must hold before the first change is made (spec 11 §2.3). The empty source, the broken list and
/// the error at the root are always refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    /// Refuse an upstream with less than this share of the entries or bytes of the last good run;
    /// 0 allows all.
    pub min_ratio: f64,
    /// Refuse to delete more.
    pub max_delete: Option<Amount>,
    /// Refuse to leave less free space on the destination's file system, and stop when it comes to that.
    pub min_free: Option<Amount>,
    /// Refuse to leave fewer free inodes there.
    pub min_free_inodes: Option<u64>,
    /// Paths that the upstream must have.
    pub must_have: Vec<String>,
    /// A file that every change of the upstream renews: refuse when it is older there than here.
    pub canary: Option<String>,
    /// Accept an older canary.
    pub allow_older: bool,
}

/// A number, or a share of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AmountText", into = "AmountText")]
pub enum Amount {
    /// So many.
    Count(u64),
    /// So many of a hundred; in text a number with `%` behind it.
    Percent(f64),
}

/// How readers come to see the new tree (spec 11 §2.4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Publish {
    /// The destination is the tree, and is changed where it stands. With `--delay-updates` all files
    /// are put in place at the end, one by one; links and directories change at once.
    #[default]
    Delay,
    /// The destination holds `gen/N`, whole trees that are never changed again, and `current`, a link
    /// to one of them that is switched at once. Files that did not change are shared.
    Generation(Generations),
    /// The destination holds `work`, which is changed, snapshots of it as `gen/N`, and `current`, a
    /// link to one of them.
    Snapshot(Snapshots),
}

/// How whole trees are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Generations {
    /// How many stay, the published one included; at least one. Those that hold a file `gen/N.pin` stay
    /// too and are not counted.
    pub keep: usize,
    /// How unchanged files are shared.
    pub share: Share,
}

/// How two generations share a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// As another name of it, where all attributes are the same.
    #[default]
    HardLink,
    /// As a file of its own with the same blocks, where the file system can; else as a copy.
    Reflink,
}

/// How snapshots are made and removed. The words may hold `{work}`, `{snapshot}` and `{number}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshots {
    /// How many stay, the published one included; at least one.
    pub keep: usize,
    /// Makes `work`, once.
    pub prepare: Program,
    /// Makes a snapshot of `work`.
    pub create: Program,
    /// Removes one.
    pub remove: Program,
    /// Where a snapshot is seen, if not at `gen/N` (ZFS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<String>,
}

/// The trace file of ftpsync, `project/trace/HOST` (spec 11 §2.2). What is empty is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// The directory below the tree; `project/trace` if empty.
    pub directory: String,
    /// The name of the file, which is the mirror's public name; the machine's if empty.
    pub host: String,
    /// Who looks after the mirror.
    pub maintainer: String,
    /// Who pays for it.
    pub sponsor: String,
    /// Where it is, as two letters.
    pub country: String,
    /// Where it is, in words.
    pub location: String,
    /// How fast its line is.
    pub throughput: String,
    /// What it holds.
    pub architectures: String,
    /// The file below the trace directory whose `Archive serial` is passed on; `master` if empty.
    pub serial_from: String,
    /// More lines `Field: value`. The values may hold `{name}`, `{run}` and `{upstream}`.
    pub fields: BTreeMap<String, String>,
}

/// Programs around a run, in the order in which they are run; those behind the transfer are run in
/// reverse order. One that fails ends the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Once, after the locks are taken.
    pub pre_job: Vec<Program>,
    /// Before each attempt.
    pub pre_exec: Vec<Program>,
    /// After the first of two stages.
    pub stage1_done: Vec<Program>,
    /// After each attempt.
    pub post_exec: Vec<Program>,
    /// Before the new tree is shown to readers.
    pub pre_publish: Vec<Program>,
    /// After it is shown to them.
    pub post_publish: Vec<Program>,
    /// At the end of a good run.
    pub success: Vec<Program>,
    /// At the end of any other.
    pub failure: Vec<Program>,
    /// How long one program may take.
    #[serde(with = "friendly::required")]
    pub timeout: Duration,
}

/// A program and its arguments; no shell reads them. In text: words as a shell would split them, or a
/// list of words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ProgramText", into = "Vec<String>")]
pub struct Program {
    words: Vec<String>,
}

/// What becomes of the logs of a job: a log is removed when any of the limits says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogRotation {
    /// Most logs of a job.
    pub count: usize,
    /// Greatest age.
    #[serde(with = "friendly::optional")]
    pub age: Option<Duration>,
    /// Most bytes of all logs of a job.
    pub bytes: Option<u64>,
    /// All but the last log are compressed.
    pub compress: bool,
    /// Beside each log, what happened is written as lines of JSON, for programs: `.events.jsonl` in place of
    /// `.log`.
    pub events: bool,
}

impl Job {
    /// A job with the defaults, whose only upstream is `url`.
    #[must_use]
    pub fn new(name: impl Into<String>, url: impl Into<String>, destination: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            upstreams: vec![Upstream::new(url)],
            destination: destination.into(),
            method: Method::default(),
            options: default_options(),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            guard: Guard::default(),
            publish: Publish::default(),
            trace: None,
            hooks: Hooks::default(),
            lock_file: None,
            mutex: None,
            expect_immutable: Vec::new(),
            bandwidth: None,
            classes: ClassRules::default(),
            environment: BTreeMap::new(),
            log: LogRotation::default(),
        }
    }
}

impl Upstream {
    /// An upstream of weight 1.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), weight: 1, priority: 0, username: None, password: None, options: Vec::new() }
    }
}

impl Program {
    /// A program of these words, the first of which is its name or path; none if there is no word.
    #[must_use]
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Option<Self> {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        words.first().is_some_and(|name| !name.is_empty()).then_some(Self { words })
    }

    /// Splits a text as a shell would, without any expansion; none if a quote stays open or nothing
    /// is in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(shlex::split(text)?)
    }

    /// All words; there is at least one.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

impl Snapshots {
    /// Subvolumes of btrfs; `keep` stay.
    #[must_use]
    pub fn btrfs(keep: usize) -> Self {
        let program = |words: &[&str]| Program { words: words.iter().map(ToString::to_string).collect() };
        Self {
            keep,
            prepare: program(&["btrfs", "subvolume", "create", "{work}"]),
            create: program(&["btrfs", "subvolume", "snapshot", "-r", "{work}", "{snapshot}"]),
            remove: program(&["btrfs", "subvolume", "delete", "{snapshot}"]),
            seen_at: None,
        }
    }

    /// Snapshots of the ZFS data set `dataset`, which is mounted at `work`; `keep` stay.
    #[must_use]
    pub fn zfs(dataset: &str, keep: usize) -> Self {
        let snapshot = format!("{dataset}@mirror-{{number}}");
        let program = |words: &[&str]| Program { words: words.iter().map(ToString::to_string).collect() };
        Self {
            keep,
            prepare: program(&["zfs", "create", "-o", "mountpoint={work}", dataset]),
            create: program(&["zfs", "snapshot", &snapshot]),
            remove: program(&["zfs", "destroy", &snapshot]),
            seen_at: Some("{work}/.zfs/snapshot/mirror-{number}".to_owned()),
        }
    }
}

impl Amount {
    /// What it is of `whole`.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count needs no more precision, and the cast saturates"
    )]
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (whole as f64 * percent / 100.0) as u64,
        }
    }
}

impl std::str::FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number nor a percentage");
        match text.strip_suffix('%') {
            Some(number) => {
                let percent: f64 = number.trim().parse().map_err(|_| wrong())?;
                if (0.0..=100.0).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(wrong()) }
            }
            None => text.trim().parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

/// [`Amount`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AmountText {
    Number(u64),
    Text(String),
}

impl TryFrom<AmountText> for Amount {
    type Error = String;

    fn try_from(text: AmountText) -> Result<Self, String> {
        match text {
            AmountText::Number(count) => Ok(Self::Count(count)),
            AmountText::Text(text) => text.parse(),
        }
    }
}

impl From<Amount> for AmountText {
    fn from(amount: Amount) -> Self {
        match amount {
            Amount::Count(count) => Self::Number(count),
            Amount::Percent(percent) => Self::Text(format!("{percent}%")),
        }
    }
}

/// [`Program`] as it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum ProgramText {
    Words(Vec<String>),
    Text(String),
}

impl TryFrom<ProgramText> for Program {
    type Error = String;

    fn try_from(text: ProgramText) -> Result<Self, String> {
        match text {
            ProgramText::Words(words) => Self::new(words).ok_or_else(|| "a program has no name".to_owned()),
            ProgramText::Text(text) => {
                Self::parse(&text).ok_or_else(|| format!("{text:?} is no program with its arguments"))
            }
        }
    }
}

impl From<Program> for Vec<String> {
    fn from(program: Program) -> Self {
        program.words
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Some(Duration::from_secs(60)),
            io: Some(Duration::from_secs(120)),
            no_progress: None,
            total: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_pause: Duration::from_secs(10),
            longest_pause: Duration::from_secs(600),
            jitter: 0.3,
        }
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            min_ratio: 0.5,
            max_delete: None,
            min_free: None,
            min_free_inodes: None,
            must_have: Vec::new(),
            canary: None,
            allow_older: false,
        }
    }
}

impl Default for Generations {
    fn default() -> Self {
        Self { keep: 2, share: Share::default() }
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            pre_job: Vec::new(),
            pre_exec: Vec::new(),
            stage1_done: Vec::new(),
            post_exec: Vec::new(),
            pre_publish: Vec::new(),
            post_publish: Vec::new(),
            success: Vec::new(),
            failure: Vec::new(),
            timeout: Duration::from_secs(600),
        }
    }
}

impl Default for LogRotation {
    fn default() -> Self {
        Self { count: 10, age: None, bytes: None, compress: false, events: false }
    }
}

fn default_options() -> Vec<String> {
    DEFAULT_OPTIONS.iter().map(ToString::to_string).collect()
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_from_toml_and_written_as_json_that_is_the_same_job() {
        let text = r#"
            name = "alpine"
            upstreams = [{ url = "rsync://a.example/alpine/", weight = 3 }, { url = "b:alpine/" }]
            destination = "/srv/alpine"
            method = { two-stage = "debian" }
            publish = { generation = { keep = 3, share = "reflink" } }
            [timeouts]
            total = "2h 30m"
            [guard]
            max_delete = "10%"
            min_free = 1048576
            [hooks]
            success = ["touch '/tmp/a b'", ["echo", "c d"]]
        "#;
        let job: Job = toml::from_str(text).expect("a job");
        assert_eq!(job.timeouts.total, Some(Duration::from_secs(9000)));
        assert_eq!(job.timeouts.io, Some(Duration::from_secs(120)));
        assert_eq!(job.guard.max_delete.map(|limit| limit.of(50)), Some(5));
        assert_eq!(job.hooks.success[0].words(), ["touch", "/tmp/a b"]);
        assert_eq!(job.options, DEFAULT_OPTIONS);
        let json = serde_json::to_string(&job).expect("is written");
        assert_eq!(serde_json::from_str::<Job>(&json).expect("is read again"), job);
    }

    #[test]
    fn what_no_job_can_mean_is_refused() {
        let rest = "upstreams = []\ndestination = \"/d\"\n";
        for wrong in ["guard = { max_delete = \"101%\" }", "hooks = { success = [\"a 'b\"] }", "nmae = 1"] {
            let text = format!("name = \"a\"\n{rest}{wrong}\n");
            toml::from_str::<Job>(&text).expect_err(wrong);
        }
    }
}
