//! From a command line to a job and its surroundings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rsync_mirror::health::Checks;
use rsync_mirror::job::{
    DEFAULT_OPTIONS, Generations, Guard, Hooks, Job, LogRotation, Method, Profile, Program, Publish, Retry,
    RunContext, Share, Snapshots, Timeouts, Trace, Upstream,
};
use rsync_mirror::upstream::Probed;

use crate::arguments::{PublishHow, StageProfile, Sync};

/// The job and the surroundings that a command line describes.
pub(crate) fn of(arguments: &Sync) -> Result<(Job, RunContext), String> {
    let directory = std::path::absolute(&arguments.directory)
        .map_err(|error| format!("{}: {error}", arguments.directory.display()))?;
    let name = arguments.name.clone().unwrap_or_else(|| name_of(&directory));
    let mut job = Job::new(name, arguments.url.clone(), directory);
    for text in &arguments.upstream {
        job.upstreams.push(upstream(text));
    }
    job.method = match (arguments.two_stage, &arguments.first_stage[..]) {
        (Some(StageProfile::Debian), _) => Method::TwoStage(Profile::Debian),
        (Some(StageProfile::DebianOldstyle), _) => Method::TwoStage(Profile::DebianOldstyle),
        (None, []) => Method::Rsync,
        (None, own) => Method::TwoStage(Profile::Own(own.to_vec())),
    };
    let defaults = if arguments.own_options { &[] } else { DEFAULT_OPTIONS };
    job.options = defaults.iter().map(ToString::to_string).chain(arguments.options.iter().cloned()).collect();
    job.timeouts = Timeouts {
        connect: Some(arguments.connect_timeout),
        io: Some(arguments.io_timeout),
        no_progress: arguments.progress_timeout,
        total: arguments.timeout,
    };
    job.retry = Retry { attempts: arguments.attempts, first_pause: arguments.pause, ..Retry::default() };
    job.guard = Guard {
        min_ratio: arguments.min_ratio,
        max_delete: arguments.max_delete,
        min_free: arguments.min_free,
        min_free_inodes: arguments.min_free_inodes,
        must_have: arguments.must_have.clone(),
        canary: arguments.canary.clone(),
        allow_older: arguments.allow_older,
    };
    job.publish = publish(arguments);
    job.trace = arguments.trace.as_ref().map(|host| Trace { host: host.clone(), ..Trace::default() });
    job.hooks = hooks(arguments)?;
    job.lock_file.clone_from(&arguments.lock_file);
    job.mutex.clone_from(&arguments.mutex);
    job.expect_immutable.clone_from(&arguments.expect_immutable);
    job.bandwidth = arguments.bandwidth;
    job.classes.good.clone_from(&arguments.success_code);
    job.log = LogRotation { count: arguments.keep_logs, ..LogRotation::default() };
    let state_dir = arguments.state_dir.clone().or_else(default_state_dir);
    let mut context = RunContext::new(state_dir.ok_or("there is no home directory; set --state-dir")?);
    context.log_dir.clone_from(&arguments.log_dir);
    context.accept.clone_from(&arguments.accept);
    if let Some(check) = &arguments.check {
        let checks =
            Checks { l7: Some(check.clone()), timeout: arguments.connect_timeout, ..Checks::default() };
        context.health = Arc::new(Probed::new(checks, context.environment.clone()));
    }
    Ok((job, context))
}

/// A directory as a name: `/srv/mirror/alpine` is `srv-mirror-alpine`.
fn name_of(directory: &Path) -> String {
    let words: Vec<_> = directory
        .components()
        .filter_map(|part| match part {
            std::path::Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        })
        .collect();
    if words.is_empty() { "root".to_owned() } else { words.join("-") }
}

/// `WEIGHT@URL`, or a URL whose user is no number.
fn upstream(text: &str) -> Upstream {
    let weighted = text.split_once('@').and_then(|(weight, url)| Some((weight.parse().ok()?, url)));
    match weighted {
        Some((weight, url)) => Upstream { weight, ..Upstream::new(url) },
        None => Upstream::new(text),
    }
}

fn publish(arguments: &Sync) -> Publish {
    let keep = arguments.keep;
    match arguments.publish {
        PublishHow::Delay => Publish::Delay,
        PublishHow::Generation => Publish::Generation(Generations { keep, share: Share::HardLink }),
        PublishHow::Reflink => Publish::Generation(Generations { keep, share: Share::Reflink }),
        PublishHow::Btrfs => Publish::Snapshot(Snapshots::btrfs(keep)),
        PublishHow::Zfs => {
            Publish::Snapshot(Snapshots::zfs(arguments.dataset.as_deref().unwrap_or_default(), keep))
        }
    }
}

fn hooks(arguments: &Sync) -> Result<Hooks, String> {
    let mut hooks = Hooks { timeout: arguments.hook_timeout, ..Hooks::default() };
    for text in &arguments.hook {
        let wrong = |what: &str| format!("--hook={text}: {what}");
        let (phase, program) = text.split_once('=').ok_or_else(|| wrong("it is PHASE=PROGRAM"))?;
        let program = Program::parse(program).ok_or_else(|| wrong("there is no program in it"))?;
        let programs = match phase {
            "pre-job" => &mut hooks.pre_job,
            "pre-exec" => &mut hooks.pre_exec,
            "stage1-done" => &mut hooks.stage1_done,
            "post-exec" => &mut hooks.post_exec,
            "pre-publish" => &mut hooks.pre_publish,
            "post-publish" => &mut hooks.post_publish,
            "success" => &mut hooks.success,
            "failure" => &mut hooks.failure,
            _ => return Err(wrong("there is no such phase")),
        };
        programs.push(program);
    }
    Ok(hooks)
}

/// Where jobs remember what they must, unless somebody says where.
fn default_state_dir() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some("/var/lib/rsync-mirror".into());
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("rsync-mirror"))
}
