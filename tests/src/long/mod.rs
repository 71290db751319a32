//! The long tier: random trees, changes and options, carried over by ours and by the C pair.
//!
//! `cargo run -p rsync-e2e --bin long -- --minutes 5 --seed 1` runs it. Each round depends on its seed
//! only, and a failure prints it.

pub mod dice;
pub mod options;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bstr::{BString, ByteSlice};

use crate::program::Side;
use crate::proxy::ProxyPlan;
use crate::pull::{Pull, Pulled, Transport};
use crate::snapshot::Compare;
use dice::Dice;
use options::Choice;
use world::World;

/// Carries out the round of `seed`; answers whether everything was as it should be. Failures are
/// printed by the panic that found them.
pub fn round(seed: u64) -> bool {
    catch_unwind(AssertUnwindSafe(|| {
        let mut dice = Dice::new(seed);
        if dice.once_in(3) { interrupted(&mut dice) } else { compared(&mut dice) }
    }))
    .is_ok()
}

/// A source, and a destination that shares a past with it.
fn worlds(dice: &mut Dice) -> (World, World) {
    let past = World::random(dice);
    let source = past.changed(dice);
    let destination = if dice.once_in(4) { World::default() } else { past.changed(dice) };
    (source, destination)
}

fn sides(dice: &mut Dice) -> (Side, Side) {
    *dice.pick(&[(Side::Ours, Side::C), (Side::C, Side::Ours), (Side::Ours, Side::Ours)])
}

fn compared(dice: &mut Dice) {
    let (source, destination) = worlds(dice);
    let choice = Choice::random(dice);
    let (client, server) = sides(dice);
    let small = source.size() + destination.size() < 200_000;
    // Our daemon does not leave its module, whatever is to be copied.
    let stays =
        server == Side::C || !choice.words.iter().any(|word| word == "-L" || word == "--copy-unsafe-links");
    let transport = match dice.below(6) {
        0..=2 if stays => Transport::Daemon,
        3 if small => Transport::ChunkedShell(1 + dice.below(40) as usize),
        _ => Transport::Shell,
    };
    let pull = Pull::new(source.tree())
        .onto(destination.tree())
        .options(choice.words.iter())
        .between(client, server)
        .over(transport);
    let reference = pull.clone().between(Side::C, Side::C).run();
    let compare = if reference.outcome.code == 0 { choice.compare } else { without_times(choice.compare) };
    let pulled = pull.run();
    assert_eq!(
        pulled.outcome.code,
        reference.outcome.code,
        "exit code of {} (left) and of C (right)\nstderr: {}\nC's stderr: {}",
        pull.describe(),
        pulled.outcome.stderr,
        reference.outcome.stderr
    );
    assert_same_trees(&pulled, &reference, compare, &pull);
    if choice.itemizes && client == Side::Ours {
        let lines = |pulled: &Pulled| sorted_lines(&pulled.outcome.stdout);
        assert_eq!(lines(&pulled), lines(&reference), "what {} prints (left), and C", pull.describe());
    }
}

/// Where some file failed, what lies around it may have been touched or not.
fn without_times(compare: Compare) -> Compare {
    Compare { directory_times: false, ..compare }
}

fn sorted_lines(bytes: &BString) -> Vec<BString> {
    let mut lines: Vec<BString> = bytes.lines().map(BString::from).collect();
    lines.sort();
    lines
}

/// A run that is killed or cut off, perhaps twice, and then one that completes the work.
fn interrupted(dice: &mut Dice) {
    let (source, destination) = worlds(dice);
    let choice = Choice::resumable(dice);
    // Names of one file that are updated in place change together, in the order they come.
    let in_place = choice.words.iter().any(|word| word == "--inplace");
    let destination = if in_place { World::default() } else { destination };
    let (client, server) =
        *dice.pick(&[(Side::Ours, Side::C), (Side::Ours, Side::Ours), (Side::C, Side::Ours)]);
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
    assert_same_trees(&completed, &reference, choice.compare, &pull);
}

/// Fails unless both made the same tree; times of the run itself count as one.
fn assert_same_trees(pulled: &Pulled, reference: &Pulled, compare: Compare, pull: &Pull) {
    let age = std::time::Duration::from_secs(600);
    let recent = std::time::SystemTime::now() - age;
    let lines = pulled
        .destination
        .clone()
        .without_times_after(recent)
        .differences(&reference.destination.clone().without_times_after(recent), compare);
    assert!(
        lines.is_empty(),
        "{} (left) and C (right) made different trees:\n{}\nstderr: {}",
        pull.describe(),
        lines.join("\n"),
        pulled.outcome.stderr
    );
}
