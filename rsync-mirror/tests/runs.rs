//! Whole runs of jobs between two directories of this machine: locks, guards, publication, records.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rsync_mirror::job::{
    Amount, Class, CommandMethod, Generations, Job, JobState, Limits, Method, Profile, Program, Publish,
    Refusal, RunContext, RunResult, Share, StopReason, Trace, Upstream, plan_job, run_job,
};
use rsync_mirror::upstream::Health;
use tempfile::TempDir;

struct Place {
    root: TempDir,
    job: Job,
    context: RunContext,
}

impl Place {
    /// A job between `upstream`, which has the files `a` to `f` and a directory with one more, and `mirror`.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let upstream = root.path().join("upstream");
        fs::create_dir_all(upstream.join("dir")).unwrap();
        for name in ["a", "b", "c", "d", "e", "f", "dir/g"] {
            fs::write(upstream.join(name), format!("content of {name}\n")).unwrap();
        }
        let mut job = Job::new("example", format!("{}/", upstream.display()), root.path().join("mirror"));
        job.retry.attempts = 1;
        job.retry.first_pause = Duration::from_millis(1);
        let context = RunContext::new(root.path().join("state"));
        Self { root, job, context }
    }

    fn upstream(&self, name: &str) -> PathBuf {
        self.root.path().join("upstream").join(name)
    }

    fn mirror(&self, name: &str) -> PathBuf {
        self.root.path().join("mirror").join(name)
    }

    fn run(&self) -> RunResult {
        run_job(&self.job, &self.context)
    }

    #[track_caller]
    fn good(&self) -> RunResult {
        let result = self.run();
        assert!(result.class.is_good(), "{result:?}");
        result
    }

    #[track_caller]
    fn refused(&self) -> RunResult {
        let result = self.run();
        assert_eq!((result.class, result.exit), (Class::Refused, 25), "{result:?}");
        result
    }

    fn program(&self, script: &str) -> Vec<Program> {
        vec![Program::new(["sh", "-c", script]).unwrap()]
    }
}

fn names(tree: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(tree).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(self::names(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        }
        names.insert(name);
    }
    names
}

fn set_time(path: &Path, seconds: u64) {
    File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

#[test]
fn a_run_copies_deletes_and_leaves_a_record() {
    let place = Place::new();
    let first = place.good();
    assert_eq!((first.attempt, first.stats.files, first.stats.created, first.unchanged), (1, 7, 8, false));
    assert_eq!(names(&place.mirror("")), names(&place.upstream("")));
    fs::remove_file(place.upstream("a")).unwrap();
    fs::write(place.upstream("b"), "another content").unwrap();
    let second = place.good();
    assert_eq!((second.stats.deleted, second.stats.transferred), (1, 1));
    let state = JobState::new(&place.context.state_dir, "example").unwrap();
    assert_eq!(state.runs(9).unwrap(), [second.clone(), first]);
    assert_eq!(state.last_good().unwrap(), Some(second));
}

#[test]
fn nothing_to_do_is_found_out_without_a_transfer() {
    let place = Place::new();
    place.good();
    let again = place.good();
    assert!(again.unchanged);
    assert_eq!((again.stats.files, again.stats.transferred), (7, 0));
}

#[test]
fn an_empty_upstream_is_refused_and_nothing_is_deleted() {
    let place = Place::new();
    place.good();
    let before = names(&place.mirror(""));
    fs::remove_dir_all(place.upstream("")).unwrap();
    fs::create_dir(place.upstream("")).unwrap();
    assert_eq!(place.refused().refusals, [Refusal::Empty]);
    assert_eq!(names(&place.mirror("")), before);
}

#[test]
fn a_missing_upstream_fails_and_nothing_is_deleted() {
    let place = Place::new();
    place.good();
    let before = names(&place.mirror(""));
    fs::remove_dir_all(place.upstream("")).unwrap();
    assert!(!place.run().class.is_good());
    assert_eq!(names(&place.mirror("")), before);
}

#[test]
fn a_shrunken_upstream_is_refused_until_it_is_accepted_once() {
    let mut place = Place::new();
    place.good();
    for name in ["a", "b", "c", "d", "e"] {
        fs::remove_file(place.upstream(name)).unwrap();
    }
    let refused = place.refused();
    assert!(matches!(refused.refusals[0], Refusal::Shrunk { .. }), "{refused:?}");
    assert!(place.mirror("a").exists());
    place.context.accept = Some(refused.id);
    place.good();
    assert!(!place.mirror("a").exists());
    let twice = place.run();
    assert_eq!((twice.class, twice.exit), (Class::Permanent, 78), "{twice:?}");
}

#[test]
fn too_many_deletions_are_refused_before_the_first() {
    let mut place = Place::new();
    place.job.guard.max_delete = Some(Amount::Count(1));
    place.good();
    fs::remove_file(place.upstream("a")).unwrap();
    fs::remove_file(place.upstream("b")).unwrap();
    fs::write(place.upstream("new"), "").unwrap();
    assert_eq!(place.refused().refusals, [Refusal::Deletions { count: 2, limit: 1 }]);
    assert!(place.mirror("a").exists() && place.mirror("b").exists() && !place.mirror("new").exists());
    fs::write(place.upstream("b"), "is back").unwrap();
    place.good();
    assert!(!place.mirror("a").exists());
}

#[test]
fn a_limit_among_the_options_of_rsync_is_a_guard_too() {
    let mut place = Place::new();
    place.job.options.push("--max-delete=0".to_owned());
    place.good();
    fs::remove_file(place.upstream("a")).unwrap();
    assert_eq!(place.refused().refusals, [Refusal::Deletions { count: 1, limit: 0 }]);
    assert!(place.mirror("a").exists());
}

#[test]
fn a_second_attempt_that_finds_nothing_to_do_is_good() {
    let mut place = Place::new();
    place.good();
    let note = place.root.path().join("note");
    place.job.upstreams[0].url = format!("{}/", place.upstream("").display());
    place.job.retry.attempts = 2;
    let (here, away) = (place.upstream(""), place.root.path().join("away"));
    fs::rename(&here, &away).unwrap();
    let back =
        format!("test -e {0} && mv {1} {2}; touch {0}", note.display(), away.display(), here.display());
    place.job.hooks.pre_exec = place.program(&format!("{back}; true"));
    let result = place.good();
    assert_eq!((result.attempt, result.unchanged, result.exit), (2, true, 0), "{result:?}");
}

#[test]
fn paths_that_must_be_there_and_an_older_canary_are_looked_for() {
    let mut place = Place::new();
    place.job.guard.must_have = vec!["dir/".to_owned(), "/dir/g".to_owned()];
    place.job.guard.canary = Some("a".to_owned());
    place.good();
    place.good();
    set_time(&place.upstream("a"), 1_000_000_000);
    assert!(matches!(place.refused().refusals[..], [Refusal::Older { theirs: 1_000_000_000, .. }]));
    place.job.guard.allow_older = true;
    fs::remove_file(place.upstream("dir/g")).unwrap();
    assert_eq!(place.refused().refusals, [Refusal::Missing { path: "/dir/g".to_owned() }]);
}

#[test]
fn a_disk_without_room_is_refused() {
    let mut place = Place::new();
    place.job.guard.min_free = Some(Amount::Count(u64::MAX / 2));
    assert!(matches!(place.refused().refusals[..], [Refusal::Space { .. }]));
    assert_eq!(names(&place.mirror("")), BTreeSet::new());
}

#[test]
fn a_second_run_at_the_same_time_is_locked_out() {
    let mut place = Place::new();
    let (mut other, note) = (place.job.clone(), place.root.path().join("note"));
    place.job.hooks.pre_exec =
        place.program(&format!("touch {0}; while test -e {0}; do sleep 0.01; done", note.display()));
    std::thread::scope(|scope| {
        let running = scope.spawn(|| place.run());
        while !note.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let second = run_job(&other, &place.context);
        assert_eq!((second.class, second.exit, second.attempt), (Class::Locked, 75, 0));
        other.name = "same-destination".to_owned();
        assert_eq!(run_job(&other, &place.context).exit, 75);
        fs::remove_file(&note).unwrap();
        assert!(running.join().unwrap().class.is_good());
    });
}

#[test]
fn hooks_run_in_order_and_backwards_behind_the_transfer_and_see_the_run() {
    let mut place = Place::new();
    let note = place.root.path().join("note");
    let say = |what: &str| {
        let script = format!("echo {what} $RSYNC_MIRROR_PHASE $RSYNC_MIRROR_CODE >> {}", note.display());
        Program::new(["sh", "-c", &script]).unwrap()
    };
    let pair = vec![say("1"), say("2")];
    let hooks = &mut place.job.hooks;
    hooks.pre_job.clone_from(&pair);
    hooks.pre_exec.clone_from(&pair);
    hooks.stage1_done = vec![say("1")];
    hooks.post_exec.clone_from(&pair);
    hooks.pre_publish = vec![say("1")];
    hooks.post_publish = vec![say("1")];
    hooks.success = pair;
    hooks.failure = vec![say("1")];
    place.job.method = Method::TwoStage(Profile::Own(vec!["--exclude=a".to_owned()]));
    place.good();
    let lines = fs::read_to_string(&note).unwrap();
    let expected = "1 pre-job\n2 pre-job\n1 pre-exec\n2 pre-exec\n1 stage1-done\n1 pre-publish\n\
                    1 post-publish\n2 post-exec\n1 post-exec\n2 post-success 0\n1 post-success 0\n";
    assert_eq!(lines, expected);
}

#[test]
fn a_hook_that_fails_ends_the_run_before_the_transfer() {
    let mut place = Place::new();
    place.job.hooks.pre_exec = place.program("exit 3");
    place.job.hooks.failure = place.program("touch failed");
    let result = place.run();
    assert_eq!((result.class, result.exit), (Class::Permanent, 70));
    assert_eq!(result.message, "error exec hook pre-exec: sh ended with exit code 3");
    assert_eq!(names(&place.mirror("")), BTreeSet::from(["failed".to_owned()]));
}

#[test]
fn the_first_stage_leaves_files_of_the_profile_out_and_deletes_nothing() {
    let mut place = Place::new();
    place.good();
    fs::write(place.upstream("Packages"), "new").unwrap();
    fs::write(place.upstream("pool"), "new").unwrap();
    fs::remove_file(place.upstream("a")).unwrap();
    place.job.method = Method::TwoStage(Profile::DebianOldstyle);
    place.job.hooks.stage1_done = place.program("ls > ../seen");
    place.good();
    let seen = fs::read_to_string(place.root.path().join("seen")).unwrap();
    assert_eq!(seen, "a\nb\nc\nd\ndir\ne\nf\npool\n");
    assert!(place.mirror("Packages").exists() && !place.mirror("a").exists());
}

#[test]
fn the_trace_file_is_written_and_not_deleted_by_the_next_run() {
    let mut place = Place::new();
    place.job.trace = Some(Trace { host: "m.example".to_owned(), ..Trace::default() });
    place.good();
    let trace = place.mirror("project/trace/m.example");
    assert!(trace.exists());
    assert_eq!(plan_job(&place.job, &place.context, None).unwrap().delete, 0);
    fs::write(place.upstream("new"), "").unwrap();
    assert_eq!(place.good().stats.deleted, 0);
    assert!(trace.exists());
}

fn generations(share: Share) -> Place {
    let mut place = Place::new();
    place.job.publish = Publish::Generation(Generations { keep: 2, share });
    place
}

#[test]
fn generations_share_unchanged_files_and_never_change_one_that_readers_see() {
    let place = generations(Share::HardLink);
    assert_eq!(place.good().generation, Some(1));
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    fs::write(place.upstream("a"), "another content").unwrap();
    fs::remove_file(place.upstream("b")).unwrap();
    let mode = |name: &str| fs::metadata(place.mirror(name)).unwrap().mode() & 0o777;
    let was = mode("current/c");
    fs::set_permissions(place.upstream("c"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(place.good().generation, Some(2));
    assert_eq!(names(&place.mirror("current")), names(&place.upstream("")));
    assert_eq!(inode(place.mirror("gen/1/d")), inode(place.mirror("gen/2/d")));
    assert_eq!(fs::read_to_string(place.mirror("gen/1/a")).unwrap(), "content of a\n");
    assert_eq!((mode("gen/1/c"), mode("gen/2/c")), (was, 0o600));
    let unchanged = place.good();
    assert_eq!((unchanged.unchanged, unchanged.generation), (true, Some(2)));
    fs::write(place.upstream("new"), "").unwrap();
    place.good();
    assert_eq!(fs::read_dir(place.mirror("gen")).unwrap().count(), 2, "only what is kept is left");
}

#[test]
fn generations_of_copies_share_no_file() {
    let place = generations(Share::Reflink);
    place.good();
    fs::write(place.upstream("new"), "").unwrap();
    assert_eq!(place.good().stats.transferred, 1);
    assert_eq!(fs::metadata(place.mirror("current/a")).unwrap().nlink(), 1);
    assert_eq!(names(&place.mirror("current")), names(&place.upstream("")));
}

#[test]
fn a_generation_that_is_interrupted_goes_on_without_touching_what_readers_see() {
    let mut place = generations(Share::HardLink);
    place.good();
    fs::write(place.upstream("new"), "new").unwrap();
    place.job.hooks.pre_publish = place.program("exit 1");
    let result = place.run();
    assert_eq!((result.exit, result.generation), (70, None));
    assert!(!place.mirror("current/new").exists());
    fs::set_permissions(place.upstream("c"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let was = fs::metadata(place.mirror("gen/1/c")).unwrap().mode();
    place.job.hooks.pre_publish.clear();
    let again = place.good();
    assert_eq!((again.generation, again.stats.transferred), (Some(2), 0), "what was brought is used");
    assert_eq!(fs::metadata(place.mirror("gen/1/c")).unwrap().mode(), was);
    assert_eq!(names(&place.mirror("current")), names(&place.upstream("")));
}

#[test]
fn an_upstream_that_fails_is_followed_by_the_next() {
    let mut place = Place::new();
    place.job.upstreams.insert(0, Upstream::new("rsync://127.0.0.1:1/none/"));
    place.job.upstreams[1].priority = 1;
    let result = place.good();
    assert_eq!((result.attempt, result.upstream.as_deref()), (1, Some(place.job.upstreams[1].url.as_str())));
}

#[test]
fn an_upstream_that_is_suddenly_empty_is_followed_by_the_next_and_its_refusal_forgotten() {
    let mut place = Place::new();
    fs::create_dir(place.root.path().join("emptied")).unwrap();
    let empty = format!("{}/", place.root.path().join("emptied").display());
    place.job.upstreams.insert(0, Upstream::new(empty));
    place.job.upstreams[1].priority = 1;
    let result = place.good();
    assert!(result.refusals.is_empty() && result.stats.files == 7, "{result:?}");
}

#[test]
fn two_stages_of_a_generation_never_touch_what_readers_see() {
    let mut place = generations(Share::HardLink);
    place.good();
    fs::write(place.upstream("new"), "").unwrap();
    place.job.method = Method::TwoStage(Profile::Own(vec!["--exclude=a".to_owned()]));
    let was = fs::metadata(place.mirror("gen/1/c")).unwrap().mode();
    let upstream = place.upstream("c");
    place.job.hooks.stage1_done = place.program(&format!("chmod 600 {}", upstream.display()));
    assert_eq!(place.good().generation, Some(2));
    assert_eq!(fs::metadata(place.mirror("gen/1/c")).unwrap().mode(), was);
    assert_eq!(fs::metadata(place.mirror("gen/2/c")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(names(&place.mirror("current")), names(&place.upstream("")));
}

#[test]
fn jobs_of_one_mutex_run_one_after_the_other() {
    let place = Place::new();
    let note = place.root.path().join("note");
    let job = |name: &str| {
        let mut job = place.job.clone();
        job.name = name.to_owned();
        job.destination = place.root.path().join(name);
        job.mutex = Some("disk".to_owned());
        job.hooks.pre_exec = place.program(&format!("echo {name} begins >> {}", note.display()));
        job.hooks.post_exec = place.program(&format!("sleep 0.02; echo {name} ends >> {}", note.display()));
        job
    };
    let (one, other) = (job("one"), job("other"));
    std::thread::scope(|scope| {
        for job in [&one, &other] {
            scope.spawn(|| (0..5).for_each(|_| assert!(run_job(job, &place.context).class.is_good())));
        }
    });
    let text = fs::read_to_string(&note).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 20);
    for pair in lines.chunks(2) {
        assert_eq!(pair[0].replace("begins", "ends"), pair[1], "{text}");
    }
}

#[test]
fn a_failure_that_may_pass_is_tried_as_often_as_the_job_says() {
    let mut place = Place::new();
    place.job.upstreams = vec![Upstream::new("rsync://127.0.0.1:1/none/")];
    place.job.retry.attempts = 3;
    let result = place.run();
    assert_eq!((result.attempt, result.exit, result.class), (3, 10, Class::Transient));
}

#[test]
fn upstreams_that_are_ill_are_not_asked() {
    #[derive(Default)]
    struct Ill(Mutex<Vec<(String, bool)>>);
    impl Health for Ill {
        fn check(&self, upstream: &Upstream) -> Result<(), String> {
            if upstream.url.starts_with("rsync:") { Err("is down".to_owned()) } else { Ok(()) }
        }

        fn ended(&self, upstream: &Upstream, failed: bool) {
            self.0.lock().unwrap().push((upstream.url.clone(), failed));
        }
    }
    let mut place = Place::new();
    let ill = Arc::new(Ill::default());
    place.context.health = ill.clone();
    place.job.upstreams.insert(0, Upstream::new("rsync://127.0.0.1:1/none/"));
    place.good();
    assert_eq!(*ill.0.lock().unwrap(), [(place.job.upstreams[1].url.clone(), false)]);
    place.job.upstreams.pop();
    let result = place.run();
    assert_eq!((result.exit, result.class), (69, Class::Transient), "{result:?}");
}

#[test]
fn a_run_that_is_stopped_ends_and_tells_so() {
    let mut place = Place::new();
    place.job.hooks.pre_exec = place.program("sleep 600");
    let cancel = place.context.cancel.clone();
    place.job.hooks.failure = place.program("touch failed");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| place.run());
        cancel.cancel(StopReason::Requested);
        let result = running.join().unwrap();
        assert_eq!((result.class, result.exit), (Class::Cancelled, 20), "{result:?}");
        assert_eq!(result.message, "killed by manager");
    });
    assert!(place.mirror("failed").exists());
}

#[test]
fn a_program_can_do_the_work() {
    let mut place = Place::new();
    place.context.log_dir = Some(place.root.path().join("logs"));
    let command = |script: &str| {
        Method::Command(CommandMethod {
            program: Program::new(["sh", "-c", script]).unwrap(),
            fail_on_match: Some("dis[k]? full".to_owned()),
            size_pattern: Some("^size: ([0-9.]+[KMGTP]?)$".replace('^', "(?m)^")),
            limits: Limits::default(),
        })
    };
    place.job.method = command("cp $TUNASYNC_UPSTREAM_URL/a . && echo size: 1 && echo size: 2.5K");
    assert_eq!(place.good().stats.size, 2500);
    assert!(place.mirror("a").exists());
    place.job.method = command("exit 9");
    let result = place.run();
    assert_eq!((result.exit, result.message.as_str()), (9, "sh ended with exit code 9"));
    place.job.classes.good = vec![9];
    let noted = place.good();
    assert_eq!((noted.exit, noted.class), (9, Class::Notes));
    place.job.method = command("echo dis full");
    assert!(!place.run().class.is_good());
    place.job.timeouts.total = Some(Duration::from_millis(50));
    place.job.method = command("sleep 600");
    assert_eq!(place.run().exit, 30);
}

#[test]
fn logs_tell_what_was_done_and_how_it_ended() {
    let mut place = Place::new();
    place.context.log_dir = Some(place.root.path().join("logs"));
    let result = place.good();
    let log = fs::read_to_string(result.log.unwrap()).unwrap();
    assert!(log.contains(">f+++++++++ dir/g\n") && log.ends_with("ended with exit code 0\n"), "{log}");
    fs::remove_dir_all(place.upstream("")).unwrap();
    let failed = place.run().log.unwrap();
    assert!(failed.to_string_lossy().ends_with(".fail"), "{failed:?}");
    let latest = fs::read_to_string(place.root.path().join("logs/latest")).unwrap();
    assert!(latest.contains("upstream"), "{latest}");
}

#[test]
fn a_plan_tells_everything_and_writes_nothing() {
    let mut place = Place::new();
    place.job.publish = Publish::Generation(Generations::default());
    let paths = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&paths);
    let plan = plan_job(
        &place.job,
        &place.context,
        Some(Arc::new(move |action: rsync_client::Action| {
            keep.lock().unwrap().push(action.path.to_string());
        })),
    )
    .unwrap();
    assert_eq!((plan.create, plan.update, plan.delete, plan.entries, plan.exit), (9, 0, 0, 9, 0));
    assert!(paths.lock().unwrap().contains(&"dir/g".to_owned()));
    assert!(!place.mirror("").exists() && !place.context.state_dir.exists());
}

#[test]
fn what_delayed_updates_left_behind_goes_after_the_next_good_run() {
    let place = Place::new();
    place.good();
    fs::create_dir(place.mirror("dir/.~tmp~")).unwrap();
    fs::write(place.mirror("dir/.~tmp~/g"), "half").unwrap();
    fs::write(place.context.state_dir.join("example/under-way"), "").unwrap();
    place.good();
    assert!(!place.mirror("dir/.~tmp~").exists());
}
