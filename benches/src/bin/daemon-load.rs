//! Load on a daemon, ours and the C rsync's in turn, by the same clients.
//!
//!     cargo build --release -p rsync-cli && cargo run --release -p rsync-benches --bin daemon-load
//!
//! Four loads: clients that all find nothing to do in a large module, clients that pull a file together,
//! connections that are held open without a word, and listings one after the other. Shown are the time it
//! took, the CPU time of the daemon, its memory (the sum of its processes' proportional shares) at the
//! peak, per connection, and how many clients failed. Clients are the C rsync; idle connections and listings
//! are made here, from many addresses of this machine.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use socket2::{Domain, Socket, Type};

/// Load on a daemon, ours and the C rsync's.
#[derive(Parser)]
struct Arguments {
    /// Files of the large module.
    #[arg(long, default_value_t = 100_000)]
    files: usize,
    /// Clients that find nothing to do in it, at once.
    #[arg(long, default_value_t = 200)]
    noop_clients: usize,
    /// Clients that pull a file at once.
    #[arg(long, default_value_t = 50)]
    pull_clients: usize,
    /// MiB of what they pull together.
    #[arg(long, default_value_t = 1024)]
    pull_mib: usize,
    /// Connections held open.
    #[arg(long, default_value_t = 5000)]
    idle: usize,
    /// Listings.
    #[arg(long, default_value_t = 5000)]
    listings: usize,
    /// Listings wanted per second.
    #[arg(long, default_value_t = 1000)]
    listing_rate: usize,
    /// Where the modules are made.
    #[arg(long, default_value = "/dev/shm")]
    dir: PathBuf,
    /// The C rsync: client, and the other daemon.
    #[arg(long, default_value = "/usr/bin/rsync")]
    reference: PathBuf,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let ours = std::env::current_exe()?.with_file_name("rsyncd");
    let work = tempfile::Builder::new().prefix("rsync-load-").tempdir_in(&arguments.dir)?;
    prepare(work.path(), &arguments)?;
    let daemons: [(&str, Vec<PathBuf>); 2] =
        [("C", vec![arguments.reference.clone(), "--daemon".into()]), ("ours", vec![ours])];
    println!(
        "{:<28} {:<6} {:>9} {:>9} {:>9} {:>14} {:>7}",
        "load", "daemon", "wall s", "CPU s", "MiB", "KiB/connection", "failed"
    );
    type Load = fn(&Arguments, &Path, u16) -> io::Result<Outcome>;
    let loads: [(String, usize, Load); 4] = [
        (
            format!("{} x no-op, {} files", arguments.noop_clients, arguments.files),
            arguments.noop_clients,
            noop,
        ),
        (
            format!("{} x pull, {} MiB", arguments.pull_clients, arguments.pull_mib),
            arguments.pull_clients,
            pull,
        ),
        (format!("{} idle", arguments.idle), arguments.idle, idle),
        (format!("{} listings, {}/s", arguments.listings, arguments.listing_rate), 0, listings),
    ];
    for (name, connections, load) in loads {
        for (daemon, words) in &daemons {
            let running = Daemon::start(words, work.path())?;
            let before = running.usage()?;
            let peak = Peak::default();
            let (outcome, peak) = std::thread::scope(|scope| {
                let watching = scope.spawn(|| peak.watch(&running));
                let outcome = load(&arguments, work.path(), running.port);
                peak.done.store(true, Ordering::Relaxed);
                (outcome, watching.join().unwrap_or_default())
            });
            let outcome = outcome?;
            let after = running.usage()?;
            let each = peak.saturating_sub(before.kib).checked_div(connections).unwrap_or(0);
            println!(
                "{name:<28} {daemon:<6} {:>9.2} {:>9.2} {:>9.1} {each:>14} {:>7}",
                outcome.wall.as_secs_f64(),
                after.cpu - before.cpu,
                peak as f64 / 1024.0,
                outcome.failed
            );
        }
    }
    Ok(())
}

struct Outcome {
    wall: Duration,
    failed: usize,
}

fn prepare(work: &Path, arguments: &Arguments) -> io::Result<()> {
    let many = work.join("many");
    for file in 0..arguments.files {
        let dir = many.join(format!("{:03}", file / 1000));
        if file % 1000 == 0 {
            fs::create_dir_all(&dir)?;
        }
        fs::write(dir.join(format!("{file:06}")), b"content")?;
    }
    fs::create_dir(work.join("one"))?;
    fs::write(work.join("one/file"), vec![7; (arguments.pull_mib << 20) / arguments.pull_clients.max(1)])?;
    let log = work.join("log");
    let modules = ["many", "one"].map(|name| format!("[{name}]\npath = {}\n", work.join(name).display()));
    fs::write(
        work.join("rsyncd.conf"),
        format!(
            "use chroot = no\nuid = 0\ngid = 0\nreverse lookup = no\nlisten backlog = 1024\nlog file = {}\n{}",
            log.display(),
            modules.concat()
        ),
    )
}

/// A daemon in a process group of its own.
struct Daemon {
    child: Child,
    port: u16,
}

#[derive(Clone, Copy)]
struct Usage {
    /// Seconds.
    cpu: f64,
    kib: usize,
}

impl Daemon {
    fn start(words: &[PathBuf], work: &Path) -> io::Result<Self> {
        // A client of the load before may have the port until its connection is forgotten.
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let child = Command::new(&words[0])
                .args(&words[1..])
                .arg("--no-detach")
                .arg(format!("--port={port}"))
                .arg(format!("--config={}", work.join("rsyncd.conf").display()))
                .stdin(Stdio::null())
                .process_group(0)
                .spawn()?;
            let mut daemon = Self { child, port };
            let started = Instant::now();
            while daemon.child.try_wait()?.is_none() && started.elapsed() < Duration::from_secs(60) {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                    std::thread::sleep(Duration::from_millis(200));
                    return Ok(daemon);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Err(io::Error::other("the daemon does not listen"))
    }

    fn processes(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| stat(pid).is_some_and(|fields| fields[2] == u64::from(self.child.id()))).collect()
    }

    /// CPU time of its processes, and of those that have ended; memory of those that live.
    fn usage(&self) -> io::Result<Usage> {
        // Those that are just ending are counted when they have.
        std::thread::sleep(Duration::from_millis(500));
        let mut ticks = 0;
        for pid in self.processes() {
            let fields = stat(pid).unwrap_or_default();
            ticks += fields.get(11..15).map_or(0, |times| times.iter().sum());
        }
        Ok(Usage { cpu: ticks as f64 / 100.0, kib: self.memory() })
    }

    fn memory(&self) -> usize {
        self.processes().into_iter().filter_map(share).sum()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(-self.child.id().cast_signed());
        // It may have ended.
        let _ = nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// The numbers of `/proc/PID/stat` behind the program's name.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

/// A process's share of the memory it uses, in KiB.
fn share(pid: u32) -> Option<usize> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[derive(Default)]
struct Peak {
    done: AtomicBool,
}

impl Peak {
    fn watch(&self, daemon: &Daemon) -> usize {
        let mut peak = 0;
        while !self.done.load(Ordering::Relaxed) {
            peak = daemon.memory().max(peak);
            std::thread::sleep(Duration::from_millis(300));
        }
        peak
    }
}

/// Starts `count` clients at once, and waits for all of them.
fn clients(count: usize, client: impl Fn(usize) -> Command) -> io::Result<Outcome> {
    let started = Instant::now();
    let running: Vec<Child> = (0..count)
        .map(|number| client(number).stdout(Stdio::null()).stderr(Stdio::null()).spawn())
        .collect::<io::Result<_>>()?;
    let mut failed = 0;
    for mut client in running {
        failed += usize::from(!client.wait()?.success());
    }
    Ok(Outcome { wall: started.elapsed(), failed })
}

fn noop(arguments: &Arguments, work: &Path, port: u16) -> io::Result<Outcome> {
    clients(arguments.noop_clients, |_| {
        let mut client = Command::new(&arguments.reference);
        // The module against itself: nothing differs.
        client.arg("-a").arg(format!("rsync://127.0.0.1:{port}/many/")).arg(work.join("many"));
        client
    })
}

fn pull(arguments: &Arguments, work: &Path, port: u16) -> io::Result<Outcome> {
    let copies = work.join("copies");
    fs::create_dir_all(&copies)?;
    let outcome = clients(arguments.pull_clients, |number| {
        let mut client = Command::new(&arguments.reference);
        client
            .arg("-W")
            .arg(format!("rsync://127.0.0.1:{port}/one/file"))
            .arg(copies.join(number.to_string()));
        client
    });
    fs::remove_dir_all(copies)?;
    outcome
}

/// Connects from one of many addresses, as clients of a mirror do.
fn connect(number: usize, port: u16) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let host = u8::try_from(number % 200).unwrap_or(0) + 1;
    socket.bind(&SocketAddr::from(([127, 0, 1, host], 0)).into())?;
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(socket.into())
}

fn read_line(stream: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while byte[0] != b'\n' {
        stream.read_exact(&mut byte)?;
    }
    Ok(())
}

fn idle(arguments: &Arguments, _: &Path, port: u16) -> io::Result<Outcome> {
    let started = Instant::now();
    let mut held = Vec::new();
    let mut failed = 0;
    for number in 0..arguments.idle {
        match connect(number, port) {
            Ok(stream) => held.push(stream),
            Err(_) => failed += 1,
        }
    }
    for stream in &mut held {
        failed += usize::from(read_line(stream).is_err());
    }
    let wall = started.elapsed();
    // One more is served while they wait.
    failed += usize::from(list(arguments.idle, port).is_err());
    std::thread::sleep(Duration::from_secs(1));
    Ok(Outcome { wall, failed })
}

fn list(number: usize, port: u16) -> io::Result<()> {
    let mut stream = connect(number, port)?;
    stream.write_all(b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n\n")?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    if heard.ends_with(b"@RSYNCD: EXIT\n") { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn listings(arguments: &Arguments, _: &Path, port: u16) -> io::Result<Outcome> {
    const THREADS: usize = 32;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= arguments.listings {
                        return;
                    }
                    let due = Duration::from_secs_f64(number as f64 / arguments.listing_rate as f64);
                    std::thread::sleep(due.saturating_sub(started.elapsed()));
                    if list(number, port).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    Ok(Outcome { wall: started.elapsed(), failed: failed.into_inner() })
}
