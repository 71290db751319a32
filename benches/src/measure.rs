//! Wall time, CPU time and peak memory of a client's run and the far end.

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
    /// Peak resident memory of the far end's processes together, MiB.
    pub far_memory: f64,
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
        far_memory: middle(|sample| sample.far_memory),
    }
}

/// Runs `client` to its end and measures it together with `daemon`, or with the far end that it starts.
pub fn measure(client: &mut Command, daemon: Option<&Child>) -> io::Result<Sample> {
    let daemon = daemon.map(Child::id);
    let daemon_before = daemon.map_or(Ok(0.0), daemon_cpu)?;
    let clients_before = children_cpu();
    let started = Instant::now();
    let mut child = client.process_group(0).stdout(Stdio::null()).spawn()?;
    let group = child.id();
    let done = AtomicBool::new(false);
    let (status, wall, peaks) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample_memory(group, daemon, &done));
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
        cpu: daemon.map_or(Ok(0.0), daemon_cpu)? - daemon_before + children_cpu() - clients_before,
        client_memory: peaks[0],
        far_memory: peaks[1],
    })
}

/// Peak resident memory in MiB of the client's process group and of the far end, the peaks of their
/// processes added up: that of the daemon's group, or of servers among the client's processes.
fn sample_memory(client: u32, daemon: Option<u32>, done: &AtomicBool) -> [f64; 2] {
    let mut peaks: [HashMap<u32, u64>; 2] = Default::default();
    while !done.load(Ordering::Relaxed) {
        for pid in pids() {
            let side = match group_of(pid) {
                Some(group) if group == client => usize::from(is_server(pid)),
                Some(group) if Some(group) == daemon => 1,
                _ => continue,
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

fn is_server(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line.split(|&byte| byte == 0).any(|word| word == b"--server"))
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
