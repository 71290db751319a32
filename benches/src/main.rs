//! One command that measures this project beside the C rsync, in the same run, alternating.
//!
//!     cargo run --release -p rsync-benches -- --runs 5
//!
//! Each row is pulled or pushed by four pairs: the C rsync on both ends, ours on both ends, and ours
//! with C in either role; local copies are made by C and by ours. Shown are medians: wall time, CPU time
//! of both sides together, and the peak resident memory of each side. Times are only comparable within
//! a row.

mod measure;
mod pairs;
mod rows;

use std::path::Path;

use clap::Parser;

use crate::measure::{Sample, median};
use crate::pairs::{Pair, Programs};
use crate::rows::Row;

/// Benchmarks beside the C rsync.
#[derive(Parser)]
struct Arguments {
    /// Measurements of each cell.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Factor on sizes and counts: 1 is what the project is judged by, 0.01 a smoke test.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only rows whose name contains one of these words.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Where the trees are made; needs about 10 GiB at scale 1.
    #[arg(long, default_value = "/var/tmp")]
    dir: std::path::PathBuf,
    /// The C rsync.
    #[arg(long, default_value = "/usr/bin/rsync")]
    reference: std::path::PathBuf,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let programs = Programs::find(arguments.reference.clone())?;
    println!(
        "{:<34} {:<12} {:>9} {:>7} {:>9} {:>7} {:>11} {:>11}",
        "row", "pair", "wall s", "ratio", "cpu s", "ratio", "client MiB", "far end MiB"
    );
    let wanted = |row: &rows::Row| {
        arguments.rows.is_empty() || arguments.rows.iter().any(|word| row.name.contains(&**word))
    };
    let mut made = None;
    for row in rows::all().into_iter().filter(wanted) {
        let (trees, work) = match made.take().filter(|(trees, _)| *trees == row.trees) {
            Some(made) => made,
            None => {
                let work = tempfile::Builder::new().prefix("rsync-bench-").tempdir_in(&arguments.dir)?;
                row.trees.prepare(work.path(), arguments.scale)?;
                (row.trees, work)
            }
        };
        measure_row(&row, &programs, work.path(), arguments.runs)?;
        made = Some((trees, work));
    }
    Ok(())
}

/// Runs all pairs of a row in turn, and prints their medians.
fn measure_row(row: &Row, programs: &Programs, work: &Path, runs: usize) -> std::io::Result<()> {
    let pairs = Pair::all(row.way);
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); pairs.len()];
    for _ in 0..runs {
        for (pair, samples) in pairs.iter().zip(&mut samples) {
            row.trees.reset(work)?;
            samples.push(pair.run(programs, work, row)?);
        }
    }
    let reference = median(&samples[0]);
    for (pair, samples) in pairs.iter().zip(&samples) {
        let sample = median(samples);
        println!(
            "{:<34} {:<12} {:>9.3} {:>6.2}x {:>9.3} {:>6.2}x {:>11.1} {:>11.1}",
            row.name,
            pair.name(row.way),
            sample.wall,
            sample.wall / reference.wall,
            sample.cpu,
            sample.cpu / reference.cpu,
            sample.client_memory,
            sample.far_memory,
        );
    }
    Ok(())
}
