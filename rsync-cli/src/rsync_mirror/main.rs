//! The `rsync-mirror` command: words to calls of the library, results to lines and exit codes.

mod arguments;
#[path = "../rsync/bar.rs"]
mod bar;
mod check_serving;
mod control;
mod job;
#[path = "../rsync/local_zone.rs"]
mod local_zone;
mod pair;
mod proxy;
mod rsync_server;
mod service;
#[path = "../rsync/signals.rs"]
mod signals;
mod site;
mod sync;
mod tunasync;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, ControlProgram, TunasyncProgram};

fn main() -> ExitCode {
    // A process that serves clients of the site's rsync daemon.
    if std::env::args_os().skip(1).eq([rsync_server::WORKER]) {
        return rsync_server::work();
    }
    let name = std::env::args_os().next().map(std::path::PathBuf::from);
    let code = match name.as_ref().and_then(|name| name.file_name()?.to_str()) {
        Some("tunasync") => tunasync::tunasync(&TunasyncProgram::parse().command),
        Some("tunasynctl") => tunasync::tunasynctl(&ControlProgram::parse().command),
        _ => obey(&Arguments::parse().command),
    };
    ExitCode::from(code)
}

/// Does what a command line says; answers the exit code.
fn obey(command: &Command) -> u8 {
    match command {
        Command::Sync(arguments) => sync::sync(arguments),
        Command::Plan(arguments) => sync::plan(arguments),
        Command::Proxy(arguments) => proxy::proxy(arguments),
        Command::Run(arguments) => site::run(arguments),
        Command::Check(arguments) => site::check(arguments),
        Command::List(arguments) => control::list(arguments),
        Command::Start(arguments) => control::start(arguments),
        Command::Stop(arguments) => control::tell(arguments, "stop"),
        Command::Disable(arguments) => control::tell(arguments, "disable"),
        Command::Enable(arguments) => control::tell(arguments, "enable"),
        Command::Restart(arguments) => control::tell(arguments, "restart"),
        Command::Reload(control) => control::reload(control),
        Command::Ping(control) => control::ping(control),
        Command::Logs(arguments) => control::logs(arguments),
        Command::Trigger(arguments) => control::trigger(arguments),
        Command::CheckServing(arguments) => check_serving::check(arguments),
        Command::Pair(arguments) => pair::pair(arguments),
        Command::Failback(arguments) => pair::failback(arguments),
        Command::Tunasync(command) => tunasync::tunasync(command),
        Command::Tunasynctl(command) => tunasync::tunasynctl(command),
    }
}

/// Writes a line to standard error.
fn say(text: &str) {
    // Nobody could be told that it failed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
