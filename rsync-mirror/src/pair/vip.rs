//! The floating address, and running the programs of steps.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::IpAddr;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::config::VipConfig;
use super::machine::Machine;
use super::neighbours::ANNOUNCEMENTS;
use super::procedure::Step;
use crate::job::{Cancel, Program, ProgramCall, ProgramEnd, Spawn};

/// Most bytes of a program's output that are looked at.
const OUTPUT_LIMIT: u64 = 4000;

/// Why a step is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepFailure {
    /// It failed.
    #[error("{0}")]
    Failed(String),
    /// The process is to end; the step is done again by the next one.
    #[error("stopped, as the process ends")]
    Stopped,
}

/// The floating address of this machine. What is done twice changes nothing.
///
/// Programs have `VIP` (the address with its bits), `DEV`, `STATE` and `REASON` in their environment.
pub struct Vip<'a> {
    /// Which address, and the programs that stand in for `ip` and `arping`.
    pub config: &'a VipConfig,
    /// Runs them.
    pub spawn: &'a dyn Spawn,
    /// Announces addresses of IPv6.
    pub machine: &'a dyn Machine,
    /// Ends what runs.
    pub cancel: &'a Cancel,
    /// `STATE`: what is being done, such as `takeover`.
    pub state: &'a str,
    /// `REASON`: why.
    pub reason: &'a str,
}

impl Vip<'_> {
    /// Does one step of a procedure.
    ///
    /// # Errors
    /// [`StepFailure`].
    pub fn perform(&self, step: &Step) -> Result<(), StepFailure> {
        match step {
            Step::Acquire => self.acquire(),
            Step::Release => self.release(),
            Step::Announce => self.announce(),
            Step::Hook { program, timeout, .. } => self.run(program, *timeout).map(drop),
        }
    }

    /// Whether the device has the address.
    ///
    /// # Errors
    /// [`StepFailure`]: `ip` cannot tell.
    pub fn holds(&self) -> Result<bool, StepFailure> {
        let (address, _) = self.config.address;
        let host = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
        let shown = self.system("ip", &["-o", "addr", "show", "dev", &self.config.dev, "to", &host])?;
        Ok(!shown.trim().is_empty())
    }

    /// Takes the address.
    ///
    /// # Errors
    /// [`StepFailure`].
    pub fn acquire(&self) -> Result<(), StepFailure> {
        if let Some(program) = &self.config.acquire {
            return self.run(program, self.config.step_timeout).map(drop);
        }
        if self.holds()? {
            return Ok(());
        }
        let address = self.address();
        let mut words = vec!["addr", "add", &address, "dev", &self.config.dev];
        if self.config.address.0.is_ipv6() {
            // It must be usable at once; that nobody else has it is for the witness to say.
            words.push("nodad");
        }
        self.system("ip", &words).map(drop)
    }

    /// Lets go of the address, if this machine has it.
    ///
    /// # Errors
    /// [`StepFailure`].
    pub fn release(&self) -> Result<(), StepFailure> {
        if let Some(program) = &self.config.release {
            return self.run(program, self.config.step_timeout).map(drop);
        }
        if !self.holds()? {
            return Ok(());
        }
        self.system("ip", &["addr", "del", &self.address(), "dev", &self.config.dev]).map(drop)
    }

    /// Tells the network that this machine has the address now.
    ///
    /// # Errors
    /// [`StepFailure`].
    pub fn announce(&self) -> Result<(), StepFailure> {
        if let Some(program) = &self.config.announce {
            return self.run(program, self.config.step_timeout).map(drop);
        }
        let device = &self.config.dev;
        match self.config.address.0 {
            IpAddr::V4(address) => {
                let count = ANNOUNCEMENTS.to_string();
                self.system("arping", &["-U", "-c", &count, "-I", device, &address.to_string()]).map(drop)
            }
            IpAddr::V6(address) => {
                let failed = |error| StepFailure::Failed(format!("no neighbour advertisement: {error}"));
                self.machine.advertise(address, device).map_err(failed)
            }
        }
    }

    /// Whether another machine answers for the address; nobody is asked about an address of IPv6.
    ///
    /// # Errors
    /// [`StepFailure`]: `arping` cannot ask.
    pub fn is_contested(&self) -> Result<bool, StepFailure> {
        /// What `arping -D` ends with when somebody has answered.
        const ANSWERED: ProgramEnd = ProgramEnd::Exited(1);
        let IpAddr::V4(address) = self.config.address.0 else { return Ok(false) };
        let address = address.to_string();
        let words = ["arping", "-D", "-q", "-c", "2", "-w", "2", "-I", &self.config.dev, &address];
        let (end, printed) = self.end_of(&program(&words)?, self.config.step_timeout)?;
        match end {
            // It complains if that is not what the code means.
            ANSWERED if printed.trim().is_empty() => Ok(true),
            end if end.is_ok() => Ok(false),
            end => Err(failure("arping", end, &printed)),
        }
    }

    /// Runs a program to its end; what it printed.
    ///
    /// # Errors
    /// [`StepFailure`], with what it printed.
    pub fn run(&self, program: &Program, limit: Duration) -> Result<String, StepFailure> {
        let (end, printed) = self.end_of(program, limit)?;
        if end.is_ok() { Ok(printed) } else { Err(failure(name_of(program), end, &printed)) }
    }

    /// Runs a program of the system.
    fn system(&self, name: &str, words: &[&str]) -> Result<String, StepFailure> {
        self.run(&program(&[&[name], words].concat())?, self.config.step_timeout)
    }

    fn end_of(&self, program: &Program, limit: Duration) -> Result<(ProgramEnd, String), StepFailure> {
        let failed = |error: io::Error| StepFailure::Failed(format!("{}: {error}", name_of(program)));
        let variables = [
            ("VIP", self.address()),
            ("DEV", self.config.dev.clone()),
            ("STATE", self.state.to_owned()),
            ("REASON", self.reason.to_owned()),
        ];
        let output = memfd_create("output", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let mut output = File::from(output);
        let call = ProgramCall {
            program,
            environment: &variables.map(|(name, value)| (name.to_owned(), value)).into(),
            directory: None,
            output: Some(output.try_clone().map_err(failed)?),
            timeout: Some(limit),
            cgroup: None,
        };
        match self.spawn.run(call, self.cancel).map_err(failed)? {
            ProgramEnd::Cancelled => Err(StepFailure::Stopped),
            end => Ok((end, beginning(&mut output).map_err(failed)?)),
        }
    }

    /// The address with its bits.
    fn address(&self) -> String {
        format!("{}/{}", self.config.address.0, self.config.address.1)
    }
}

fn program(words: &[&str]) -> Result<Program, StepFailure> {
    Program::new(words.iter().copied())
        .ok_or_else(|| StepFailure::Failed("the device or address has no name".into()))
}

fn name_of(program: &Program) -> &str {
    program.words().first().map_or("", String::as_str)
}

fn failure(name: &str, end: ProgramEnd, printed: &str) -> StepFailure {
    StepFailure::Failed(match printed.trim() {
        "" => format!("{name} {end}"),
        complaint => format!("{name} {end}: {complaint}"),
    })
}

/// The beginning of what a program printed.
fn beginning(output: &mut File) -> io::Result<String> {
    let mut text = Vec::new();
    output.rewind()?;
    output.take(OUTPUT_LIMIT).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Processes, StopReason};
    use crate::pair::machine::ThisMachine;

    fn run(words: &[&str], limit: Duration, cancel: &Cancel) -> Result<String, StepFailure> {
        let config: VipConfig =
            toml::from_str("address = \"192.0.2.10/24\"\ndev = \"nosuchdev\"").expect("a section");
        let machine = ThisMachine::new().expect("a machine");
        let vip = Vip {
            config: &config,
            spawn: &Processes,
            machine: &machine,
            cancel,
            state: "takeover",
            reason: "a test",
        };
        vip.run(&program(words).expect("a program"), limit)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_learns_what_it_is_for() {
        let told = run(&["sh", "-c", "echo $VIP,$DEV,$STATE,$REASON"], LONG, &Cancel::default());
        assert_eq!(told.as_deref(), Ok("192.0.2.10/24,nosuchdev,takeover,a test\n"));
    }

    #[test]
    fn a_program_that_fails_hangs_or_does_not_exist_is_told() {
        let cancel = Cancel::default();
        let told = |words: &[&str], limit| run(words, limit, &cancel).expect_err("it fails").to_string();
        let failing = told(&["sh", "-c", "echo because >&2; exit 3"], LONG);
        assert_eq!(failing, "sh ended with exit code 3: because");
        assert_eq!(told(&["sleep", "600"], Duration::from_millis(50)), "sleep took too long and was killed");
        assert!(told(&["/no/such/program"], LONG).starts_with("/no/such/program: No such file"));
    }

    #[test]
    fn a_program_is_ended_with_the_process() {
        let cancel = Cancel::default();
        cancel.cancel(StopReason::Shutdown);
        assert_eq!(run(&["sleep", "600"], LONG, &cancel), Err(StepFailure::Stopped));
    }

    #[test]
    fn a_program_that_says_much_comes_to_its_end() {
        let words = ["sh", "-c", "yes | head -c 1000000; yes | head -c 1000000 >&2"];
        assert!(run(&words, LONG, &Cancel::default()).is_ok());
    }
}
