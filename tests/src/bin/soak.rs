//! Runs the soak: `soak [SECONDS [SEED]]`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().ok());
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (Some(seconds), Some(seed), None) =
        (words.next().unwrap_or(Some(60)), words.next().unwrap_or(Some(since.as_secs())), words.next())
    else {
        eprintln!("usage: soak [SECONDS [SEED]]");
        return ExitCode::from(2);
    };
    println!("seed {seed}");
    println!("{:?}", rsync_e2e::soak::soak(Duration::from_secs(seconds), seed));
    ExitCode::SUCCESS
}
