//! What is measured: the trees, how the destination starts, the options.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// One row of the table.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// How files get from one place to the other.
    pub way: Way,
    /// The client's options.
    pub options: &'static [&'static str],
    /// The trees at its start.
    pub trees: Trees,
}

/// How files get from one place to the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A client pulls from a daemon.
    Pull,
    /// A client pushes to a program that it starts.
    Push,
    /// One program copies.
    Copy,
}

/// The trees that a row starts with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Trees {
    source: Source,
    start: Start,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// One file of so many MiB.
    Large(u64),
    /// So many small files in directories of a hundred.
    Small(u64),
    /// The same, but their content is holes: for rows that never read it.
    Hollow(u64),
}

/// What the destination holds before each run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Empty,
    /// What an earlier transfer left.
    Mirrored,
    /// An older version of the file: 1 % of its bytes differ, in runs.
    Changed,
}

/// The name of the list for `--files-from`, beside the trees.
pub const NAMES: &str = "names";

/// All rows, in the order of the table: those with the same trees follow each other.
pub fn all() -> Vec<Row> {
    const MIRROR: &[&str] = &["-aH", "--delete"];
    const LATE: &[&str] = &["-aH", "--delete-after", "--delay-updates"];
    const ARCHIVE: &[&str] = &["-a"];
    const LARGE: Source = Source::Large(2048);
    const SMALL: Source = Source::Small(100_000);
    const MANY: Source = Source::Hollow(1_000_000);
    let row = |name, way, options, source, start| Row { name, way, options, trees: Trees { source, start } };
    vec![
        row("large: 2 GiB file", Way::Pull, MIRROR, LARGE, Start::Empty),
        row("push: 2 GiB file, pipe", Way::Push, ARCHIVE, LARGE, Start::Empty),
        row("copy-large: 2 GiB file", Way::Copy, ARCHIVE, LARGE, Start::Empty),
        row("checksum: -c, 2 GiB the same", Way::Copy, &["-ac"], LARGE, Start::Mirrored),
        row("small: 100,000 files", Way::Pull, MIRROR, SMALL, Start::Empty),
        row("small-z: 100,000 files -z", Way::Pull, &["-aHz", "--delete"], SMALL, Start::Empty),
        row("push-small: 100,000 files, pipe", Way::Push, ARCHIVE, SMALL, Start::Empty),
        row("copy-small: 100,000 files", Way::Copy, ARCHIVE, SMALL, Start::Empty),
        row("delta: 1 GiB, 1 % changed", Way::Pull, MIRROR, Source::Large(1024), Start::Changed),
        row("noop: 1,000,000 files", Way::Pull, MIRROR, MANY, Start::Mirrored),
        row("noop-late: 1,000,000 files", Way::Pull, LATE, MANY, Start::Mirrored),
        row("copy-noop: 1,000,000 files", Way::Copy, ARCHIVE, MANY, Start::Mirrored),
        row("names: --files-from, 1,000,000", Way::Copy, &["-a", "--files-from"], MANY, Start::Mirrored),
    ]
}

impl Trees {
    /// Makes the source, and whatever the destination is reset from.
    pub fn prepare(&self, work: &Path, scale: f64) -> io::Result<()> {
        let source = work.join("src");
        fs::create_dir(&source)?;
        let mut names = Vec::new();
        match self.source {
            Source::Large(mib) => large_file(&source.join("large"), scaled(mib, scale) << 20)?,
            Source::Small(count) => small_files(&source, scaled(count, scale), true, &mut names)?,
            Source::Hollow(count) => small_files(&source, scaled(count, scale), false, &mut names)?,
        }
        fs::write(work.join(NAMES), names)?;
        match self.start {
            Start::Empty => Ok(()),
            Start::Mirrored => copy(&source, &work.join("dst")),
            Start::Changed => {
                copy(&source, &work.join("old"))?;
                change(&work.join("old/large"))
            }
        }
    }

    /// Brings the destination back to its start.
    pub fn reset(&self, work: &Path) -> io::Result<()> {
        let destination = work.join("dst");
        if matches!(self.start, Start::Mirrored) {
            return Ok(());
        }
        if destination.exists() {
            fs::remove_dir_all(&destination)?;
        }
        if matches!(self.start, Start::Changed) {
            copy(&work.join("old"), &destination)?;
        }
        Command::new("sync").status().map(drop)
    }
}

fn scaled(count: u64, scale: f64) -> u64 {
    ((count as f64 * scale) as u64).max(1)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("cp failed")) }
}

fn large_file(path: &Path, size: u64) -> io::Result<()> {
    let mut random = SmallRng::seed_from_u64(size);
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    for _ in 0..size >> 20 {
        random.fill_bytes(&mut block);
        file.write_all(&block)?;
    }
    Ok(())
}

/// Text-like files of 0 to 8 KiB, or holes of that size; their names are added to `names`, a line each.
fn small_files(root: &Path, count: u64, filled: bool, names: &mut Vec<u8>) -> io::Result<()> {
    let mut random = SmallRng::seed_from_u64(count);
    let text: Vec<u8> = (0..16384).map(|_| b"etaoin shrdlu\n"[random.random_range(0..14)]).collect();
    for index in 0..count {
        let directory = format!("d{:05}", index / 100);
        if index % 100 == 0 {
            fs::create_dir(root.join(&directory))?;
        }
        let name = format!("{directory}/file-{index:07}.txt");
        writeln!(names, "{name}")?;
        let start = random.random_range(0..8192);
        let size = random.random_range(0..8192);
        match filled {
            true => fs::write(root.join(name), &text[start..start + size])?,
            false => File::create(root.join(name))?.set_len(size as u64)?,
        }
    }
    Ok(())
}

/// Rewrites 1 % of the file, 4 KiB at a time, and makes it look old.
fn change(path: &Path) -> io::Result<()> {
    let mut random = SmallRng::seed_from_u64(1);
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.metadata()?.len();
    let mut block = [0; 4096];
    for _ in 0..size / 100 / 4096 {
        let at = random.random_range(0..size - 4096);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut block)?;
        block.iter_mut().for_each(|byte| *byte = !*byte);
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&block)?;
    }
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
}
