//! A job's transfers: the options that its words make, and one call of the client under a watch.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bstr::BString;
use rsync_client::{Client, ClientError, TransferReport};
use rsync_engine::EngineError;
use rsync_proto::options::{
    BasisDirs, BasisKind, Command, DeleteTiming, Environment, FilterArg, LocalClock, Operand, Reflink,
    Remote, RemoteKind, TransferOptions, endpoints, parse,
};
use rsync_proto::text::EventSink;

use super::class::{Class, EndFacts};
use super::context::RunContext;
use super::sink::Failures;
use super::spec::{Job, Method, Share, Upstream};
use super::watch::{Limits, Verdict, Watch};
use crate::MirrorError;
use crate::job::StopReason;
use crate::publish::Staged;

/// Where interrupted files wait for the next run, when updates are not delayed.
const PARTIAL_DIR: &str = ".~tmp~";

/// Which of a job's transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing is changed; it only tells what would be.
    Survey,
    /// The first of two: nothing is deleted, what names other files waits.
    First,
    /// The one that leaves the tree as it is to be.
    Last {
        /// Nothing is deleted either, since the upstream could not be read whole.
        keeps: bool,
        /// Most deletions, those that rsync's own options allow included.
        max_delete: Option<u64>,
    },
}

/// A transfer that came to its end.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) report: TransferReport,
    pub(crate) failures: Failures,
    /// Deletions that were told of.
    pub(crate) deleted: u64,
}

/// Checks the words of a job, and what else can be checked without the network.
pub(crate) fn check(job: &Job) -> Result<(), MirrorError> {
    let wrong = |reason: String| MirrorError::Job { job: job.name.clone(), reason };
    // A program may know by itself where from.
    if let Method::Command(_) = job.method {
        return Ok(());
    }
    if job.upstreams.is_empty() {
        return Err(wrong("it has no upstream; name one".to_owned()));
    }
    for upstream in &job.upstreams {
        let options = words(job, upstream).map_err(wrong)?;
        let operands = [BString::from(upstream.url.as_str()), job.destination.as_os_str().as_bytes().into()];
        endpoints(&operands, &options).map_err(|error| wrong(error.message()))?;
        if options.remove_source != rsync_proto::options::RemoveSource::No {
            return Err(wrong(
                "a mirror does not remove what it copies; leave --remove-source-files out".into(),
            ));
        }
        if options.batch.is_some() || options.list_only {
            return Err(wrong("a mirror transfers files; leave options for batches and listings out".into()));
        }
        if options.basis_dirs.is_some() && !matches!(job.publish, super::spec::Publish::Delay) {
            let reason =
                "trees share files by themselves; leave --link-dest, --copy-dest and --compare-dest out";
            return Err(wrong(reason.to_owned()));
        }
    }
    Ok(())
}

/// The options that a job's words make for an upstream.
fn words(job: &Job, upstream: &Upstream) -> Result<TransferOptions, String> {
    let all = job.options.iter().chain(&upstream.options).map(String::as_str);
    let mut words: Vec<BString> = all.map(BString::from).collect();
    if let Method::TwoStage(profile) = &job.method {
        // They are checked along, and taken out again for the second stage.
        parse_words(words.iter().cloned().chain(profile.options().iter().map(|word| word.as_str().into())))?;
    }
    words.push("--no-motd".into());
    parse_words(words.into_iter())
}

fn parse_words(words: impl Iterator<Item = BString>) -> Result<TransferOptions, String> {
    let mut words: Vec<BString> = words.collect();
    words.extend([BString::from("source"), BString::from("destination")]);
    let surroundings = Environment { clock: LocalClock::default(), ..Environment::default() };
    match parse(&words, &surroundings) {
        Ok(Command::Transfer(request)) if request.operands.len() == 2 && !request.options.server => {
            Ok(request.options)
        }
        Ok(_) => Err("its options hold a word that is no option of a transfer".to_owned()),
        Err(rejected) => Err(rejected.error.message()),
    }
}

/// The limit of deletions among the words of a job.
pub(crate) fn own_limit(job: &Job, upstream: &Upstream) -> Result<Option<u64>, MirrorError> {
    let wrong = |reason: String| MirrorError::Job { job: job.name.clone(), reason };
    let limit = words(job, upstream).map_err(wrong)?.max_delete;
    Ok(limit.and_then(|limit| u64::try_from(limit).ok()))
}

/// The options of one of a job's transfers.
pub(crate) fn options(
    job: &Job,
    context: &RunContext,
    upstream: &Upstream,
    staged: &Staged,
    stage: Stage,
) -> Result<TransferOptions, MirrorError> {
    let wrong = |reason: String| MirrorError::Job { job: job.name.clone(), reason };
    let mut options = words(job, upstream).map_err(wrong)?;
    let seconds = |time: Option<Duration>| {
        time.map_or(0, |time| u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX))
    };
    if options.timeout == 0 {
        options.timeout = seconds(job.timeouts.io);
    }
    if options.contimeout == 0 && is_daemon(&upstream.url) && options.rsh.is_none() {
        options.contimeout = seconds(job.timeouts.connect);
    }
    let limits = [job.bandwidth, context.bandwidth, Some(options.bwlimit)];
    options.bwlimit = limits.into_iter().flatten().filter(|&limit| limit > 0).min().unwrap_or(0);
    // Servers tell about deletions where items are printed.
    options.out_format = Some("%i %n%L".into());
    options.mkpath = true;
    if let Some(trace) = &job.trace {
        let rule = format!("protect /{}", trace.path());
        options.filters.insert(0, FilterArg::Rule(rule.into()));
    }
    if staged.work != staged.seen || staged.share.is_some() {
        // Nobody sees the tree yet: there is nothing to delay.
        if std::mem::take(&mut options.delay_updates) && options.partial_dir.is_none() {
            options.partial_dir = Some(PARTIAL_DIR.into());
        }
        options.forwarding.partial_dir_implied = false;
    }
    if let (Some((share, tree)), false) = (&staged.share, stage == Stage::Survey) {
        let kind = match share {
            Share::HardLink => BasisKind::Link,
            Share::Reflink => BasisKind::Copy,
        };
        options.reflink = Reflink::Auto;
        options.basis_dirs = Some(BasisDirs { kind, dirs: vec![tree.as_os_str().as_bytes().into()] });
    }
    match stage {
        Stage::Survey => {
            options.dry_run = true;
            // The survey counts all deletions; the limit is a guard then.
            options.max_delete = None;
            let looks_for_paths = !job.guard.must_have.is_empty() || job.guard.canary.is_some();
            options.itemize = if looks_for_paths { 2 } else { 1 };
        }
        Stage::First => {
            delete_nothing(&mut options);
            if std::mem::take(&mut options.delay_updates) && options.forwarding.partial_dir_implied {
                options.partial_dir = None;
                options.forwarding.partial_dir_implied = false;
            }
            if let Method::TwoStage(profile) = &job.method {
                let own = parse_words(profile.options().iter().map(|word| word.as_str().into()));
                options.filters.extend(own.map_err(wrong)?.filters);
            }
        }
        Stage::Last { keeps, max_delete } => {
            if keeps {
                delete_nothing(&mut options);
            } else {
                options.max_delete = max_delete.and_then(|limit| i64::try_from(limit).ok());
            }
        }
    }
    Ok(options)
}

/// Whether an upstream is a daemon.
fn is_daemon(url: &str) -> bool {
    let operand = Operand::parse(url.as_bytes());
    matches!(operand, Ok(Operand::Remote(Remote { kind: RemoteKind::Daemon, .. }, _)))
}

fn delete_nothing(options: &mut TransferOptions) {
    options.delete = DeleteTiming::None;
    options.delete_excluded = false;
    options.max_delete = None;
}

/// Makes one transfer, under a watch.
pub(crate) fn transfer(
    context: &RunContext,
    upstream: &Upstream,
    options: TransferOptions,
    destination: &Path,
    events: Arc<dyn EventSink>,
    limits: Limits,
) -> Result<TransferReport, MirrorError> {
    let failed =
        |error: ClientError| MirrorError::Transfer { upstream: upstream.url.clone(), error: Box::new(error) };
    let operands = [BString::from(upstream.url.as_str()), destination.as_os_str().as_bytes().into()];
    let found = endpoints(&operands, &options).map_err(|error| failed(error.into()))?;
    let mut environment = context.environment.clone();
    if let Some(user) = &upstream.username {
        environment.user = Some(user.as_str().into());
    }
    if let Some(password) = &upstream.password {
        environment.password = Some(password.reveal().into());
    }
    let client = Client::builder().options(options).environment(environment).events(events).build();
    let (by_watch, by_cancel) = (client.canceller(), client.canceller());
    let watch = Watch::begin(limits, context, move || by_watch.cancel());
    let guard = context.cancel.listen(move || by_cancel.cancel());
    let result = client.transfer(&found);
    drop(guard);
    match (watch.end(), context.cancel.reason(), result) {
        (_, _, Ok(report)) => Ok(report),
        (_, Some(reason), Err(_)) => Err(MirrorError::Stopped(reason)),
        (Some(Verdict::LowSpace), ..) => Err(MirrorError::Stopped(StopReason::LowSpace)),
        (Some(Verdict::NoProgress(after)), ..) => {
            Err(MirrorError::Stalled { upstream: upstream.url.clone(), after })
        }
        (Some(Verdict::TooLong(after)), ..) => Err(MirrorError::TimedOut { after }),
        (None, None, Err(error)) => Err(failed(error)),
    }
}

/// What a failure of a transfer means.
pub(crate) fn class_of(error: &MirrorError, job: &Job, failures: Option<&Failures>) -> Class {
    match error {
        MirrorError::Locked { .. } => Class::Locked,
        MirrorError::Refused { .. } => Class::Refused,
        MirrorError::Stopped(StopReason::LowSpace) => Class::Permanent,
        MirrorError::Stopped(_) => Class::Cancelled,
        MirrorError::Stalled { .. }
        | MirrorError::TimedOut { .. }
        | MirrorError::NoUpstream { .. }
        | MirrorError::Unreadable { .. } => Class::Transient,
        MirrorError::Transfer { error, .. } => {
            let failed: Vec<_> = failures.iter().flat_map(|failures| &failures.classes).copied().collect();
            let refusal = if let ClientError::Refused { line } = &**error { line.as_slice() } else { b"" };
            let facts = EndFacts { failed: &failed, refusal, no_space: is_no_space(error) };
            Class::of(error.exit_code(), facts, &job.classes)
        }
        MirrorError::Program { code, .. } => {
            if job.classes.permanent.contains(code) {
                Class::Permanent
            } else {
                Class::Once
            }
        }
        _ => Class::Permanent,
    }
}

/// Whether another upstream may do better: the failure lies there, or on the way to it.
pub(crate) fn lies_upstream(error: &MirrorError) -> bool {
    use super::result::Refusal;
    match error {
        MirrorError::Transfer { error, .. } => {
            !is_no_space(error)
                && matches!(error.exit_code().code(), 2 | 5 | 10 | 12 | 30 | 35 | 124..=127 | 255)
        }
        MirrorError::Stalled { .. } | MirrorError::Unreadable { .. } => true,
        MirrorError::Refused { refusals } => refusals.iter().all(|refusal| {
            matches!(refusal, Refusal::Empty | Refusal::Missing { .. } | Refusal::Older { .. })
        }),
        _ => false,
    }
}

fn is_no_space(error: &ClientError) -> bool {
    match error {
        ClientError::Engine(EngineError::FileIo { source, .. } | EngineError::Destination { source, .. }) => {
            matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Profile, Publish, Trace};

    fn staged() -> Staged {
        Staged { work: "/d".into(), seen: "/d".into(), share: None, pending: false }
    }

    fn of(job: &Job, staged: &Staged, stage: Stage) -> TransferOptions {
        let context = RunContext::new("/nowhere");
        options(job, &context, &job.upstreams[0], staged, stage).expect("options")
    }

    const LAST: Stage = Stage::Last { keeps: false, max_delete: None };

    #[test]
    fn the_first_stage_deletes_nothing_and_leaves_the_profile_out() {
        let mut job = Job::new("debian", "rsync://host/debian/", "/d");
        job.method = Method::TwoStage(Profile::Debian);
        let (first, last) = (of(&job, &staged(), Stage::First), of(&job, &staged(), LAST));
        assert_eq!((first.delete, last.delete), (DeleteTiming::None, DeleteTiming::After));
        assert_eq!((first.delay_updates, last.delay_updates), (false, true));
        assert_eq!(first.filters.len(), last.filters.len() + 12);
        assert_eq!(
            first.filters[2..4],
            [FilterArg::Include("*.diff/".into()), FilterArg::Include("by-hash/".into())]
        );
    }

    #[test]
    fn timeouts_and_limits_are_those_of_the_job_unless_its_options_say_otherwise() {
        let mut job = Job::new("a", "rsync://host/a/", "/d");
        job.bandwidth = Some(100);
        let made = of(&job, &staged(), LAST);
        assert_eq!((made.timeout, made.contimeout, made.bwlimit), (120, 60, 100));
        job.options.extend(["--timeout=7", "--bwlimit=50"].map(String::from));
        let made = of(&job, &staged(), LAST);
        assert_eq!((made.timeout, made.bwlimit), (7, 50));
    }

    #[test]
    fn the_trace_file_is_protected_before_all_other_rules() {
        let mut job = Job::new("a", "rsync://host/a/", "/d");
        job.trace = Some(Trace { host: "mirror.example".to_owned(), ..Trace::default() });
        let made = of(&job, &staged(), LAST);
        assert_eq!(made.filters[0], FilterArg::Rule("protect /project/trace/mirror.example".into()));
    }

    #[test]
    fn a_tree_that_nobody_sees_is_made_without_delay_and_shares_with_the_seen_one() {
        let mut job = Job::new("a", "rsync://host/a/", "/d");
        job.publish = Publish::Generation(crate::job::Generations::default());
        let staged = Staged {
            work: "/d/gen/.work".into(),
            seen: "/d/gen/1".into(),
            share: Some((Share::HardLink, "/d/gen/1".into())),
            pending: false,
        };
        let made = of(&job, &staged, LAST);
        let shared = BasisDirs { kind: BasisKind::Link, dirs: vec!["/d/gen/1".into()] };
        assert_eq!((made.delay_updates, made.basis_dirs), (false, Some(shared)));
        assert_eq!(made.partial_dir, Some(PARTIAL_DIR.into()));
        assert_eq!(of(&job, &staged, Stage::Survey).basis_dirs, None);
    }

    #[test]
    fn the_limit_of_deletions_is_what_the_survey_made_of_it() {
        let mut job = Job::new("a", "rsync://host/a/", "/d");
        job.options.push("--max-delete=3".to_owned());
        assert_eq!(own_limit(&job, &job.upstreams[0]).expect("options"), Some(3));
        let limit = |max_delete| of(&job, &staged(), Stage::Last { keeps: false, max_delete }).max_delete;
        assert_eq!((limit(Some(2)), limit(None)), (Some(2), None));
        assert_eq!(of(&job, &staged(), Stage::Survey).max_delete, None);
    }

    #[test]
    fn jobs_that_cannot_be_meant_are_refused_before_anything_happens() {
        let mut job = Job::new("a", "rsync://host/a/", "/d");
        check(&job).expect("is fine");
        for wrong in ["--remove-source-files", "--read-batch=x", "--no-such-option", "word", "--list-only"] {
            let mut job = job.clone();
            job.options.push(wrong.to_owned());
            let error = check(&job).expect_err(wrong);
            assert_eq!(error.exit_code(), 78, "{error}");
        }
        job.upstreams.clear();
        check(&job).expect_err("has no upstream");
    }
}
