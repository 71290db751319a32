//! The receiving side's course after the last normal request (spec 02 §6.2): what the generator
//! sends and waits for, and what the sender's answers mean to the receiver half.

use super::PhaseError;
use crate::session::Negotiated;

/// Something the receiver half has seen, and worked off everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The DONE that answers the last list.
    ListsAnswered,
    /// The DONE that answers the redo phase; with `--delay-updates` the delayed files move now.
    /// Below protocol 29 it is the final one, and on a pull the statistics follow it.
    RedoAnswered,
    /// The final DONE (29 and later); on a pull the statistics follow it.
    FinalDone,
    /// The answer to the goodbye (31 and later).
    GoodbyeAnswered,
}

/// One step of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Send one DONE for each list, when its requests are resolved (without incremental recursion
    /// at once: one).
    ListDones,
    /// Repeat the requests of files that failed verification (with incremental recursion that
    /// happened before the list's DONE).
    Redo,
    /// Send a DONE.
    Done,
    /// Send the deletion statistics.
    DeleteStats,
    /// Delete what `--delete-after` and `--delete-delay` left for the end.
    LateDeletions,
    /// Wait for the receiver half.
    Await(Event),
}

/// The options that shape the course.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptOptions {
    /// `--delay-updates`.
    pub delay_updates: bool,
    /// `--delete-after` or `--delete-delay`.
    pub late_deletion: bool,
    /// Some `--delete` mode or `--force`; matters from protocol 31 on.
    pub sends_delete_stats: bool,
}

/// The generator's course after the last normal request (the table of spec 02 §6.2).
#[must_use]
pub fn generator_script(negotiated: &Negotiated, options: ScriptOptions) -> Vec<Step> {
    use Step::{Await, DeleteStats, Done, LateDeletions, ListDones, Redo};
    let mut script = vec![ListDones, Await(Event::ListsAnswered), Redo, Done];
    let stats = options.sends_delete_stats.then_some(DeleteStats);
    if !negotiated.has_item_flags() {
        script.extend([Await(Event::RedoAnswered)]);
        script.extend(options.late_deletion.then_some(LateDeletions));
        script.push(Done);
        return script;
    }
    let early_stats = negotiated.has_long_goodbye() && !options.late_deletion;
    if options.delay_updates {
        script.extend(stats.filter(|_| early_stats));
        script.extend([Await(Event::RedoAnswered), Done]);
    } else {
        script.push(Done);
        script.extend(stats.filter(|_| early_stats));
    }
    if !early_stats {
        script.push(Await(Event::FinalDone));
        script.extend(options.late_deletion.then_some(LateDeletions));
        script.extend(stats.filter(|_| negotiated.has_long_goodbye()));
    }
    script.push(Done);
    if negotiated.has_long_goodbye() {
        script.extend([Await(Event::GoodbyeAnswered), Done]);
    }
    script
}

/// Tells the receiver half what each DONE of the sender means.
#[derive(Clone, Debug)]
pub struct Answers {
    last: Event,
    seen: Option<Event>,
}

impl Answers {
    /// Before the first DONE.
    #[must_use]
    pub fn new(negotiated: &Negotiated) -> Self {
        let last = match (negotiated.has_item_flags(), negotiated.has_long_goodbye()) {
            (_, true) => Event::GoodbyeAnswered,
            (true, false) => Event::FinalDone,
            (false, false) => Event::RedoAnswered,
        };
        Self { last, seen: None }
    }

    /// Takes a DONE; `more_lists` says that it answers a list which is not the last. Answers the
    /// event it makes, `None` for such a list.
    ///
    /// # Errors
    /// [`PhaseError::InvalidEnd`] for a DONE after the last.
    pub fn on_done(&mut self, more_lists: bool) -> Result<Option<Event>, PhaseError> {
        let next = match self.seen {
            None if more_lists => return Ok(None),
            Some(seen) if seen == self.last => return Err(PhaseError::InvalidEnd(-1)),
            None => Event::ListsAnswered,
            Some(Event::ListsAnswered) => Event::RedoAnswered,
            Some(Event::RedoAnswered) => Event::FinalDone,
            Some(Event::FinalDone | Event::GoodbyeAnswered) => Event::GoodbyeAnswered,
        };
        self.seen = Some(next);
        Ok(Some(next))
    }

    /// The last event so far.
    #[must_use]
    pub fn seen(&self) -> Option<Event> {
        self.seen
    }

    /// Whether `event` is the final DONE, behind which a server sender puts its statistics.
    #[must_use]
    pub fn precedes_statistics(&self, event: Event) -> bool {
        event == self.last.min(Event::FinalDone)
    }

    /// Whether no further DONE may come: an end of the stream is now normal.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.seen == Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CompatFlags;

    /// The script in the notation of the specification's table.
    fn notation(protocol: u8, delay: bool, late: bool, stats: bool) -> String {
        let options = ScriptOptions { delay_updates: delay, late_deletion: late, sends_delete_stats: stats };
        let script = generator_script(&Negotiated::new(protocol, CompatFlags::default()), options);
        let words = script.iter().map(|step| match step {
            Step::ListDones => "F",
            Step::Redo => "redo",
            Step::Done => "D",
            Step::DeleteStats => "X",
            Step::LateDeletions => "late",
            Step::Await(Event::ListsAnswered) => "w1",
            Step::Await(Event::RedoAnswered) => "w2",
            Step::Await(Event::FinalDone) => "w3",
            Step::Await(Event::GoodbyeAnswered) => "w4",
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_script_is_the_table_of_the_specification() {
        for protocol in [27, 28] {
            assert_eq!(notation(protocol, false, false, true), "F w1 redo D w2 D");
            assert_eq!(notation(protocol, false, true, true), "F w1 redo D w2 late D");
        }
        for protocol in [29, 30] {
            assert_eq!(notation(protocol, false, false, true), "F w1 redo D D w3 D");
            assert_eq!(notation(protocol, false, true, true), "F w1 redo D D w3 late D");
            assert_eq!(notation(protocol, true, true, true), "F w1 redo D w2 D w3 late D");
        }
        for protocol in [31, 32] {
            assert_eq!(notation(protocol, false, false, false), "F w1 redo D D D w4 D");
            assert_eq!(notation(protocol, false, false, true), "F w1 redo D D X D w4 D");
            assert_eq!(notation(protocol, true, false, true), "F w1 redo D X w2 D D w4 D");
            assert_eq!(notation(protocol, false, true, true), "F w1 redo D D w3 late X D w4 D");
            assert_eq!(notation(protocol, true, true, true), "F w1 redo D w2 D w3 late X D w4 D");
        }
    }

    #[test]
    fn answers_are_counted_up_to_the_last_of_the_version() {
        for (protocol, count) in [(28, 2), (30, 3), (32, 4)] {
            let mut answers = Answers::new(&Negotiated::new(protocol, CompatFlags::default()));
            assert_eq!(answers.on_done(true), Ok(None));
            for number in 1..=count {
                let event = answers.on_done(false).expect("in time").expect("event");
                assert_eq!(answers.precedes_statistics(event), number == count.min(3));
                assert_eq!(answers.is_over(), number == count);
            }
            assert_eq!(answers.on_done(false), Err(PhaseError::InvalidEnd(-1)));
        }
    }
}
