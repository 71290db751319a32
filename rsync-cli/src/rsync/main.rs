//! The `rsync` command: words to calls, events to streams, results to exit codes.
//!
//! Everything else is in the libraries. `console` prints, `run` calls the client library, `server`
//! is the other end of a remote shell.

use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use bstr::BString;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{
    self, Command, Environment, LocalClock, OptionError, Rejected, daemon_help, debug_help, help, info_help,
    version, version_json,
};
use rsync_proto::text::{Role, escape_message, exit_line};

mod background;
mod bar;
mod console;
mod daemon;
mod facts;
mod json;
mod local_zone;
mod prompt;
mod restricted;
mod run;
mod server;
mod signals;
mod zone;

use facts::FACTS;

fn main() -> std::process::ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let words: Vec<BString> = words.map(|word| BString::from(word.into_vec())).collect();
    let code = match words.split_first() {
        _ if restricted::is_called(&program) => restricted::run(&program.to_string_lossy(), &words),
        Some((first, rest)) if first == "--restricted" => restricted::run("rrsync", rest),
        _ => run(&words),
    };
    std::process::ExitCode::from(code.code())
}

fn run(words: &[BString]) -> ExitCode {
    let (words, detached) = match words {
        [word] if word == daemon::WORKER => return daemon::work(),
        [word, words @ ..] if word == background::MARK => (words, true),
        words => (words, false),
    };
    let clock = LocalClock { now: zone::now(), offset_at: zone::offset_at };
    let environment = Environment::from_variables(clock, variable);
    match options::parse(words, &environment) {
        Ok(Command::Transfer(request)) if request.options.server => server::serve(*request),
        Ok(Command::Transfer(request)) => run::transfer(*request),
        Ok(Command::SecondList(pending)) => server::serve_secluded(*pending),
        Ok(Command::Daemon(line)) => daemon::run(&line, detached),
        Ok(Command::Help) => print(&help(&FACTS)),
        Ok(Command::DaemonHelp) => print(&daemon_help(&FACTS)),
        Ok(Command::Version(json)) => print(&if json { version_json(&FACTS) } else { version(&FACTS) }),
        Ok(Command::InfoHelp) => print(&info_help()),
        Ok(Command::DebugHelp) => print(&debug_help()),
        Err(Rejected { error, so_far }) => {
            reject(&error, if so_far.server { Role::Server } else { Role::Client }, so_far.json)
        }
    }
}

/// An environment variable as bytes.
fn variable(name: &str) -> Option<BString> {
    std::env::var_os(name).map(|value| value.as_bytes().into())
}

/// Prints a text somebody asked for.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::OK,
        Err(_) => ExitCode::FILE_IO,
    }
}

/// Says why a command line cannot be run, on standard output too if it asks for JSON.
fn reject(error: &OptionError, role: Role, json: bool) -> ExitCode {
    let text = match error {
        OptionError::Usage => help(&FACTS),
        error => format!("{}\n", error.message()),
    };
    say_error(text.trim_end_matches('\n'));
    if json {
        // The exit code says the same.
        let _ = print(&json::rejection(&error.message(), error.exit_code()));
    }
    say_exit(error.exit_code(), role);
    error.exit_code()
}

/// Writes a line to standard error.
fn say_error(text: &str) {
    let mut escaped = Vec::with_capacity(text.len() + 1);
    for line in text.lines() {
        escape_message(line.as_bytes(), console::charset(false), &mut escaped);
        escaped.push(b'\n');
    }
    // In one piece: another process may write there too. Nobody could be told that it failed.
    let _ = std::io::stderr().lock().write_all(&escaped);
}

/// Writes the last line of a process that fails.
fn say_exit(code: ExitCode, role: Role) {
    if let Some(line) = exit_line(code, role, (file!(), line!()), FACTS.version) {
        say_error(&line);
    }
}
