//! Runs rounds of the long tier:
//! `long [--minutes N] [--rounds N] [--seed N] [--seeds FILE] [--keep DIRECTORY]`.
//!
//! Ends with exit code 1 if a round failed; `--seed N --rounds 1` repeats one, and `--keep` leaves its
//! trees for a closer look. `--seeds` runs the rounds whose seeds begin the lines of a file.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

/// After so many failed rounds it is enough.
const FAILURES: usize = 10;

struct Order {
    minutes: u64,
    rounds: u64,
    seed: u64,
    seeds: Option<Vec<u64>>,
    keep: Option<PathBuf>,
}

impl Order {
    fn read(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut order =
            Self { minutes: 1, rounds: u64::MAX, seed: since.as_secs() * 1000, seeds: None, keep: None };
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--minutes" => order.minutes = value.parse().ok()?,
                "--rounds" => order.rounds = value.parse().ok()?,
                "--seed" => order.seed = value.parse().ok()?,
                "--seeds" => order.seeds = Some(kept_seeds(&std::fs::read_to_string(value).ok()?)?),
                "--keep" => order.keep = Some(value.into()),
                _ => return None,
            }
        }
        Some(order)
    }
}

/// The first word of each line that is neither empty nor a comment.
fn kept_seeds(text: &str) -> Option<Vec<u64>> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

fn main() -> ExitCode {
    let Some(order) = Order::read(std::env::args().skip(1)) else {
        eprintln!("usage: long [--minutes N] [--rounds N] [--seed N] [--seeds FILE] [--keep DIRECTORY]");
        return ExitCode::from(2);
    };
    // Kept seeds are all run, however long that takes.
    let minutes = if order.seeds.is_some() { 24 * 60 } else { order.minutes };
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let (mut done, mut failed) = (0, Vec::new());
    let all: Box<dyn Iterator<Item = u64>> = match order.seeds {
        Some(seeds) => Box::new(seeds.into_iter()),
        None => Box::new(order.seed..),
    };
    let mut seeds = all.take(usize::try_from(order.rounds).unwrap_or(usize::MAX)).peekable();
    println!("seed {}", seeds.peek().copied().unwrap_or_default());
    for seed in seeds {
        if Instant::now() >= end || failed.len() >= FAILURES {
            break;
        }
        if !rsync_e2e::long::round(seed, order.keep.as_deref()) {
            eprintln!("round {seed} failed; again: --seed {seed} --rounds 1");
            failed.push(seed);
        }
        done += 1;
    }
    println!("{done} rounds, {} failed: {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
