//! The long tier: random trees, changes and options, carried over by ours and by the C pair.
//!
//! `cargo run -p rsync-e2e --bin long -- --minutes 5 --seed 1` runs it. Each round depends on its seed
//! only, and a failure prints it.

pub mod case;
pub mod dice;
pub mod options;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bstr::{BString, ByteSlice};

use crate::program::Side;
use crate::proxy::ProxyPlan;
use crate::pull::Pull;
use crate::snapshot::{Compare, Snapshot};
use case::{Case, Ran, Way};
use dice::Dice;
use options::Choice;
use world::World;

/// Carries out the round of `seed`; answers whether everything was as it should be. Failures are
/// printed by the panic that found them. With `keep` the trees of the round are written there, before
/// anybody touches them.
pub fn round(seed: u64, keep: Option<&Path>) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        let mut dice = Dice::new(seed);
        if dice.once_in(4) { interrupted(&mut dice) } else { compared(&mut dice, keep) }
    }))
    .is_ok()
}

fn sides(dice: &mut Dice) -> (Side, Side) {
    *dice.pick(&[(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)])
}

fn compared(dice: &mut Dice, keep: Option<&Path>) {
    let mut case = Case::random(dice);
    let (mut client, mut server) = sides(dice);
    if case.way == Way::Local {
        (client, server) = (Side::Ours, Side::Ours);
    }
    if case.way == Way::FromDaemon && server == Side::Ours && !stays_inside(&case.choice) {
        case.way = Way::Pull;
    }
    let what = case.describe(client, server);
    if let Some(place) = keep {
        case.write(place);
    }
    let (reference, ran) = (case.run(Side::C, Side::C), case.run(client, server));
    assert_eq!(
        ran.outcome.code, reference.outcome.code,
        "exit code (left) and of C (right): {what}\nstderr: {}\nC's stderr: {}",
        ran.outcome.stderr, reference.outcome.stderr
    );
    if ran.outcome.code == 23 && case.choice.may_stop_deleting() {
        // How much is deleted before an error is known depends on how far the sender is ahead.
        return;
    }
    if reference.outcome.stderr.contains_str("a symlink owned by an untrusted user") {
        // The C rsync of Debian distrusts links in source arguments too (spec 10 §2.2).
        return;
    }
    let compare =
        if ran.outcome.code == 0 { case.choice.compare } else { without_times(case.choice.compare) };
    let said = format!("stderr: {}\nC's stderr: {}", ran.outcome.stderr, reference.outcome.stderr);
    assert_same(&ran.destination, &reference.destination, compare, &format!("{what}\n{said}"));
    assert_same(&ran.kept, &reference.kept, compare, &format!("backups: {what}"));
    assert_same(&ran.source, &reference.source, without_times(compare), &format!("sources: {what}"));
    // Both ends of a session that breaks complain, each in its own words.
    if matches!(ran.outcome.code, 0 | 23..=25) {
        // Below protocol 29 the server of a push prints what it knows, without the client's format.
        if case.choice.protocol < 29 && !(case.choice.plainly_itemizes() && case.way.is_pull()) {
            return;
        }
        let (old, listed) = (case.choice.protocol < 29, case.choice.has("--files-from"));
        let lines = |ran: &Ran| ran.lines(old, listed);
        assert_same_lines("what it prints", &lines(&ran), &lines(&reference), &what);
        assert_same_lines("its errors", &ran.errors(), &reference.errors(), &what);
    }
}

/// Our daemon does not leave its module, whatever is to be copied.
fn stays_inside(choice: &Choice) -> bool {
    !choice.words.iter().any(|word| ["-L", "-k", "--copy-unsafe-links"].contains(&word.as_str()))
}

/// Where some file failed, what lies around it may have been touched or not.
fn without_times(compare: Compare) -> Compare {
    Compare { directory_times: false, ..compare }
}

fn assert_same_lines(kind: &str, ours: &[BString], theirs: &[BString], what: &str) {
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
    assert!(
        ours == theirs,
        "{kind} (<), and the C rsync (>): {what}\n{}{}",
        only(ours, theirs, "<"),
        only(theirs, ours, ">")
    );
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
    assert_same(&completed.destination, &reference.destination, choice.compare, &pull.describe());
}

/// Fails unless both trees are the same; times of the run itself count as one.
fn assert_same(ours: &Snapshot, theirs: &Snapshot, compare: Compare, what: &str) {
    let recent = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    let lines = ours
        .clone()
        .without_times_after(recent)
        .differences(&theirs.clone().without_times_after(recent), compare);
    assert!(lines.is_empty(), "different trees (left | C on the right): {what}\n{}", lines.join("\n"));
}
