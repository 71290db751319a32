//! Runs rounds of the long tier: `long [--minutes N] [--rounds N] [--seed N]`.
//!
//! Ends with exit code 1 if a round failed; `--seed N --rounds 1` repeats one.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

/// After so many failed rounds it is enough.
const FAILURES: usize = 10;

fn main() -> ExitCode {
    let mut minutes = 1;
    let mut rounds = u64::MAX;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut seed = since.as_secs() * 1000;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse().ok());
        match (word.as_str(), value) {
            ("--minutes", Some(value)) => minutes = value,
            ("--rounds", Some(value)) => rounds = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                eprintln!("usage: long [--minutes N] [--rounds N] [--seed N]");
                return ExitCode::from(2);
            }
        }
    }
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut failed = Vec::new();
    let mut done = 0;
    println!("seed {seed}");
    while Instant::now() < end && done < rounds && failed.len() < FAILURES {
        if !rsync_e2e::long::round(seed + done) {
            eprintln!("round {} failed; again: --seed {} --rounds 1", seed + done, seed + done);
            failed.push(seed + done);
        }
        done += 1;
    }
    println!("{done} rounds, {} failed: {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
