//! Running a job's hooks: in order before the transfer, in reverse order behind it.

use std::collections::BTreeMap;

use super::cancel::Cancel;
use super::class::Class;
use super::context::RunContext;
use super::log::RunLog;
use super::program::{ProgramCall, ProgramEnd};
use super::result::{RunId, RunResult};
use super::spec::{Job, Program};
use crate::MirrorError;
use rsync_proto::text::Severity;

/// When hooks are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookPhase {
    PreJob,
    PreExec,
    Stage1Done,
    PostExec,
    PrePublish,
    PostPublish,
    Success,
    Failure,
}

impl HookPhase {
    fn name(self) -> &'static str {
        match self {
            Self::PreJob => "pre-job",
            Self::PreExec => "pre-exec",
            Self::Stage1Done => "stage1-done",
            Self::PostExec => "post-exec",
            Self::PrePublish => "pre-publish",
            Self::PostPublish => "post-publish",
            Self::Success => "post-success",
            Self::Failure => "post-fail",
        }
    }

    fn programs(self, job: &Job) -> &[Program] {
        let hooks = &job.hooks;
        match self {
            Self::PreJob => &hooks.pre_job,
            Self::PreExec => &hooks.pre_exec,
            Self::Stage1Done => &hooks.stage1_done,
            Self::PostExec => &hooks.post_exec,
            Self::PrePublish => &hooks.pre_publish,
            Self::PostPublish => &hooks.post_publish,
            Self::Success => &hooks.success,
            Self::Failure => &hooks.failure,
        }
    }

    fn is_reversed(self) -> bool {
        matches!(self, Self::PostExec | Self::PostPublish | Self::Success | Self::Failure)
    }
}

/// What hooks and commands are told of a run.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) job: &'a Job,
    pub(crate) run: &'a RunId,
    pub(crate) attempt: u32,
    pub(crate) upstream: &'a str,
    pub(crate) result: Option<&'a RunResult>,
    pub(crate) class: Option<Class>,
}

impl Facts<'_> {
    /// The variables of a program (spec 11 §3.4).
    pub(crate) fn environment(&self, context: &RunContext, log: &RunLog) -> BTreeMap<String, String> {
        let path =
            |path: Option<&std::path::Path>| path.map(|path| path.display().to_string()).unwrap_or_default();
        let mut variables = self.job.environment.clone();
        let mut set = |name: &str, value: String| {
            variables.insert(name.to_owned(), value);
        };
        let destination = self.job.destination.display().to_string();
        set("TUNASYNC_MIRROR_NAME", self.job.name.clone());
        set("TUNASYNC_WORKING_DIR", destination.clone());
        set("TUNASYNC_UPSTREAM_URL", self.upstream.to_owned());
        set("TUNASYNC_LOG_DIR", path(context.log_dir.as_deref()));
        set("TUNASYNC_LOG_FILE", path(log.path()));
        set("RSYNC_MIRROR_JOB", self.job.name.clone());
        set("RSYNC_MIRROR_RUN", self.run.to_string());
        set("RSYNC_MIRROR_ATTEMPT", self.attempt.to_string());
        set("RSYNC_MIRROR_UPSTREAM", self.upstream.to_owned());
        set("RSYNC_MIRROR_DESTINATION", destination);
        if let Some(class) = self.class {
            let status = if class.is_good() { "success" } else { "failure" };
            set("TUNASYNC_JOB_EXIT_STATUS", status.to_owned());
            let class = serde_json::to_value(class).ok();
            let class = class.as_ref().and_then(|class| class.as_str()).unwrap_or_default();
            set("RSYNC_MIRROR_CLASS", class.to_owned());
        }
        if let Some(result) = self.result {
            set("RSYNC_MIRROR_CODE", result.exit.to_string());
            set("RSYNC_MIRROR_BYTES", result.stats.received.to_string());
            set("RSYNC_MIRROR_SIZE", result.stats.size.to_string());
            if let Some(number) = result.generation {
                set("RSYNC_MIRROR_GENERATION", number.to_string());
            }
        }
        variables
    }

    /// Runs the hooks of a phase; the first that fails ends it.
    pub(crate) fn run_hooks(
        &self,
        phase: HookPhase,
        context: &RunContext,
        log: &RunLog,
    ) -> Result<(), MirrorError> {
        let programs = phase.programs(self.job);
        if programs.is_empty() {
            return Ok(());
        }
        let mut environment = self.environment(context, log);
        environment.insert("RSYNC_MIRROR_PHASE".to_owned(), phase.name().to_owned());
        let run = |program: &Program| self.run_hook(phase, program, &environment, context, log);
        if phase.is_reversed() {
            programs.iter().rev().try_for_each(run)
        } else {
            programs.iter().try_for_each(run)
        }
    }

    fn run_hook(
        &self,
        phase: HookPhase,
        program: &Program,
        environment: &BTreeMap<String, String>,
        context: &RunContext,
        log: &RunLog,
    ) -> Result<(), MirrorError> {
        let name = program.words().first().map_or("", String::as_str);
        let failed =
            |reason: String| MirrorError::Hook { phase: phase.name(), program: name.to_owned(), reason };
        log.line(Severity::Info, &format!("hook {}: {name}", phase.name()));
        let call = ProgramCall {
            program,
            environment,
            directory: self.job.destination.is_dir().then_some(self.job.destination.as_path()),
            output: log.handle(),
            timeout: Some(self.job.hooks.timeout),
            cgroup: None,
        };
        // What happens after a run happens after one that was stopped, too.
        let never = Cancel::default();
        let is_end = matches!(phase, HookPhase::PostExec | HookPhase::Success | HookPhase::Failure);
        let cancel = if is_end { &never } else { &context.cancel };
        match context.spawn.run(call, cancel) {
            Ok(end) if end.is_ok() => Ok(()),
            Ok(ProgramEnd::Cancelled) => {
                Err(context.cancel.reason().map_or_else(|| failed(String::new()), MirrorError::Stopped))
            }
            Ok(end) => Err(failed(end.to_string())),
            Err(error) => Err(failed(format!("cannot be started: {error}"))),
        }
    }
}
