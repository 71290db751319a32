//! Programs around a run: started in a process group of their own, waited for with a limit, and ended with
//! all they started.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::cancel::Cancel;
use super::spec::Program;

/// How long a program that is told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// The longest pause between two looks at a program.
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// How a program is run.
#[derive(Debug)]
pub struct ProgramCall<'a> {
    /// What is run.
    pub program: &'a Program,
    /// Its variables, beside those of this process.
    pub environment: &'a BTreeMap<String, String>,
    /// Its directory; that of this process if none is given.
    pub directory: Option<&'a Path>,
    /// Where its output goes; nowhere if none is given.
    pub output: Option<File>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// The control group it is put into.
    pub cgroup: Option<PathBuf>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramEnd {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Killed, as it took too long.
    TimedOut,
    /// Killed, as the run was stopped.
    Cancelled,
}

impl ProgramEnd {
    /// Whether it ended well.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl std::fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Signalled(signal) => write!(f, "was killed by signal {signal}"),
            Self::TimedOut => f.write_str("took too long and was killed"),
            Self::Cancelled => f.write_str("was killed, as the run was stopped"),
        }
    }
}

/// Runs programs: the system's, or those of a test.
pub trait Spawn: Send + Sync {
    /// Runs a program to its end, or until the run is stopped.
    ///
    /// # Errors
    /// A program that cannot be started.
    fn run(&self, call: ProgramCall<'_>, cancel: &Cancel) -> io::Result<ProgramEnd>;
}

/// Runs real processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processes;

impl Spawn for Processes {
    fn run(&self, call: ProgramCall<'_>, cancel: &Cancel) -> io::Result<ProgramEnd> {
        let mut command = match call.cgroup.as_ref() {
            // The shell joins the group before the program begins, so that nothing escapes.
            Some(group) => {
                let mut command = Command::new("/bin/sh");
                let joins = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
                command.args(["-c", joins]).arg(group).args(call.program.words());
                command
            }
            None => {
                let (name, arguments) =
                    call.program.words().split_first().ok_or(io::ErrorKind::InvalidInput)?;
                let mut command = Command::new(name);
                command.args(arguments);
                command
            }
        };
        let (output, errors) = match call.output {
            Some(file) => (Stdio::from(file.try_clone()?), Stdio::from(file)),
            None => (Stdio::null(), Stdio::null()),
        };
        command.envs(call.environment).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        if let Some(directory) = call.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn()?;
        let end = wait(&mut child, call.timeout, cancel);
        if let Some(group) = call.cgroup.as_ref() {
            // What left the process group is still in the control group.
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
        end
    }
}

fn wait(child: &mut Child, timeout: Option<Duration>, cancel: &Cancel) -> io::Result<ProgramEnd> {
    let started = Instant::now();
    let mut look = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(end_of(status));
        }
        if timeout.is_some_and(|limit| started.elapsed() >= limit) {
            end_group(child)?;
            return Ok(ProgramEnd::TimedOut);
        }
        if cancel.wait(look) {
            end_group(child)?;
            return Ok(ProgramEnd::Cancelled);
        }
        look = (look * 2).min(LONGEST_LOOK);
    }
}

/// Asks the group to end, and kills what does not.
fn end_group(child: &mut Child) -> io::Result<()> {
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok(()) };
    // A group that is gone already needs no signal.
    let _ = kill_process_group(group, Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE && child.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().map(|_| ())
}

fn end_of(status: ExitStatus) -> ProgramEnd {
    match (status.code(), status.signal()) {
        (Some(code), _) => ProgramEnd::Exited(code),
        (None, signal) => ProgramEnd::Signalled(signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::StopReason;

    fn run(script: &str, timeout: Option<Duration>, cancel: &Cancel) -> ProgramEnd {
        let program = Program::new(["sh", "-c", script]).expect("has a name");
        let environment = BTreeMap::from([("NAME".to_owned(), "a b".to_owned())]);
        let call = ProgramCall {
            program: &program,
            environment: &environment,
            directory: None,
            output: None,
            timeout,
            cgroup: None,
        };
        Processes.run(call, cancel).expect("starts")
    }

    #[test]
    fn a_program_has_its_variables_and_tells_its_code() {
        let cancel = Cancel::default();
        assert_eq!(run("test \"$NAME\" = 'a b'", None, &cancel), ProgramEnd::Exited(0));
        assert_eq!(run("exit 7", None, &cancel), ProgramEnd::Exited(7));
        assert_eq!(run("kill -9 $$", None, &cancel), ProgramEnd::Signalled(9));
    }

    #[test]
    fn a_program_that_takes_too_long_dies_with_what_it_started() {
        let place = tempfile::tempdir().expect("a place");
        let note = place.path().join("pid");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", note.display());
        let cancel = Cancel::default();
        let stopper = {
            let (cancel, note) = (cancel.clone(), note.clone());
            std::thread::spawn(move || {
                while !note.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                cancel.cancel(StopReason::Requested);
            })
        };
        assert_eq!(run(&script, None, &cancel), ProgramEnd::Cancelled);
        stopper.join().expect("ends");
        let pid: i32 = std::fs::read_to_string(&note).expect("is read").trim().parse().expect("a number");
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z")
        };
        while !gone() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(
            run("sleep 600", Some(Duration::from_millis(20)), &Cancel::default()),
            ProgramEnd::TimedOut
        );
    }
}
