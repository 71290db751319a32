//! The sender's course: it knows no options and only counts the DONEs it gets (spec 02 §6.1, §7.1).

use super::PhaseError;
use crate::session::Negotiated;

/// What the sender does about a DONE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoneReply {
    /// Release the oldest list, then send a DONE.
    ReleaseList,
    /// A phase ends: send a DONE.
    Echo,
    /// Send IO_ERROR if the flags changed, the final DONE and, if this is a server, the statistics.
    Final,
    /// The goodbye: send a DONE.
    Goodbye,
    /// Nothing more follows in either direction.
    End,
}

/// Counts the DONEs that reach a sender.
#[derive(Clone, Debug)]
pub struct SenderPhases {
    item_flags: bool,
    long_goodbye: bool,
    released: usize,
    /// DONEs after those that released lists.
    further: usize,
    delete_stats: bool,
}

impl SenderPhases {
    /// Before the first DONE.
    #[must_use]
    pub fn new(negotiated: &Negotiated) -> Self {
        Self {
            item_flags: negotiated.has_item_flags(),
            long_goodbye: negotiated.has_long_goodbye(),
            released: 0,
            further: 0,
            delete_stats: false,
        }
    }

    /// M of the specification, and with it the number of the final DONE after those of the lists.
    fn final_number(&self) -> usize {
        if self.item_flags { 2 } else { 1 }
    }

    /// Takes a DONE. `lists` is the number of all file lists, at least 1 (an empty list counts), or
    /// `None` while more will follow.
    ///
    /// # Errors
    /// [`PhaseError::InvalidEnd`] for a DONE after the end.
    pub fn on_done(&mut self, lists: Option<usize>) -> Result<DoneReply, PhaseError> {
        if lists.is_none_or(|lists| self.released < lists) {
            self.released += 1;
            return Ok(DoneReply::ReleaseList);
        }
        if self.is_over() {
            return Err(PhaseError::InvalidEnd(-1));
        }
        self.further += 1;
        let last = self.final_number();
        Ok(match self.further {
            number if number < last => DoneReply::Echo,
            number if number == last => DoneReply::Final,
            number if number == last + 1 && self.long_goodbye => DoneReply::Goodbye,
            _ => DoneReply::End,
        })
    }

    /// Takes deletion statistics, which a server sender repeats at once.
    ///
    /// # Errors
    /// [`PhaseError::MisplacedDeleteStats`] below protocol 31, a second time, or anywhere but
    /// between the redo phase and the goodbye.
    pub fn on_delete_stats(&mut self) -> Result<(), PhaseError> {
        let in_place = self.further >= 1 && self.further <= self.final_number();
        if !self.long_goodbye || !in_place || self.delete_stats {
            return Err(PhaseError::MisplacedDeleteStats);
        }
        self.delete_stats = true;
        Ok(())
    }

    /// Whether items may only carry attributes now.
    #[must_use]
    pub fn in_phase_2(&self) -> bool {
        self.further >= 1
    }

    /// Whether the final DONE was answered: only the goodbye may follow, no ERROR_EXIT is sent any
    /// more, and any item is [`PhaseError::InvalidEnd`].
    #[must_use]
    pub fn in_goodbye(&self) -> bool {
        self.further >= self.final_number()
    }

    /// Whether the last DONE was taken.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.further > self.final_number() + usize::from(self.long_goodbye)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CompatFlags;
    use DoneReply::*;

    fn replies(protocol: u8, lists: usize) -> Vec<DoneReply> {
        let mut phases = SenderPhases::new(&Negotiated::new(protocol, CompatFlags::default()));
        let mut replies = Vec::new();
        while !phases.is_over() {
            replies.push(phases.on_done(Some(lists)).expect("in time"));
        }
        assert_eq!(phases.on_done(Some(lists)), Err(PhaseError::InvalidEnd(-1)));
        replies
    }

    #[test]
    fn a_sender_answers_as_often_as_its_protocol_says() {
        assert_eq!(replies(28, 1), [ReleaseList, Final, End]);
        assert_eq!(replies(29, 1), [ReleaseList, Echo, Final, End]);
        assert_eq!(replies(30, 2), [ReleaseList, ReleaseList, Echo, Final, End]);
        assert_eq!(replies(32, 1), [ReleaseList, Echo, Final, Goodbye, End]);
    }

    #[test]
    fn deletion_statistics_have_their_place() {
        let mut phases = SenderPhases::new(&Negotiated::new(31, CompatFlags::default()));
        assert!(phases.on_delete_stats().is_err());
        phases.on_done(Some(1)).expect("list");
        assert!(phases.on_delete_stats().is_err());
        phases.on_done(Some(1)).expect("redo");
        assert!(phases.in_phase_2() && !phases.in_goodbye());
        assert_eq!(phases.on_delete_stats(), Ok(()));
        assert!(phases.on_delete_stats().is_err());
    }
}
