use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::ManualClock;
use crate::job::{Class, RunId, Stats, Status};
use crate::store::SqliteStore;

/// A runner whose runs end when the test says so.
#[derive(Debug, Default)]
struct Stage {
    running: Mutex<BTreeSet<String>>,
    ends: Mutex<Vec<(String, Class)>>,
    started: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Runner for Stage {
    fn run(&self, job: &Job, context: &RunContext) -> RunResult {
        let started = context.clock.now();
        self.started.lock().unwrap().push(job.name.clone());
        assert!(self.running.lock().unwrap().insert(job.name.clone()), "{} runs twice", job.name);
        let class = loop {
            if context.cancel.wait(Duration::from_millis(2)) {
                break Class::Cancelled;
            }
            let mut ends = self.ends.lock().unwrap();
            if let Some(at) = ends.iter().position(|(name, _)| *name == job.name) {
                break ends.remove(at).1;
            }
        };
        assert!(job.name != "broken", "a fault");
        self.running.lock().unwrap().remove(&job.name);
        self.changed.notify_all();
        result(&job.name, started, context.clock.now(), class)
    }
}

fn result(job: &str, started: jiff::Timestamp, ended: jiff::Timestamp, class: Class) -> RunResult {
    RunResult {
        attempt: 1,
        exit: u8::from(!class.is_good()),
        class,
        stats: Stats { size: 4096, ..Stats::default() },
        message: if class.is_good() { String::new() } else { "it went wrong".to_owned() },
        ..RunResult::empty(RunId::new(started, rand::random()), job, started, ended)
    }
}

pub(crate) struct World {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    stage: Arc<Stage>,
    pub(crate) site: Site,
    said: Arc<Mutex<Vec<String>>>,
}

fn write(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("mirrors.toml");
    let state = directory.join("state");
    std::fs::create_dir_all(&state).unwrap();
    let head = format!("[site]\nmirror_dir = '/srv'\nstate_dir = '{}'\ndrain = '10s'\n", state.display());
    std::fs::write(&path, head + text).unwrap();
    path
}

pub(crate) fn job(name: &str) -> String {
    format!("[[job]]\nname = '{name}'\nupstream = 'rsync://a/a/'\nschedule = {{ interval = '1h' }}\n")
}

impl World {
    pub(crate) fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-03-10T12:00:00Z".parse().unwrap()));
        Self::again(directory, clock, text)
    }

    fn again(directory: tempfile::TempDir, clock: Arc<ManualClock>, text: &str) -> Self {
        let path = write(directory.path(), text);
        let stage = Arc::new(Stage::default());
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let store = SqliteStore::open(&directory.path().join("state/site.db")).unwrap();
        let surroundings = Surroundings {
            store: Arc::new(store),
            runner: Arc::clone(&stage) as Arc<dyn Runner>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            events: Arc::new(move |event| heard.lock().unwrap().push(event.to_string())),
        };
        let site = Site::new(Config::load(&path).unwrap(), Some(path), surroundings).unwrap();
        Self { directory, clock, stage, site, said }
    }

    pub(crate) fn step(&self) -> Option<Duration> {
        let mut state = self.site.state();
        self.site.step(&mut state)
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.step();
    }

    fn status(&self, name: &str) -> Status {
        self.site.job(name).unwrap().status
    }

    fn running(&self) -> Vec<String> {
        self.site.view().jobs.into_iter().filter(|job| job.progress.is_some()).map(|job| job.name).collect()
    }

    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..60_000 {
            if condition() {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("waited in vain for {what}: {:?}", self.said.lock().unwrap());
    }

    /// Ends a run and waits until the site knows.
    pub(crate) fn end(&self, name: &str, class: Class) {
        self.stage.ends.lock().unwrap().push((name.to_owned(), class));
        self.ended(name);
    }

    fn ended(&self, name: &str) {
        self.wait("the end of a run", || !self.running().contains(&name.to_owned()));
    }
}

#[test]
fn jobs_run_by_their_schedule_and_are_remembered() {
    let world = World::new(&(job("a") + "[limits]\ntotal = 1\n" + &job("b")));
    assert_eq!(world.status("a"), Status::None);
    world.step();
    assert_eq!((world.running(), world.site.view().queued), (vec!["a".to_owned()], 1));
    world.end("a", Class::Good);
    world.step();
    assert_eq!(world.running(), ["b"]);
    world.end("b", Class::Permanent);
    let view = world.site.view();
    assert_eq!((view.jobs[0].status, view.jobs[1].status), (Status::Success, Status::Failed));
    assert_eq!((view.jobs[0].size, view.jobs[1].message.as_str()), (Some(4096), "it went wrong"));
    assert_eq!(view.jobs[0].next, Some("2026-03-10T13:00:00Z".parse().unwrap()));
    world.pass(3599);
    assert!(world.running().is_empty());
    world.pass(1);
    assert_eq!(world.running(), ["a"]);
    world.end("a", Class::Good);
    assert_eq!(world.site.runs("a", 10).unwrap().len(), 2);
}

#[test]
fn a_run_that_was_cut_off_with_its_process_is_made_again_at_once() {
    let text = job("a") + &job("b");
    let world = World::new(&text);
    world.step();
    world.end("b", Class::Good);
    let World { directory, clock, .. } = world;
    // The first process is gone without a word, its run of `a` with it.
    clock.advance(Duration::from_secs(5));
    let world = World::again(directory, clock, &text);
    world.step();
    assert_eq!(world.running(), ["a"]);
    world.end("a", Class::Good);
}

#[test]
fn a_stop_waits_for_runs_and_cuts_them_off_at_the_deadline() {
    let text = job("a") + &job("b");
    let world = World::new(&text);
    world.step();
    world.site.stop();
    assert!(world.step().is_some());
    assert!(matches!(world.site.start("a", false, None), Err(CommandError::Stopping)));
    world.end("b", Class::Good);
    world.pass(9);
    assert_eq!(world.running(), ["a"]);
    world.pass(1);
    world.ended("a");
    assert_eq!(world.step(), None, "all is over");
    let World { directory, clock, .. } = world;
    let world = World::again(directory, clock, &text);
    world.step();
    assert_eq!(world.running(), ["a"], "what was cut off is made again");
    world.end("a", Class::Good);
}

#[test]
fn stop_disable_and_start_do_what_they_say_and_outlive_the_process() {
    let text = job("a") + &job("b");
    let world = World::new(&text);
    world.step();
    world.site.pause("a").unwrap();
    world.site.disable("b").unwrap();
    world.ended("a");
    world.ended("b");
    assert_eq!((world.status("a"), world.status("b")), (Status::Paused, Status::Disabled));
    let World { directory, clock, .. } = world;
    let world = World::again(directory, clock, &text);
    world.pass(100_000);
    assert!(world.running().is_empty());
    assert!(matches!(world.site.start("b", false, None), Err(CommandError::Disabled(_))));
    world.site.start("a", false, None).unwrap();
    world.step();
    assert_eq!(world.running(), ["a"]);
    assert!(!world.site.start("a", false, None).unwrap(), "it runs already");
    world.site.enable("b").unwrap();
    world.step();
    assert_eq!(world.running(), ["a", "b"]);
    world.end("a", Class::Good);
    world.end("b", Class::Good);
    let error = world.site.start("aa", false, None).unwrap_err().to_string();
    assert!(error.contains("did you mean \"a\"?"), "{error}");
}

#[test]
fn a_restart_ends_the_run_and_makes_one_more() {
    let world = World::new(&job("a"));
    world.step();
    world.site.restart("a").unwrap();
    world.ended("a");
    world.step();
    assert_eq!(world.running(), ["a"]);
    world.end("a", Class::Good);
    world.step();
    assert!(world.running().is_empty());
    assert_eq!(world.stage.started.lock().unwrap().len(), 2);
}

#[test]
fn a_reload_is_whole_or_nothing_and_leaves_unchanged_runs_alone() {
    let world = World::new(&(job("a") + &job("b")));
    world.step();
    let broken = job("a") + &job("c") + "pirority = 3\n";
    write(world.directory.path(), &broken);
    let error = world.site.reload().unwrap_err().to_string();
    assert!(error.contains("did you mean \"priority\"?"), "{error}");
    assert_eq!(world.running(), ["a", "b"]);
    write(world.directory.path(), &(job("a") + &job("c")));
    world.site.reload().unwrap();
    world.ended("b");
    assert!(world.site.job("b").is_none());
    world.step();
    assert_eq!(world.running(), ["a", "c"]);
    assert_eq!(
        *world.stage.started.lock().unwrap().iter().filter(|name| *name == "a").count().to_string(),
        *"1"
    );
    world.end("a", Class::Good);
    world.end("c", Class::Good);
}

#[test]
fn changes_of_condition_are_told_once() {
    let stale = "stale_after = '2h'\n";
    let world = World::new(&(job("a") + stale));
    let told = || {
        let said = world.said.lock().unwrap();
        said.iter()
            .filter(|line| ["a: failing", "a: stale", "a: well"].contains(&line.as_str()))
            .cloned()
            .collect::<Vec<_>>()
    };
    world.step();
    world.end("a", Class::Permanent);
    world.wait("the failure", || told() == ["a: failing"]);
    world.pass(3600);
    world.end("a", Class::Permanent);
    world.pass(3601);
    world.end("a", Class::Permanent);
    world.step();
    world.wait("staleness", || told() == ["a: failing", "a: stale"]);
    world.pass(3600);
    world.end("a", Class::Good);
    world.wait("recovery", || told() == ["a: failing", "a: stale", "a: well"]);
}

#[test]
fn a_window_without_bandwidth_starts_nothing() {
    let window = "bandwidth_windows = [{ from = '11:00', to = '13:00', rate = 0 }]\n";
    let world = World::new(&(String::from("zone = 'UTC'\n") + &job("a") + window));
    world.step();
    assert!(world.running().is_empty());
    world.pass(3599);
    assert!(world.running().is_empty());
    world.pass(1);
    assert_eq!(world.running(), ["a"]);
    world.end("a", Class::Good);
}

#[test]
fn a_window_without_bandwidth_ends_what_is_running_until_it_is_over() {
    let window = "bandwidth_windows = [{ from = '12:30', to = '13:00', rate = 0 }]\n";
    let world = World::new(&(String::from("zone = 'UTC'\n") + &job("a") + window));
    world.step();
    assert_eq!(world.running(), ["a"]);
    world.pass(1799);
    assert_eq!(world.running(), ["a"]);
    world.pass(1);
    world.ended("a");
    world.pass(1799);
    assert!(world.running().is_empty());
    world.pass(1);
    assert_eq!(world.running(), ["a"], "it goes on before its next time");
    world.end("a", Class::Good);
}

#[test]
fn a_fault_in_a_run_does_not_end_the_process() {
    let world = World::new(&job("broken"));
    world.step();
    world.end("broken", Class::Good);
    let view = world.site.job("broken").unwrap();
    assert!(view.message.contains("fault of this program"), "{view:?}");
}

#[test]
fn two_processes_do_not_run_one_site() {
    let world = World::new(&job("a"));
    let config = world.site.config();
    let lock = SiteLock::take(&config).unwrap();
    assert!(matches!(SiteLock::take(&config), Err(SiteError::Locked(_))));
    drop(lock);
    SiteLock::take(&config).unwrap();
}
