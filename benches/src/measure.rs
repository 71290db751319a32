//! Wall time, CPU time and peak memory of a client run and the daemon it talks to.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What one run cost.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Seconds from start to exit of the client.
    pub wall: f64,
    /// Seconds of CPU time, both sides.
    pub cpu: f64,
    /// Peak resident memory of the client's processes together, MiB.
    pub client_memory: f64,
    /// Peak resident memory of the daemon's processes together, MiB.
    pub daemon_memory: f64,
}

/// The middle value of each measure.
pub fn median(samples: &[Sample]) -> Sample {
    let middle = |measure: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(measure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Sample {
        wall: middle(|sample| sample.wall),
        cpu: middle(|sample| sample.cpu),
        client_memory: middle(|sample| sample.client_memory),
        daemon_memory: middle(|sample| sample.daemon_memory),
    }
}

/// Runs `client` to its end and measures it together with `daemon`.
pub fn measure(client: &mut Command, daemon: &Child) -> io::Result<Sample> {
    let daemon_group = daemon.id();
    let daemon_before = daemon_cpu(daemon_group)?;
    let clients_before = children_cpu();
    let started = Instant::now();
    let mut child = client.process_group(0).stdout(Stdio::null()).spawn()?;
    let groups = [child.id(), daemon_group];
    let done = AtomicBool::new(false);
    let (status, wall, peaks) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample_memory(&groups, &done));
        let status = child.wait();
        let wall = started.elapsed();
        done.store(true, Ordering::Relaxed);
        (status, wall, sampler.join().expect("the sampler does not panic"))
    });
    let status = status?;
    if !status.success() {
        return Err(io::Error::other(format!("{client:?} ended with {status}")));
    }
    Ok(Sample {
        wall: wall.as_secs_f64(),
        cpu: daemon_cpu(daemon_group)? - daemon_before + children_cpu() - clients_before,
        client_memory: peaks[0],
        daemon_memory: peaks[1],
    })
}

/// Peak resident memory in MiB of each process group, the peaks of its processes added up.
fn sample_memory(groups: &[u32; 2], done: &AtomicBool) -> [f64; 2] {
    let mut peaks: [HashMap<u32, u64>; 2] = Default::default();
    while !done.load(Ordering::Relaxed) {
        for pid in pids() {
            let Some(side) = group_of(pid).and_then(|group| groups.iter().position(|&of| of == group)) else {
                continue;
            };
            if let Some(kib) = peak_kib(pid) {
                let peak = peaks[side].entry(pid).or_default();
                *peak = kib.max(*peak);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    peaks.map(|peaks| peaks.values().sum::<u64>() as f64 / 1024.0)
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/PID/stat` behind the program's name.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn group_of(pid: u32) -> Option<u32> {
    stat_fields(pid)?.get(2)?.parse().ok()
}

fn peak_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU seconds of the daemon and of all its children that have ended; waits for those still ending.
fn daemon_cpu(group: u32) -> io::Result<f64> {
    let gone = Instant::now() + Duration::from_secs(5);
    while pids().any(|pid| pid != group && group_of(pid) == Some(group)) && Instant::now() < gone {
        std::thread::sleep(Duration::from_millis(5));
    }
    let fields = stat_fields(group).ok_or_else(|| io::Error::other("the daemon has died"))?;
    let ticks: u64 = fields[11..15].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

fn children_cpu() -> f64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0.0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
    })
}
