//! The `rsync-mirror` command: words to calls of the library, results to lines and exit codes.

mod arguments;
#[path = "../rsync/bar.rs"]
mod bar;
mod job;
mod proxy;
mod service;
#[path = "../rsync/signals.rs"]
mod signals;
mod sync;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::Sync(arguments) => sync::sync(&arguments),
        Command::Plan(arguments) => sync::plan(&arguments),
        Command::Proxy(arguments) => proxy::proxy(&arguments),
    };
    ExitCode::from(code)
}

/// Writes a line to standard error.
fn say(text: &str) {
    // Nobody could be told that it failed.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
