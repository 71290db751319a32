//! `sync` and `plan`: one call of the library, and what it says.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use rsync_client::{Action, Operation};
use rsync_mirror::MirrorError;
use rsync_mirror::job::{Class, Job, Plan, RunContext, RunResult, StopReason, check_job, plan_job, run_job};
use rsync_proto::text::{Event, EventSink, Human, Numbers, Severity, Topic};

use crate::arguments::Sync;
use crate::bar::Bar;
use crate::{job, say, signals};

/// Brings a mirror up to date; answers the exit code.
pub(crate) fn sync(arguments: &Sync) -> u8 {
    let (job, mut context) = match checked(arguments) {
        Ok(job) => job,
        Err(code) => return code,
    };
    let screen = Arc::new(Screen::new(arguments));
    let (lines, verbose) = (Arc::clone(&screen), arguments.verbose);
    context.lines = Some(Arc::new(move |severity, text| lines.line(severity, text, verbose)));
    context.events = Some(screen.clone());
    end_on_signals(&context);
    let result = run_job(&job, &context);
    screen.finish();
    if arguments.json {
        print_json(&result);
    } else {
        report(&result, arguments.quiet, &screen);
    }
    if result.class.is_good() { 0 } else { result.exit }
}

/// Tells what `sync` would do; answers the exit code.
pub(crate) fn plan(arguments: &Sync) -> u8 {
    let (job, mut context) = match checked(arguments) {
        Ok(job) => job,
        Err(code) => return code,
    };
    context.lines = Some(Arc::new(|severity, text| {
        if is_error(severity) {
            say(text);
        }
    }));
    end_on_signals(&context);
    let json = arguments.json;
    let show =
        move |action: Action| if json { print_json(&action_json(&action)) } else { print_action(&action) };
    let show: rsync_mirror::job::Actions = Arc::new(show);
    let plan = match plan_job(&job, &context, Some(show).filter(|_| !arguments.quiet)) {
        Ok(plan) => plan,
        Err(error) => {
            say(&format!("rsync-mirror: {error}"));
            return error.exit_code();
        }
    };
    if json {
        print_json(&plan);
    } else {
        report_plan(&plan);
    }
    if plan.refusals.is_empty() {
        plan.exit
    } else {
        MirrorError::Refused { refusals: plan.refusals }.exit_code()
    }
}

fn checked(arguments: &Sync) -> Result<(Job, RunContext), u8> {
    let (job, context) = job::of(arguments).map_err(|text| {
        say(&format!("rsync-mirror: {text}"));
        1
    })?;
    check_job(&job).map_err(|error| {
        say(&format!("rsync-mirror: {error}"));
        error.exit_code()
    })?;
    Ok((job, context))
}

fn end_on_signals(context: &RunContext) {
    let cancel = context.cancel.clone();
    signals::on_termination(move || cancel.cancel(StopReason::Requested));
}

/// Where lines and the bar go.
struct Screen {
    bar: Option<Mutex<Bar>>,
    /// The last error that was printed.
    error: Mutex<String>,
}

impl Screen {
    fn new(arguments: &Sync) -> Self {
        let wanted = !arguments.json && !arguments.quiet;
        Self { bar: Bar::on_terminal().filter(|_| wanted).map(Mutex::new), error: Mutex::default() }
    }

    fn line(&self, severity: Severity, text: &str, verbose: bool) {
        let is_error = is_error(severity);
        if !is_error && !verbose {
            return;
        }
        if severity == Severity::Error {
            text.clone_into(&mut self.error.lock().unwrap_or_else(PoisonError::into_inner));
        }
        self.above(|| if is_error { say(text) } else { print_line(text) });
    }

    /// Whether an error was printed already.
    fn has_said(&self, error: &str) -> bool {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) == error
    }

    fn above(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.lock().unwrap_or_else(PoisonError::into_inner).above(print),
            None => print(),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.lock().unwrap_or_else(PoisonError::into_inner).finish();
        }
    }
}

impl EventSink for Screen {
    fn wants(&self, topic: Topic) -> bool {
        self.bar.is_some() && topic == Topic::Progress
    }

    fn emit(&self, event: Event<'_>) {
        if let (Some(bar), Event::Progress(progress)) = (&self.bar, event) {
            bar.lock().unwrap_or_else(PoisonError::into_inner).update(&progress);
        }
    }
}

fn is_error(severity: Severity) -> bool {
    matches!(severity, Severity::Warning | Severity::Error | Severity::TransferError)
}

fn report(result: &RunResult, quiet: bool, screen: &Screen) {
    let name = &result.job;
    if result.class.is_good() {
        if !quiet {
            print_line(&format!("{name}: {}", summary(result)));
        }
        return;
    }
    if !screen.has_said(&result.message) {
        say(&format!("rsync-mirror: {name}: {}", result.message));
    }
    if result.class == Class::Refused && !result.refusals.is_empty() {
        say(&format!("If that is right, run it again with --accept={}", result.id));
    }
    if result.class == Class::Immutable {
        say("If these files are to stay as they are, name them by --expect-immutable");
    }
}

/// One line about a good run.
fn summary(result: &RunResult) -> String {
    let numbers = Numbers::new(Human::from_level(2));
    let stats = &result.stats;
    let seconds = result.ended.duration_since(result.started).as_secs();
    let size = format!("{} files, {}", stats.files, numbers.bytes(stats.size));
    if result.unchanged {
        return format!("nothing to do ({size}; {seconds} s)");
    }
    let published = result.generation.map(|number| format!(", published as {number}")).unwrap_or_default();
    let failed = match result.failed_count {
        0 => String::new(),
        count => format!(", {count} left alone"),
    };
    format!(
        "{} files transferred, {} received, {} entries deleted{failed}{published} ({size}; {seconds} s)",
        stats.transferred,
        numbers.bytes(stats.received),
        stats.deleted,
    )
}

fn report_plan(plan: &Plan) {
    let numbers = Numbers::new(Human::from_level(2));
    print_line(&format!(
        "{} to create, {} to update, {} to adjust, {} to delete, {} to transfer ({} entries, {} at {})",
        plan.create,
        plan.update,
        plan.adjust,
        plan.delete,
        numbers.bytes(plan.bytes),
        plan.entries,
        numbers.bytes(plan.size),
        plan.upstream,
    ));
    for refusal in &plan.refusals {
        say(&format!("a guard would refuse: {refusal}"));
    }
}

/// What an action is called.
fn word(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update(_) => "update",
        Operation::Link { .. } => "link",
        Operation::Delete => "delete",
        _ => "adjust",
    }
}

fn print_action(action: &Action) {
    let mut text = Vec::new();
    let charset = rsync_proto::text::Charset::Utf8;
    rsync_proto::text::escape_name(&action.path, charset, &mut text);
    print_line(&format!("{:<7} {}", word(&action.operation), String::from_utf8_lossy(&text)));
}

fn action_json(action: &Action) -> serde_json::Value {
    serde_json::json!({
        "action": word(&action.operation),
        "path": action.path.to_string(),
        "size": action.size,
        "mtime": action.mtime,
    })
}

fn print_json(value: &impl serde::Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        print_line(&text);
    }
}

fn print_line(text: &str) {
    // Whoever does not read on has read enough.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
