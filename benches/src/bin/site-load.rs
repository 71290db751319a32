//! What a mirror site costs, beside the C rsync alone.
//!
//!     cargo build --release -p rsync-cli && cargo run --release -p rsync-benches --bin site-load
//!
//! Three things: a run that finds nothing to do, by `rsync` as a script in cron starts it (which is the
//! least that tunasync costs, for it starts the same program and reads what it prints), by `rsync-mirror
//! sync`, and inside a site; a site with many mirrors that all wait; and how long its API and page take to
//! answer while they are asked at a steady rate.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What a mirror site costs.
#[derive(Parser)]
struct Arguments {
    /// Runs of each kind.
    #[arg(long, default_value_t = 50)]
    runs: usize,
    /// Files of the mirror that is up to date.
    #[arg(long, default_value_t = 1000)]
    files: usize,
    /// Mirrors that wait.
    #[arg(long, default_value_t = 1000)]
    mirrors: usize,
    /// How long their site is watched, in seconds.
    #[arg(long, default_value_t = 30)]
    idle: u64,
    /// Requests for each address.
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// Requests per second.
    #[arg(long, default_value_t = 100)]
    rate: usize,
    /// Where everything is made.
    #[arg(long, default_value = "/dev/shm")]
    dir: PathBuf,
    /// The C rsync.
    #[arg(long, default_value = "/usr/bin/rsync")]
    reference: PathBuf,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mirror = std::env::current_exe()?.with_file_name("rsync-mirror");
    let work = tempfile::Builder::new().prefix("rsync-site-").tempdir_in(&arguments.dir)?;
    let work = work.path();
    let daemon = daemon(&arguments, work)?;
    runs(&arguments, &mirror, work, daemon.port)?;
    let site = Site::start(&mirror, work, daemon.port, arguments.mirrors)?;
    idle(&arguments, &site)?;
    for path in ["/api/v1/jobs/m1", "/jobs", "/", "/metrics"] {
        latency(&arguments, &site, path)?;
    }
    Ok(())
}

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_for(port: u16) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if Instant::now() > deadline {
            return Err(io::Error::other("a server does not listen"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn daemon(arguments: &Arguments, work: &Path) -> io::Result<Server> {
    let tree = work.join("upstream");
    for file in 0..arguments.files {
        let dir = tree.join(format!("{}", file / 100));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(file.to_string()), b"content")?;
    }
    let config = work.join("rsyncd.conf");
    let log = work.join("log");
    let text = format!(
        "use chroot = no\nuid = 0\ngid = 0\nlog file = {}\n[m]\npath = {}\n",
        log.display(),
        tree.display()
    );
    fs::write(&config, text)?;
    let port = free_port()?;
    let mut command = Command::new(&arguments.reference);
    command.args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")]);
    let child = command.arg(format!("--config={}", config.display())).stdin(Stdio::null()).spawn()?;
    let server = Server { child, port };
    wait_for(port)?;
    Ok(server)
}

/// The median of times in milliseconds, and the one that one in a hundred exceeds.
fn median_and_worst(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    (at(0.5), at(0.99))
}

fn runs(arguments: &Arguments, mirror: &Path, work: &Path, port: u16) -> io::Result<()> {
    let url = format!("rsync://127.0.0.1:{port}/m/");
    let by_cron = || {
        let mut command = Command::new(&arguments.reference);
        command.args(["-aHh", "--delete", "--delete-after", "--delay-updates", "--safe-links"]);
        command.arg(&url).arg(work.join("by-cron"));
        command
    };
    let by_sync = || {
        let mut command = Command::new(mirror);
        command.arg("sync").arg(&url).arg(work.join("by-sync")).arg("--quiet");
        command.arg("--state-dir").arg(work.join("sync-state"));
        command
    };
    let kinds: [(&str, &dyn Fn() -> Command); 2] = [("rsync (C)", &by_cron), ("rsync-mirror sync", &by_sync)];
    let mut walls = [Vec::new(), Vec::new()];
    let mut cpu = [Duration::ZERO; 2];
    for round in 0..=arguments.runs {
        for (kind, (_, command)) in kinds.iter().enumerate() {
            let (before, started) = (children_cpu()?, Instant::now());
            if !command().stdin(Stdio::null()).stdout(Stdio::null()).status()?.success() {
                return Err(io::Error::other("a run failed"));
            }
            // The first brings everything.
            if round > 0 {
                walls[kind].push(started.elapsed());
                cpu[kind] += children_cpu()? - before;
            }
        }
    }
    println!("a run over {} files that finds nothing to do", arguments.files);
    println!("{:<24} {:>10} {:>10}", "", "wall ms", "CPU ms");
    for (kind, (name, _)) in kinds.iter().enumerate() {
        let each = cpu[kind].as_secs_f64() * 1000.0 / arguments.runs as f64;
        println!("{name:<24} {:>10.1} {each:>10.1}", median_and_worst(&mut walls[kind]).0);
    }
    let site = Site::start(mirror, work, port, 1)?;
    let control = |word: &str| {
        let mut command = Command::new(mirror);
        command.arg(word).arg("--socket").arg(site.state.join("control.sock"));
        command
    };
    // A run has ended when it has left its record, whose name begins with its time.
    let newest = || {
        let names = fs::read_dir(site.state.join("jobs/m0/runs")).into_iter().flatten().flatten();
        names.map(|entry| entry.file_name()).max()
    };
    let mut walls = Vec::new();
    let mut before = site.cpu()?;
    for round in 0..=arguments.runs {
        let (last, started) = (newest(), Instant::now());
        control("start").args(["--force", "m0"]).stdout(Stdio::null()).status()?;
        while newest() == last {
            if started.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other("a run of the site does not end"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if round == 0 {
            before = site.cpu()?;
        } else {
            walls.push(started.elapsed());
        }
    }
    let each = (site.cpu()? - before).as_secs_f64() * 1000.0 / walls.len() as f64;
    println!("{:<24} {:>10.1} {each:>10.1}", "in a site", median_and_worst(&mut walls).0);
    Ok(())
}

fn children_cpu() -> io::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.cast_unsigned()))
}

/// A site whose mirrors run when they are told to.
struct Site {
    server: Server,
    state: PathBuf,
}

impl Site {
    fn start(mirror: &Path, work: &Path, daemon: u16, mirrors: usize) -> io::Result<Self> {
        let (port, state) = (free_port()?, work.join(format!("state-{mirrors}")));
        let mut text = format!(
            "[site]\nname = 'many'\nstate_dir = '{}'\nmirror_dir = '{}'\nlisten = ['127.0.0.1:{port}']\n\
             [defaults]\nschedule = 'on-demand'\n",
            state.display(),
            work.join("srv").display()
        );
        for number in 0..mirrors {
            text += &format!("[[job]]\nname = 'm{number}'\nupstream = 'rsync://127.0.0.1:{daemon}/m/'\n");
        }
        let config = work.join(format!("mirrors-{mirrors}.toml"));
        fs::write(&config, text)?;
        let mut command = Command::new(mirror);
        command.arg("run").arg("--config").arg(config).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Server { child, port };
        wait_for(port)?;
        Ok(Self { server, state })
    }

    fn file(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.server.child.id()))
    }

    /// CPU time so far, by hundredths of a second.
    fn cpu(&self) -> io::Result<Duration> {
        let stat = self.file("stat")?;
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Memory in KiB.
    fn memory(&self) -> io::Result<u64> {
        let status = self.file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| io::Error::other("no memory is told"))
    }
}

fn idle(arguments: &Arguments, site: &Site) -> io::Result<()> {
    std::thread::sleep(Duration::from_secs(2));
    let before = site.cpu()?;
    std::thread::sleep(Duration::from_secs(arguments.idle));
    let used = (site.cpu()? - before).as_secs_f64() * 100.0 / arguments.idle as f64;
    let mib = site.memory()? as f64 / 1024.0;
    println!("\n{} mirrors that wait: {used:.2} % of a CPU, {mib:.1} MiB", arguments.mirrors);
    println!(
        "\n{:<24} {:>10} {:>10} {:>10} {:>8}",
        "asked at a steady rate", "median ms", "99 % ms", "KiB", "CPU %"
    );
    Ok(())
}

fn latency(arguments: &Arguments, site: &Site, path: &str) -> io::Result<()> {
    let started = Instant::now();
    let before = site.cpu()?;
    let mut times = Vec::new();
    let mut length = 0;
    for number in 0..arguments.requests {
        let due = Duration::from_secs_f64(number as f64 / arguments.rate as f64);
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        // Late ones count from when they were due.
        let asked = started + due;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, site.server.port))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(format!("{path} is not there")));
        }
        length = answer.len();
        times.push(asked.elapsed());
    }
    let share = (site.cpu()? - before).as_secs_f64() * 100.0 / started.elapsed().as_secs_f64();
    let (median, worst) = median_and_worst(&mut times);
    println!("{path:<24} {median:>10.2} {worst:>10.2} {:>10.1} {share:>8.1}", length as f64 / 1024.0);
    Ok(())
}
