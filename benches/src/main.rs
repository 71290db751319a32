//! One command that measures this project beside the C rsync, in the same run, alternating.
//!
//!     cargo run --release -p rsync-benches -- --runs 5
//!
//! Each row is pulled by three pairs: the C client from the C daemon, our client from the C daemon
//! and the reverse, and ours on both ends. Shown are medians: wall time, CPU time of both sides
//! together, and the peak resident memory of each side. Times are only comparable within a row.

mod measure;
mod pairs;
mod rows;

use clap::Parser;

use crate::measure::{Sample, median};
use crate::pairs::{Pair, Programs};

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
        "row", "pair", "wall s", "ratio", "cpu s", "ratio", "client MiB", "daemon MiB"
    );
    for row in rows::all() {
        let wanted =
            arguments.rows.is_empty() || arguments.rows.iter().any(|word| row.name.contains(&**word));
        if !wanted {
            continue;
        }
        let work = tempfile::Builder::new().prefix("rsync-bench-").tempdir_in(&arguments.dir)?;
        row.prepare(work.path(), arguments.scale)?;
        let mut samples: [Vec<Sample>; Pair::ALL.len()] = Default::default();
        for _ in 0..arguments.runs {
            for (pair, samples) in Pair::ALL.into_iter().zip(&mut samples) {
                row.reset(work.path())?;
                samples.push(pair.run(&programs, work.path(), row.options)?);
            }
        }
        let [reference, ..] = samples.each_ref().map(|samples| median(samples));
        for (pair, samples) in Pair::ALL.into_iter().zip(&samples) {
            let sample = median(samples);
            println!(
                "{:<34} {:<12} {:>9.3} {:>6.2}x {:>9.3} {:>6.2}x {:>11.1} {:>11.1}",
                row.name,
                pair.name(),
                sample.wall,
                sample.wall / reference.wall,
                sample.cpu,
                sample.cpu / reference.cpu,
                sample.client_memory,
                sample.daemon_memory,
            );
        }
    }
    Ok(())
}
