//! A program in place of a transfer: its variables, its limits, what its log says (spec 11 §3.4).

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use super::context::RunContext;
use super::hooks::Facts;
use super::log::RunLog;
use super::program::{ProgramCall, ProgramEnd};
use super::result::Stats;
use super::spec::{CommandMethod, Limits};
use crate::MirrorError;

/// Most bytes of a log that patterns are looked for in: its end.
const MAX_LOG: u64 = 16 << 20;

/// Checks the patterns of a method.
pub(crate) fn check(method: &CommandMethod) -> Result<(), String> {
    for pattern in [&method.fail_on_match, &method.size_pattern].into_iter().flatten() {
        Regex::new(pattern).map_err(|error| format!("the pattern {pattern:?} cannot be read: {error}"))?;
    }
    Ok(())
}

/// Runs the program, for at most `time`; `fallback` takes its output where there is no log.
pub(crate) fn run(
    method: &CommandMethod,
    facts: &Facts<'_>,
    context: &RunContext,
    log: &RunLog,
    time: Option<Duration>,
    fallback: &Path,
) -> Result<Stats, MirrorError> {
    let path = log.path().unwrap_or(fallback).to_owned();
    let output = match log.handle() {
        Some(file) => file,
        None => File::create(&path).map_err(MirrorError::file("make", &path))?,
    };
    let start = output.metadata().map_or(0, |facts| facts.len());
    let directory = &facts.job.destination;
    fs::create_dir_all(directory).map_err(MirrorError::file("make", directory))?;
    let group = Group::make(&method.limits, &format!("{}-{}", facts.job.name, facts.run))?;
    let environment = facts.environment(context, log);
    let call = ProgramCall {
        program: &method.program,
        environment: &environment,
        directory: Some(directory),
        output: Some(output),
        timeout: time,
        cgroup: group.as_ref().map(|group| group.path.clone()),
    };
    let name = method.program.words().first().cloned().unwrap_or_default();
    let failed = |reason: String, code: u8| MirrorError::Program { program: name.clone(), reason, code };
    let end = context.spawn.run(call, &context.cancel);
    drop(group);
    match end {
        Ok(ProgramEnd::Exited(0)) => {}
        Ok(ProgramEnd::Exited(code)) => {
            return Err(failed(format!("ended with exit code {code}"), u8::try_from(code).unwrap_or(255)));
        }
        Ok(ProgramEnd::Cancelled) => {
            let reason = context.cancel.reason();
            return Err(reason.map_or_else(|| failed("was killed".to_owned(), 20), MirrorError::Stopped));
        }
        Ok(ProgramEnd::TimedOut) => {
            return Err(MirrorError::TimedOut { after: facts.job.timeouts.total.unwrap_or_default() });
        }
        Ok(end @ ProgramEnd::Signalled(signal)) => {
            return Err(failed(end.to_string(), u8::try_from(signal + 128).unwrap_or(255)));
        }
        Err(error) => return Err(failed(format!("cannot be started: {error}"), 127)),
    }
    let text = tail(&path, start).map_err(MirrorError::file("read", &path))?;
    let found = |pattern: &Option<String>| pattern.as_ref().and_then(|pattern| Regex::new(pattern).ok());
    if let Some(text) =
        found(&method.fail_on_match).and_then(|pattern| pattern.find(&text).map(|found| found.as_str()))
    {
        return Err(failed(format!("said {text:?}, which means that it failed"), 1));
    }
    let size = found(&method.size_pattern).and_then(|pattern| {
        let last = pattern.captures_iter(&text).last()?;
        last.get(1).and_then(|size| size_of(size.as_str()))
    });
    Ok(Stats { size: size.unwrap_or(0), ..Stats::default() })
}

fn tail(path: &Path, start: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(MAX_LOG))))?;
    let mut text = Vec::new();
    file.take(MAX_LOG).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A size as rsync writes it: `1.23T`, in units of 1000.
fn size_of(text: &str) -> Option<u64> {
    let text = text.trim().replace(',', "");
    let power = "KMGTP".find(text.chars().last()?.to_ascii_uppercase());
    let number: f64 = if power.is_some() { &text[..text.len() - 1] } else { &text[..] }.parse().ok()?;
    let bytes = number * 1000_f64.powi(power.map_or(0, |power| i32::try_from(power).unwrap_or(0) + 1));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    (bytes.is_finite() && bytes >= 0.0).then_some(bytes as u64)
}

/// A control group, which goes when it is dropped.
struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes the group that `limits` ask for, if they ask for any.
    fn make(limits: &Limits, name: &str) -> Result<Option<Self>, MirrorError> {
        let limited = limits.memory.is_some()
            || limits.cpus.is_some()
            || limits.processes.is_some()
            || !limits.io.is_empty();
        let Some(parent) = &limits.cgroup else {
            if limited {
                let reason = "its program has limits, and no control group to apply them; set cgroup";
                return Err(MirrorError::Job { job: name.to_owned(), reason: reason.to_owned() });
            }
            return Ok(None);
        };
        let path = parent.join(name);
        fs::create_dir(&path).map_err(MirrorError::file("make the control group", &path))?;
        let group = Self { path };
        if let Some(bytes) = limits.memory {
            group.set("memory.max", &bytes.to_string())?;
        }
        if let Some(cpus) = limits.cpus {
            group.set("cpu.max", &format!("{:.0} 100000", (cpus * 100_000.0).max(1000.0)))?;
        }
        if let Some(processes) = limits.processes {
            group.set("pids.max", &processes.to_string())?;
        }
        limits.io.iter().try_for_each(|line| group.set("io.max", line))?;
        Ok(Some(group))
    }

    fn set(&self, name: &str, value: &str) -> Result<(), MirrorError> {
        let path = self.path.join(name);
        fs::write(&path, value).map_err(MirrorError::file("limit the program by", path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Killed processes take a moment to leave it; one that stays is empty and harmless.
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_units_of_a_thousand() {
        for (text, size) in [("12", 12), ("1.5K", 1500), ("1.2T", 1_200_000_000_000), ("1,234", 1234)] {
            assert_eq!(size_of(text), Some(size), "{text}");
        }
        for wrong in ["", "K", "1X", "one"] {
            assert_eq!(size_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn limits_without_a_group_are_refused_rather_than_forgotten() {
        let limits = Limits { memory: Some(1 << 20), ..Limits::default() };
        assert_eq!(Group::make(&limits, "a").err().map(|error| error.exit_code()), Some(78));
    }
}
