//! The soak: a site of twenty mirrors whose upstreams change, stall, cut, lie and vanish, and which is
//! killed at any time (spec 11). Every tree that readers see is its upstream at a moment of its history; at
//! the end each is the upstream as it is, nothing is left over, and the process has not grown.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use crate::daemon::Module;
use crate::long::dice::Dice;
use crate::proxy::{Proxy, ProxyPlan};
use crate::site::wait;
use crate::tree::{BASE_TIME, random, set_time};
use crate::{Compare, Daemon, Side, Site, Snapshot, Work};

/// Trees that change. Each is mirrored by several jobs.
const TREES: usize = 5;
const JOBS: usize = 20;
/// Files of a tree.
const FILES: u64 = 30;
/// Times of states are before this, those of files that were just written behind it.
const NEW: Duration = Duration::from_secs(1_750_000_000);
/// The share of the time in which the process is killed now and then; after it one process lives on.
const KILLS_UNTIL: f64 = 0.6;
/// What the memory of one process may grow by under the same load, in KiB.
const GROWTH: u64 = 24 << 10;

/// Trees of one job share their files.
const RESPECTS: Compare = Compare { links: false, ..Compare::ALL };

/// What was done, for whoever watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// States that the upstreams went through.
    pub states: usize,
    /// Times that the process was killed.
    pub kills: usize,
    /// Times that a daemon was killed.
    pub outages: usize,
    /// Published trees that were compared with the history of their upstream.
    pub looks: usize,
    /// Memory of the last process, in KiB: after the kills were over, and at the end.
    pub memory: (u64, u64),
}

/// A tree with all its states: `N` never changes, and `current` is a link to the one that is served. Our
/// daemon is given the link, as those are that serve generations. The C daemon goes by the path again in the
/// middle of a session, and so could serve two states as one: its configuration names the state.
struct Upstream {
    work: Work,
    states: Mutex<Vec<Snapshot>>,
}

impl Upstream {
    fn new(seed: u64) -> Self {
        let upstream = Self { work: Work::new(), states: Mutex::default() };
        let first = upstream.state(0);
        for number in 0..FILES {
            write(&first.join(format!("d{}/f{number}", number % 4)), seed ^ number, 200 + number * 700);
        }
        fs::write(first.join("serial"), "0\n").unwrap();
        upstream.serve(0);
        upstream
    }

    fn state(&self, number: usize) -> PathBuf {
        self.work.join(number.to_string())
    }

    fn module(&self) -> PathBuf {
        self.work.join("current")
    }

    /// Serves a new state. What changed has a time of its own, by the second, as a quick check needs it.
    fn serve(&self, number: usize) {
        let state = &self.state(number);
        let seconds = BASE_TIME + i64::try_from(number).unwrap();
        set_time(&state.join("serial"), seconds, 0);
        for directory in ["d0", "d1", "d2", "d3", ""] {
            for entry in fs::read_dir(state.join(directory)).unwrap().map(Result::unwrap) {
                let facts = entry.metadata().unwrap();
                if facts.is_file() && facts.modified().unwrap() > SystemTime::UNIX_EPOCH + NEW {
                    set_time(&entry.path(), seconds, 0);
                }
            }
            set_time(&state.join(directory), seconds, 0);
        }
        self.states.lock().unwrap_or_else(PoisonError::into_inner).push(Snapshot::take(state));
        self.point_to(state);
    }

    fn point_to(&self, state: &Path) {
        std::os::unix::fs::symlink(state, self.work.join("next")).unwrap();
        fs::rename(self.work.join("next"), self.module()).unwrap();
    }

    fn count(&self) -> usize {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The next state: files change, come, go, and are moved.
    fn change(&self, dice: &mut Dice) {
        let last = self.count() - 1;
        let next = self.state(last + 1);
        let copied = std::process::Command::new("cp").arg("-a").arg(self.state(last)).arg(&next).status();
        assert!(copied.unwrap().success());
        fs::write(next.join("serial"), format!("{}\n", last + 1)).unwrap();
        for _ in 0..=dice.below(4) {
            let file = |dice: &mut Dice| next.join(format!("d{}/f{}", dice.below(4), dice.below(FILES * 2)));
            let path = file(dice);
            match dice.below(5) {
                0 => drop(fs::remove_file(path)),
                1 => drop(fs::rename(path, file(dice))),
                _ => write(&path, dice.any(), dice.below(40_000)),
            }
        }
        self.serve(last + 1);
    }

    /// Serves nothing for a moment: what no mirror may believe.
    fn lie(&self, told: impl Fn(), pause: Duration) {
        let empty = self.work.join("empty");
        fs::create_dir_all(&empty).unwrap();
        self.point_to(&empty);
        told();
        thread::sleep(pause);
        self.point_to(&self.state(self.count() - 1));
    }

    /// How a tree differs from the state that is most like it.
    fn differences(&self, tree: &Snapshot) -> Vec<String> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let all = states.iter().map(|state| state.differences(tree, RESPECTS));
        all.min_by_key(Vec::len).unwrap_or_default()
    }
}

fn write(path: &Path, seed: u64, len: u64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Never through a name that another state has as well.
    let _ = fs::remove_file(path);
    fs::write(path, random(len as usize, seed)).unwrap();
}

/// What befalls a connection.
fn weather(dice: &mut Dice, is_fair: bool) -> ProxyPlan {
    let plan = ProxyPlan::default();
    let magnitude = dice.below(18);
    let after = Some(dice.below(1 << magnitude));
    match dice.below(10) {
        _ if is_fair => plan,
        0 | 1 => ProxyPlan { cut_after: after, ..plan },
        2 => ProxyPlan { stall_after: after, ..plan },
        3 => ProxyPlan { noise_after: after, ..plan },
        4 => ProxyPlan { piece: 1000, pause: Duration::from_millis(2), ..plan },
        _ => plan,
    }
}

/// Runs the soak for `duration`, with choices that depend on `seed`.
///
/// # Panics
/// When something is not as it must be.
#[must_use]
pub fn soak(duration: Duration, seed: u64) -> Tally {
    let upstreams: Vec<Upstream> = (0..TREES).map(|number| Upstream::new(seed + number as u64)).collect();
    let module = |number: usize, path: &Path| Module::new(&format!("m{number}"), path);
    let links: Vec<Module> = (0..TREES).map(|number| module(number, &upstreams[number].module())).collect();
    let states = || -> Vec<Module> {
        let path = |number: usize| fs::read_link(upstreams[number].module()).unwrap();
        (0..TREES).map(|number| module(number, &path(number))).collect()
    };
    let daemons = [(Side::C, states()), (Side::Ours, links)]
        .map(|(side, modules)| Mutex::new(Daemon::start(side, "", &modules)));
    let daemon = |number: usize| daemons[number].lock().unwrap_or_else(PoisonError::into_inner);
    let tell_c = || daemon(0).configure("", &states());
    let is_fair = Arc::new(AtomicBool::new(false));
    let proxies = [0, 1].map(|number| {
        let (is_fair, mut dice) = (Arc::clone(&is_fair), Dice::new(seed ^ (77 + number as u64)));
        Proxy::start_with(daemon(number).port(), move || weather(&mut dice, is_fair.load(Ordering::Relaxed)))
    });
    let mut site = Site::new("history = 20\ndrain = '5s'", &jobs([proxies[0].port(), proxies[1].port()]));
    site.start();
    let mut tally = Tally::default();
    let began = Instant::now();
    let until = |share: f64| began + duration.mul_f64(share);
    thread::scope(|scope| {
        let changes = scope.spawn(|| {
            let mut dice = Dice::new(seed ^ 1);
            while Instant::now() < until(1.0) {
                let upstream = dice.pick(&upstreams);
                if dice.once_in(20) {
                    upstream.lie(tell_c, Duration::from_millis(300));
                } else {
                    upstream.change(&mut dice);
                }
                tell_c();
                thread::sleep(Duration::from_millis(50 + dice.below(400)));
            }
        });
        let mut dice = Dice::new(seed ^ 2);
        let mut next_kill = began + Duration::from_secs(3);
        while Instant::now() < until(1.0) {
            thread::sleep(Duration::from_millis(100));
            if Instant::now() > next_kill && Instant::now() < until(KILLS_UNTIL) {
                site.signal(Signal::KILL);
                let _ = site.ended();
                look_at_all(&site, &upstreams, &mut tally);
                site.start();
                tally.kills += 1;
                next_kill = Instant::now() + Duration::from_millis(500 + dice.below(6000));
            } else if dice.once_in(60) {
                let mut daemon = daemon(dice.below(2) as usize);
                daemon.signal(Signal::KILL);
                thread::sleep(Duration::from_millis(dice.below(1500)));
                daemon.restart();
                tally.outages += 1;
            } else if dice.once_in(5) {
                look_at(&site, &upstreams, dice.below(JOBS as u64) as usize, &mut tally);
            }
            // The first hundredths belong to the start of the last process.
            if tally.memory.0 == 0 && Instant::now() > until(KILLS_UNTIL + 0.1) {
                tally.memory.0 = site.memory();
            }
        }
        tally.memory.1 = site.memory();
        changes.join().unwrap();
    });
    is_fair.store(true, Ordering::Relaxed);
    tally.states = upstreams.iter().map(Upstream::count).sum();
    for number in 0..JOBS {
        let upstream = &upstreams[number % TREES];
        let last = Snapshot::take(&upstream.state(upstream.count() - 1));
        let differences = || {
            let seen = fs::canonicalize(tree(&site, number)).unwrap_or_default();
            Snapshot::take(&seen).differences(&last, RESPECTS)
        };
        wait(
            || differences().is_empty(),
            || format!("{}: {}\n{}", name(number), differences().join("\n"), site.job(&name(number))),
        );
        site.wait_status(&name(number), "success");
    }
    site.signal(Signal::TERM);
    assert_eq!(site.ended(), Some(0), "{}", site.log());
    let left = left_over(&site.file("srv"));
    assert!(left.is_empty(), "left over: {left:?}");
    let (before, after) = tally.memory;
    assert!(after < before + GROWTH, "the process grew from {before} KiB to {after} KiB");
    tally
}

fn name(job: usize) -> String {
    format!("job{job}")
}

/// Whether readers of this job see whole trees only.
fn is_whole(job: usize) -> bool {
    (job / TREES).is_multiple_of(2)
}

fn tree(site: &Site, job: usize) -> PathBuf {
    let destination = site.file("srv").join(name(job));
    if is_whole(job) { destination.join("current") } else { destination }
}

fn jobs(ports: [u16; 2]) -> String {
    let mut text = "[limits]\ntotal = 6\n[defaults]\nschedule = { continuous = '200ms' }\n\
        timeouts = { connect = '2s', io = '2s', total = '60s' }\n\
        retry = { attempts = 2, first_pause = '100ms' }\nlog = { count = 3 }\n"
        .to_owned();
    for job in 0..JOBS {
        let upstreams: Vec<String> = (0..2)
            .map(|number| {
                format!("{{ url = 'rsync://127.0.0.1:{}/m{}/' }}", ports[(job + number) % 2], job % TREES)
            })
            .collect();
        let publish = if is_whole(job) { "publish = { generation = { keep = 2 } }\n" } else { "" };
        let _ = write!(
            text,
            "[[job]]\nname = '{}'\nupstreams = [{}]\n{publish}",
            name(job),
            upstreams.join(", ")
        );
    }
    text
}

fn look_at_all(site: &Site, upstreams: &[Upstream], tally: &mut Tally) {
    (0..JOBS).for_each(|job| look_at(site, upstreams, job, tally));
}

/// Looks at what readers of a job see, if they are to see whole trees and anything was published.
fn look_at(site: &Site, upstreams: &[Upstream], job: usize, tally: &mut Tally) {
    if !is_whole(job) {
        return;
    }
    let Ok(seen) = fs::canonicalize(tree(site, job)) else {
        assert!(tree(site, job).symlink_metadata().is_err(), "{} shows nothing", name(job));
        return;
    };
    let looked = std::panic::catch_unwind(|| Snapshot::take(&seen));
    if !seen.exists() {
        // It was taken away under the eyes of a slow reader, as those before the last two are.
        return;
    }
    let snapshot = looked.unwrap_or_else(|_| panic!("{} is incomplete", seen.display()));
    let differences = upstreams[job % TREES].differences(&snapshot);
    assert!(differences.is_empty(), "{} was never its upstream: {}", seen.display(), differences.join("\n"));
    tally.looks += 1;
}

/// What a run leaves while it is under way, and nobody may find afterwards. The number that fences off
/// writers who lost their lease stays.
fn left_over(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_hidden && entry.file_name() != ".fence" {
            found.push(entry.path());
        } else if entry.file_type().unwrap().is_dir() {
            found.extend(left_over(&entry.path()));
        }
    }
    found
}
