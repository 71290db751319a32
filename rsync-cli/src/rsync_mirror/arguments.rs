//! The command line of `rsync-mirror`.

#[path = "arguments_tunasync.rs"]
mod tunasync;

use std::path::PathBuf;

pub(crate) use tunasync::*;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rsync_mirror::health::ServiceCheck;
use rsync_mirror::job::{Amount, RunId};

/// Where the configuration of a server of a pair is, unless somebody says something else.
const PAIR_CONFIG: &str = "/etc/rsync-mirror/pair.toml";

/// Keeps a mirror: brings a tree from an upstream, with guards before the first change, several upstreams,
/// two stages, publication at once, trace files and hooks.
///
/// Exit codes: 0 the mirror is as it should be; rsync's own where rsync failed; 25 a guard refused, and
/// nothing was changed; 69 no upstream can be used; 70 a hook failed; 74 the tree could not be published;
/// 75 somebody else holds a lock; 78 the job makes no sense.
#[derive(Parser)]
#[command(name = "rsync-mirror", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Brings a mirror up to date, once.
    Sync(Box<Sync>),
    /// Tells what `sync` would do with the same options, and changes nothing.
    Plan(Box<Sync>),
    /// Stands in front of rsync daemons: modules, weights, queues, limits, health checks.
    ///
    /// SIGHUP reads the configuration anew, SIGTERM lets sessions finish and ends, a second one ends at once.
    Proxy(Proxy),
    /// Runs a site: the jobs of a configuration on their schedules, with a status page.
    Run(Run),
    /// Says what is wrong with a configuration, or which jobs it has.
    Check(Check),
    /// Lists the jobs of a running site.
    List(List),
    /// Starts a job of a running site; one that was stopped goes on.
    Start(StartJob),
    /// Ends runs of jobs, and starts none until somebody does.
    Stop(OfJob),
    /// Takes jobs out of service.
    Disable(OfJob),
    /// Lets jobs that were stopped or disabled go on by their schedules.
    Enable(OfJob),
    /// Ends runs of jobs and begins others.
    Restart(OfJob),
    /// Makes a running site read its configuration again, as a whole or not at all.
    Reload(Control),
    /// Says whether a site is running.
    Ping(Control),
    /// Prints the log of a run.
    Logs(Logs),
    /// Tells a running site that upstreams have news: jobs run now, or once more after their current run.
    Trigger(Trigger),
    /// Runs a manager or a worker with the configurations of tunasync; so does this program under that name.
    #[command(subcommand)]
    Tunasync(Tunasync),
    /// Controls mirrors by a manager, in the words of tunasynctl; so does this program under that name.
    #[command(subcommand)]
    Tunasynctl(Tunasynctl),
    /// Tells which files and directories of a tree the user of a web server could not read.
    CheckServing(CheckServing),
    /// Watches a floating address together with another server, and takes over when that one fails.
    ///
    /// SIGTERM ends the watch and moves nothing; a step that is under way is ended, and done again by the
    /// next start.
    Pair(Pair),
    /// Has this server serve again after the other has taken over; ends when it does.
    Failback(Failback),
}

/// One server of two.
#[derive(Args)]
pub(crate) struct Pair {
    /// Configuration of this server.
    #[arg(long, value_name = "FILE", default_value = PAIR_CONFIG)]
    pub(crate) config: PathBuf,
    /// Say what is wrong with the configuration, and end.
    #[arg(long)]
    pub(crate) check: bool,
    /// Have this server stop serving, and end when it has.
    #[arg(long = "yield", conflicts_with = "check")]
    pub(crate) give_up: bool,
}

/// The way back.
#[derive(Args)]
pub(crate) struct Failback {
    /// Configuration of this server.
    #[arg(long, value_name = "FILE", default_value = PAIR_CONFIG)]
    pub(crate) config: PathBuf,
}

/// A tree and who serves it.
#[derive(Args)]
pub(crate) struct CheckServing {
    /// The tree.
    pub(crate) directory: PathBuf,
    /// Name or number of the user.
    #[arg(long, value_name = "USER", default_value = "www-data")]
    pub(crate) user: String,
    /// Print each path as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A front for daemons.
#[derive(Args)]
pub(crate) struct Proxy {
    /// Configuration file; that of rsync-proxy is understood.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Say what is wrong with the configuration, and end.
    #[arg(long)]
    pub(crate) check: bool,
    /// With --check: print what is wrong as JSON.
    #[arg(long, requires = "check")]
    pub(crate) json: bool,
}

/// One job.
#[derive(Args)]
pub(crate) struct Sync {
    /// Where from: rsync://HOST/MODULE/, rsyncs://, HOST::MODULE/, HOST:PATH or a directory.
    pub(crate) url: String,
    /// Where to.
    pub(crate) directory: PathBuf,
    /// Another upstream with the same content; may be given several times. WEIGHT@URL makes it be chosen
    /// so much more often than those of weight 1, and 0@URL only when all others fail.
    #[arg(long, value_name = "[WEIGHT@]URL")]
    pub(crate) upstream: Vec<String>,
    /// Name of the job in state, logs and hooks; made of the directory if not given.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// What jobs remember: /var/lib/rsync-mirror for root, else below the user's state directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Write a log of each run here.
    #[arg(long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,
    /// Keep so many logs.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) keep_logs: usize,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print every line of the log.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Print only what went wrong.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Transfer in two stages, so that files which name others come last.
    #[arg(long, value_name = "PROFILE", help_heading = "Transfer")]
    pub(crate) two_stage: Option<StageProfile>,
    /// A filter option of rsync for the first of two stages, such as --exclude=index*; may be given
    /// several times, in place of --two-stage.
    #[arg(
        long,
        value_name = "OPTION",
        allow_hyphen_values = true,
        help_heading = "Transfer",
        conflicts_with = "two_stage"
    )]
    pub(crate) first_stage: Vec<String>,
    /// Use only the options of rsync behind `--`, and not -aHh --no-o --no-g --delete --delete-after
    /// --delay-updates --safe-links with them.
    #[arg(long, help_heading = "Transfer")]
    pub(crate) own_options: bool,
    /// Most KiB per second.
    #[arg(long, value_name = "RATE", help_heading = "Transfer")]
    pub(crate) bandwidth: Option<u64>,
    /// An exit code of rsync that is good too, such as 23; may be given several times.
    #[arg(long, value_name = "CODE", help_heading = "Transfer")]
    pub(crate) success_code: Vec<u8>,
    /// Paths that may be immutable here; failing on them alone is no failure.
    #[arg(long, value_name = "PATH", help_heading = "Transfer")]
    pub(crate) expect_immutable: Vec<String>,

    /// Ask an upstream that is a daemon before it is used, and take the next one if it is not well:
    /// greeting, list, module[:NAME], canary:MODULE/PATH[:MAX_AGE] or trace:MODULE/PATH:MAX_AGE.
    #[arg(long, value_name = "CHECK", help_heading = "Guards")]
    pub(crate) check: Option<ServiceCheck>,

    /// Attempts in all, for failures that may pass.
    #[arg(long, value_name = "COUNT", default_value_t = 3, help_heading = "Waiting")]
    pub(crate) attempts: u32,
    /// Pause after the first attempt; later ones are twice as long each time.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, help_heading = "Waiting")]
    pub(crate) pause: std::time::Duration,
    /// For an upstream to accept a connection.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time, help_heading = "Waiting")]
    pub(crate) connect_timeout: std::time::Duration,
    /// Without anything said in a connection.
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time, help_heading = "Waiting")]
    pub(crate) io_timeout: std::time::Duration,
    /// Without any change or byte of a file.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Waiting")]
    pub(crate) progress_timeout: Option<std::time::Duration>,
    /// For everything.
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Waiting")]
    pub(crate) timeout: Option<std::time::Duration>,

    /// Refuse an upstream with less than this share of the last good run's entries or bytes.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, help_heading = "Guards")]
    pub(crate) min_ratio: f64,
    /// Refuse more deletions: a number, or a percentage of what is here.
    #[arg(long, value_name = "COUNT|PERCENT%", help_heading = "Guards")]
    pub(crate) max_delete: Option<Amount>,
    /// Refuse to leave less free space: bytes, or a percentage of the file system.
    #[arg(long, value_name = "BYTES|PERCENT%", help_heading = "Guards")]
    pub(crate) min_free: Option<Amount>,
    /// Refuse to leave fewer free inodes.
    #[arg(long, value_name = "COUNT", help_heading = "Guards")]
    pub(crate) min_free_inodes: Option<u64>,
    /// Refuse an upstream without this path; may be given several times.
    #[arg(long, value_name = "PATH", help_heading = "Guards")]
    pub(crate) must_have: Vec<String>,
    /// Refuse an upstream on which this file is older than here.
    #[arg(long, value_name = "PATH", help_heading = "Guards")]
    pub(crate) canary: Option<String>,
    /// Accept an older canary.
    #[arg(long, help_heading = "Guards")]
    pub(crate) allow_older: bool,
    /// Do this time what a guard refused in that run.
    #[arg(long, value_name = "RUN", help_heading = "Guards")]
    pub(crate) accept: Option<RunId>,

    /// How readers come to see the new tree: `delay` changes DIR where it stands; the others keep whole
    /// trees in DIR/gen and switch the link DIR/current.
    #[arg(long, value_name = "HOW", default_value = "delay", help_heading = "Publication")]
    pub(crate) publish: PublishHow,
    /// Keep so many whole trees.
    #[arg(long, value_name = "COUNT", default_value_t = 2, help_heading = "Publication")]
    pub(crate) keep: usize,
    /// The data set whose snapshots are published, for --publish=zfs.
    #[arg(long, value_name = "NAME", help_heading = "Publication", required_if_eq("publish", "zfs"))]
    pub(crate) dataset: Option<String>,
    /// Write a trace file as ftpsync does, under this name in project/trace; the machine's without HOST.
    #[arg(long, value_name = "HOST", num_args = 0..=1, default_missing_value = "", help_heading = "Publication")]
    pub(crate) trace: Option<String>,

    /// Run a program at a PHASE: pre-job, pre-exec, stage1-done, post-exec, pre-publish, post-publish,
    /// success or failure. Words are split as a shell would. May be given several times.
    #[arg(long, value_name = "PHASE=PROGRAM", help_heading = "Around a run")]
    pub(crate) hook: Vec<String>,
    /// How long one program may take.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time, help_heading = "Around a run")]
    pub(crate) hook_timeout: std::time::Duration,
    /// Hold this lock, as flock(1) does, and end with 75 if somebody else holds it.
    #[arg(long, value_name = "FILE", help_heading = "Around a run")]
    pub(crate) lock_file: Option<PathBuf>,
    /// Wait for other jobs with this name.
    #[arg(long, value_name = "NAME", help_heading = "Around a run")]
    pub(crate) mutex: Option<String>,

    /// Options of rsync, behind `--`.
    #[arg(last = true, value_name = "RSYNC OPTION")]
    pub(crate) options: Vec<String>,
}

/// A site that this process runs.
#[derive(Args)]
pub(crate) struct Run {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/rsync-mirror/mirrors.toml")]
    pub(crate) config: PathBuf,
}

/// A configuration that is only read.
#[derive(Args)]
pub(crate) struct Check {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/rsync-mirror/mirrors.toml")]
    pub(crate) config: PathBuf,
    /// Print the jobs, or what is wrong, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a running site is reached.
#[derive(Args, Clone)]
pub(crate) struct Control {
    /// The socket of the site.
    #[arg(long, value_name = "PATH", default_value = "/var/lib/rsync-mirror/control.sock")]
    pub(crate) socket: PathBuf,
    /// Take the socket from this configuration.
    #[arg(long, short, value_name = "FILE", conflicts_with = "socket")]
    pub(crate) config: Option<PathBuf>,
    /// Use the API at this address instead of the socket.
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["socket", "config"])]
    pub(crate) api: Option<String>,
    /// A file that holds the token of the API.
    #[arg(long, value_name = "FILE", requires = "api")]
    pub(crate) token_file: Option<PathBuf>,
    /// Print what the site says as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The jobs of a site.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) control: Control,
    /// Only jobs in these states: none, pre-syncing, syncing, success, failed, paused, disabled.
    #[arg(long, short, value_delimiter = ',', value_name = "STATE,...")]
    pub(crate) status: Vec<String>,
}

/// Some jobs.
#[derive(Args)]
pub(crate) struct OfJob {
    #[command(flatten)]
    pub(crate) control: Control,
    /// The jobs.
    #[arg(required = true, value_name = "JOB")]
    pub(crate) jobs: Vec<String>,
}

/// A job that starts.
#[derive(Args)]
pub(crate) struct StartJob {
    #[command(flatten)]
    pub(crate) control: Control,
    /// The job.
    pub(crate) job: String,
    /// Do not wait for the limits of the site, except those of groups.
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Do this time what a guard refused in that run.
    #[arg(long, value_name = "RUN")]
    pub(crate) accept: Option<RunId>,
}

/// The log of a run.
#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) control: Control,
    /// The job.
    pub(crate) job: String,
    /// Which run; the current one or the last one if not given.
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<RunId>,
}

/// News of upstreams.
#[derive(Args)]
pub(crate) struct Trigger {
    #[command(flatten)]
    pub(crate) control: Control,
    /// Read the words of ftpsync, such as sync:all or sync:archive:NAME, from SSH_ORIGINAL_COMMAND and
    /// the command line: the forced command of a key in authorized_keys.
    #[arg(long)]
    pub(crate) ssh: bool,
    /// With --ssh: a job that may be triggered; may be given several times. The first one is meant when
    /// no archive is named.
    #[arg(long, value_name = "JOB", requires = "ssh")]
    pub(crate) allow: Vec<String>,
    /// The jobs, or with --ssh the words.
    #[arg(value_name = "JOB|WORD", required_unless_present = "ssh")]
    pub(crate) words: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum StageProfile {
    /// Debian archives.
    Debian,
    /// Debian archives, as it was done before.
    DebianOldstyle,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PublishHow {
    /// Change the tree where it stands.
    Delay,
    /// Whole trees; unchanged files are hard links.
    Generation,
    /// Whole trees; unchanged files share their blocks where the file system can.
    Reflink,
    /// Snapshots of btrfs.
    Btrfs,
    /// Snapshots of ZFS.
    Zfs,
}

fn time(text: &str) -> Result<std::time::Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    span.try_into().map_err(|_| "a time is not negative".to_owned())
}
