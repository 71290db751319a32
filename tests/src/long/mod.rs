//! The long tier: random trees, changes and options, carried over by ours and by the C pair.
//!
//! `cargo run -p rsync-e2e --bin long -- --minutes 5 --seed 1` runs it. Each round depends on its seed
//! only, and a failure prints it.

pub mod case;
pub mod dice;
pub mod options;
pub mod wide;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bstr::{BString, ByteSlice};

use crate::program::Side;
use crate::proxy::ProxyPlan;
use crate::pull::Pull;
use crate::snapshot::{Compare, Snapshot};
use case::{Case, Ran, Roles, Way};
use dice::Dice;
use options::Choice;
use wide::WIDE;
use world::World;

/// A round fails when it is like none of so many runs of the C rsync.
const RUNS_OF_C: usize = 4;

/// Carries out the round of `seed`; answers whether everything was as it should be. Failures are
/// printed by the panic that found them. With `keep` the trees of the round are written there, before
/// anybody touches them.
pub fn round(seed: u64, keep: Option<&Path>) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        let mut dice = Dice::new(seed);
        if dice.once_in(4) { interrupted(&mut dice) } else { compared(&mut dice, seed >= WIDE, keep) }
    }))
    .is_ok()
}

fn sides(dice: &mut Dice) -> (Side, Side) {
    *dice.pick(&[(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)])
}

fn compared(dice: &mut Dice, wide: bool, keep: Option<&Path>) {
    let mut case = Case::random(dice, wide);
    let (mut client, mut server) = sides(dice);
    if case.way == Way::Local {
        (client, server) = (Side::Ours, Side::Ours);
    }
    if case.way == Way::FromDaemon && server == Side::Ours && !stays_inside(&case.choice) {
        case.way = Way::Pull;
    }
    let reader = if client == Side::Ours { Side::C } else { Side::Ours };
    let roles = Roles { client, server, reader };
    let what = case.describe(roles);
    if let Some(place) = keep {
        case.write(place);
    }
    let ran = case.run(roles);
    let mut found = None;
    // Where processes of the C rsync overtake each other, it does not do the same every time.
    for _ in 0..RUNS_OF_C {
        let Ok(reference) = catch_unwind(|| case.run(Roles::OF_C)) else {
            // It hangs, after some errors that it makes.
            return;
        };
        found = difference(&case, &ran, &reference, &what);
        if found.is_none() {
            return;
        }
    }
    panic!("{}", found.unwrap_or_default());
}

/// What was not as in a run of the C rsync.
fn difference(case: &Case, ran: &Ran, reference: &Ran, what: &str) -> Option<String> {
    if reference.outcome.stderr.contains_str("a symlink owned by an untrusted user") {
        // The C rsync of Debian distrusts links in source arguments too (spec 10 §2.2).
        return None;
    }
    if ran.outcome.code != reference.outcome.code {
        return Some(format!(
            "exit code {} and {} of C: {what}\nstderr: {}\nC's stderr: {}",
            ran.outcome.code, reference.outcome.code, ran.outcome.stderr, reference.outcome.stderr
        ));
    }
    if ran.outcome.code == 23 && case.choice.may_stop_deleting() {
        // How much is deleted before an error is known depends on how far the sender is ahead.
        return None;
    }
    if !matches!(ran.outcome.code, 0 | 23..=25) {
        // How far a session comes that breaks, and what both ends say of it, is a matter of chance.
        return None;
    }
    let compare =
        if ran.outcome.code == 0 { case.choice.compare } else { without_times(case.choice.compare) };
    let said = format!("stderr: {}\nC's stderr: {}", ran.outcome.stderr, reference.outcome.stderr);
    tree_difference(&ran.destination, &reference.destination, compare, &format!("{what}\n{said}"))
        .or_else(|| tree_difference(&ran.kept, &reference.kept, compare, &format!("backups: {what}")))
        .or_else(|| {
            let what = format!("sources: {what}");
            tree_difference(&ran.source, &reference.source, without_times(compare), &what)
        })
        .or_else(|| replay_difference(ran, reference, compare, what))
        .or_else(|| spoken_difference(case, ran, reference, what))
}

fn spoken_difference(case: &Case, ran: &Ran, reference: &Ran, what: &str) -> Option<String> {
    // Below protocol 29 the server of a push prints what it knows, without the client's format.
    if case.choice.protocol < 29 && !(case.choice.plainly_itemizes() && case.way.is_pull()) {
        return None;
    }
    let (old, listed) = (case.choice.protocol < 29, case.choice.has("--files-from"));
    let lines = |ran: &Ran| ran.lines(old, listed);
    line_difference("what it prints", &lines(ran), &lines(reference), what)
        .or_else(|| line_difference("its errors", &ran.errors(), &reference.errors(), what))
        .or_else(|| line_difference("its logs", &ran.logged(), &reference.logged(), what))
}

/// What was written to a batch file leaves the same, too.
fn replay_difference(ran: &Ran, reference: &Ran, compare: Compare, what: &str) -> Option<String> {
    let what = format!("applying a batch: {what}");
    let (Some((ours, tree)), Some((theirs, their_tree))) = (&ran.replayed, &reference.replayed) else {
        let none = ran.replayed.is_none() && reference.replayed.is_none();
        return (!none).then(|| format!("only one of both wrote one: {what}"));
    };
    let shown = format!("{what}\nstderr: {}\nC's stderr: {}", ours.stderr, theirs.stderr);
    if ours.code != theirs.code {
        return Some(format!("exit code {} and {} of C: {shown}", ours.code, theirs.code));
    }
    tree_difference(tree, their_tree, compare, &shown)
}

/// Our daemon does not leave its module, whatever is to be copied.
fn stays_inside(choice: &Choice) -> bool {
    !choice.words.iter().any(|word| ["-L", "-k", "--copy-unsafe-links"].contains(&word.as_str()))
}

/// Where some file failed, what lies around it may have been touched or not.
fn without_times(compare: Compare) -> Compare {
    Compare { directory_times: false, ..compare }
}

fn line_difference(kind: &str, ours: &[BString], theirs: &[BString], what: &str) -> Option<String> {
    let only = |these: &[BString], those: &[BString], mark: &str| {
        let mut rest = those.to_vec();
        let lines = these.iter().filter(|line| match rest.iter().position(|other| other == *line) {
            Some(place) => {
                rest.swap_remove(place);
                false
            }
            None => true,
        });
        lines.map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    (ours != theirs).then(|| {
        let (less, more) = (only(ours, theirs, "<"), only(theirs, ours, ">"));
        format!("{kind} (<), and the C rsync (>): {what}\n{less}{more}")
    })
}

/// A run that is killed or cut off, perhaps twice, and then one that completes the work.
fn interrupted(dice: &mut Dice) {
    let past = World::random(dice);
    let source = past.changed(dice);
    let destination = if dice.once_in(4) { World::default() } else { past.changed(dice) };
    let choice = Choice::resumable(dice);
    // Names of one file that are updated in place change together, in the order they come.
    let in_place = choice.words.iter().any(|word| word == "--inplace");
    let destination = if in_place { World::default() } else { destination };
    let (client, server) = sides(dice);
    let pull = Pull::new(source.tree())
        .onto(destination.tree())
        .options(choice.words.iter())
        .between(client, server);
    let reference = pull.clone().between(Side::C, Side::C).run();
    reference.outcome.expect_ok();
    let mut work = pull.prepare();
    for _ in 0..dice.below(2) + 1 {
        let bytes = dice.below(source.size() as u64 + 2000);
        work = match dice.once_in(2) {
            true => pull.kill_after(work, bytes).work,
            false => {
                let cut = ProxyPlan { cut_after: Some(bytes), ..ProxyPlan::default() };
                pull.run_through(work, cut).work
            }
        };
    }
    let completed = pull.run_in(work);
    completed.outcome.expect_ok();
    let found =
        tree_difference(&completed.destination, &reference.destination, choice.compare, &pull.describe());
    assert!(found.is_none(), "{}", found.unwrap_or_default());
}

/// How both trees differ; times of the run itself count as one.
fn tree_difference(ours: &Snapshot, theirs: &Snapshot, compare: Compare, what: &str) -> Option<String> {
    let recent = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    let lines = ours
        .clone()
        .without_times_after(recent)
        .differences(&theirs.clone().without_times_after(recent), compare);
    (!lines.is_empty())
        .then(|| format!("different trees (left | C on the right): {what}\n{}", lines.join("\n")))
}
