//! The command lines of tunasync and tunasynctl, by which scripts call them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Manages and runs mirrors, with the configurations of tunasync.
#[derive(Parser)]
#[command(name = "tunasync", version)]
pub(crate) struct TunasyncProgram {
    #[command(subcommand)]
    pub(crate) command: Tunasync,
}

/// Controls mirrors by their manager.
#[derive(Parser)]
#[command(name = "tunasynctl", version)]
pub(crate) struct ControlProgram {
    #[command(subcommand)]
    pub(crate) command: Tunasynctl,
}

#[derive(Subcommand)]
pub(crate) enum Tunasync {
    /// Runs a manager: takes the reports of workers, shows them, and passes commands on.
    #[command(visible_alias = "m")]
    Manager(Manager),
    /// Runs a worker: the mirrors of a worker.conf, which are reported to managers.
    ///
    /// SIGHUP reads the configuration anew, SIGTERM lets runs finish for a while, a second one cuts them off.
    #[command(visible_alias = "w")]
    Worker(Worker),
    /// Takes over what another manager knows while that one runs; ours must not.
    Import(Import),
    /// Says what is wrong with a worker.conf or manager.conf, and what of it has no effect.
    Check(CheckFile),
}

/// A manager.
#[derive(Args)]
pub(crate) struct Manager {
    /// The configuration.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) addr: Option<String>,
    /// The port to listen on.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// The certificate to show, in PEM form.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<String>,
    /// Its key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<String>,
    /// Where to remember.
    #[arg(long, value_name = "FILE")]
    pub(crate) db_file: Option<String>,
    /// What kind of database is asked for; ours is the same for all that are files.
    #[arg(long, value_name = "KIND")]
    pub(crate) db_type: Option<String>,
    #[command(flatten)]
    pub(crate) process: Process,
}

/// A worker.
#[derive(Args)]
pub(crate) struct Worker {
    /// The configuration.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Without effect.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) prof_path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) process: Process,
}

/// How a process is run.
#[derive(Args)]
pub(crate) struct Process {
    /// Without effect: everything worth a line is told.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Without effect.
    #[arg(long)]
    pub(crate) debug: bool,
    /// Without effect: lines have no time of their own.
    #[arg(long)]
    pub(crate) with_systemd: bool,
    /// Write the number of the process here.
    #[arg(long, value_name = "FILE")]
    pub(crate) pidfile: Option<PathBuf>,
}

/// The content of another manager.
#[derive(Args)]
pub(crate) struct Import {
    /// The manager, such as http://localhost:14242.
    #[arg(long, value_name = "URL")]
    pub(crate) from_manager: String,
    /// The configuration of the manager that takes it over.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// A file that is only read.
#[derive(Args)]
pub(crate) struct CheckFile {
    /// The configuration.
    pub(crate) file: PathBuf,
    /// It is one of a manager.
    #[arg(long)]
    pub(crate) manager: bool,
    /// Print what is found as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Tunasynctl {
    /// Lists mirrors as JSON.
    List(ListMirrors),
    /// Forgets mirrors that are disabled.
    Flush(Common),
    /// Lists workers as JSON.
    Workers(Common),
    /// Forgets a worker.
    RmWorker(OfWorker),
    /// Says what the size of a mirror is.
    SetSize(SetSize),
    /// Starts a mirror.
    Start(StartMirror),
    /// Ends the run of a mirror, and starts none until somebody does.
    Stop(OfMirror),
    /// Takes a mirror out of service.
    Disable(OfMirror),
    /// Ends the run of a mirror and begins another.
    Restart(OfMirror),
    /// Makes a worker read its configuration again.
    Reload(OfWorker),
    /// Says whether a worker has a mirror.
    Ping(OfMirror),
}

/// How the manager is reached. What the command line does not say is in /etc/tunasync/ctl.conf and
/// ~/.config/tunasync/ctl.conf.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// Read this configuration too.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The host of the manager.
    #[arg(long, short, value_name = "HOST")]
    pub(crate) manager: Option<String>,
    /// Its port.
    #[arg(long, short, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Speak TLS, and trust the authorities in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// Without effect.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Without effect.
    #[arg(long)]
    pub(crate) debug: bool,
}

/// Mirrors.
#[derive(Args)]
pub(crate) struct ListMirrors {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Those of all workers.
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Only those in these states.
    #[arg(long, short, value_delimiter = ',', value_name = "STATE,...")]
    pub(crate) status: Vec<String>,
    /// Print each as this text, with fields such as {{.Name}} in it.
    #[arg(long, short, value_name = "TEMPLATE")]
    pub(crate) format: Option<String>,
    /// The workers.
    #[arg(value_name = "WORKER", required_unless_present = "all")]
    pub(crate) workers: Vec<String>,
}

/// A worker.
#[derive(Args)]
pub(crate) struct OfWorker {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The worker.
    #[arg(long, short, value_name = "WORKER")]
    pub(crate) worker: String,
}

/// A mirror.
#[derive(Args)]
pub(crate) struct OfMirror {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The worker.
    #[arg(long, short, value_name = "WORKER")]
    pub(crate) worker: String,
    /// The mirror.
    pub(crate) mirror: String,
    /// Passed on, without effect.
    #[arg(value_delimiter = ',', value_name = "ARGUMENT,...")]
    pub(crate) arguments: Vec<String>,
}

/// A mirror that starts.
#[derive(Args)]
pub(crate) struct StartMirror {
    #[command(flatten)]
    pub(crate) mirror: OfMirror,
    /// Do not wait for the limit of the worker.
    #[arg(long, short)]
    pub(crate) force: bool,
}

/// The size of a mirror.
#[derive(Args)]
pub(crate) struct SetSize {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The worker.
    #[arg(long, short, value_name = "WORKER")]
    pub(crate) worker: String,
    /// The mirror.
    pub(crate) mirror: String,
    /// The size in words, such as 1.2T.
    pub(crate) size: String,
}
