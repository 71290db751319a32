//! Who of a hard-link group is transferred, and when the others are linked to it (spec 07 §10).
//!
//! Pure bookkeeping: the generator asks what to do with a member and carries it out.

use std::collections::HashMap;

use bstr::BString;

/// A file index.
type Index = u32;

/// What the generator does with a member that has come up in its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Treat it like a file without links.
    Process,
    /// Link it to this finished member.
    Link(BString),
    /// Nothing now: it waits for a member in transfer.
    Wait,
}

/// All hard-link groups of a transfer that are not finished with.
#[derive(Debug, Default)]
pub(crate) struct LinkGroups {
    groups: HashMap<u32, Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// Path of the member the others are linked to, once one is in place.
    leader: Option<BString>,
    in_transfer: Option<Index>,
    /// Members that came while one was in transfer, in list order.
    waiting: Vec<Index>,
    /// Members put off in favour of a later one, in list order.
    postponed: Vec<Index>,
}

impl LinkGroups {
    /// Decides about member `index` of `group`, which has not been looked at before.
    pub(crate) fn admit(&mut self, group: u32, index: Index) -> Admission {
        let group = self.groups.entry(group).or_default();
        if let Some(leader) = &group.leader {
            return Admission::Link(leader.clone());
        }
        if group.in_transfer.is_some() {
            group.waiting.push(index);
            return Admission::Wait;
        }
        Admission::Process
    }

    /// Puts a member off because a later one may do.
    pub(crate) fn postpone(&mut self, group: u32, index: Index) {
        self.groups.entry(group).or_default().postponed.push(index);
    }

    /// Records that a member's content was requested.
    pub(crate) fn requested(&mut self, group: u32, index: Index) {
        self.groups.entry(group).or_default().in_transfer = Some(index);
    }

    /// Records that the member at `path` is in place; answers who is to be linked to it, in order.
    pub(crate) fn finished(&mut self, group: u32, path: BString) -> Vec<Index> {
        let group = self.groups.entry(group).or_default();
        group.in_transfer = None;
        group.leader = Some(path);
        let mut followers = std::mem::take(&mut group.waiting);
        followers.extend(std::mem::take(&mut group.postponed).into_iter().rev());
        followers
    }

    /// Records that a member will not be in place (skipped, refused by the sender, failed for good).
    /// Where that leaves others without hope, answers the one to process again; it must not be
    /// postponed a second time. `more_to_come` says that a later member of the list may still lead.
    pub(crate) fn dropped(&mut self, group: u32, index: Index, more_to_come: bool) -> Option<Index> {
        let group = self.groups.entry(group).or_default();
        if group.in_transfer == Some(index) {
            group.in_transfer = None;
        }
        if group.leader.is_some() || group.in_transfer.is_some() {
            return None;
        }
        if let Some(next) = group.waiting.pop() {
            return Some(next);
        }
        if more_to_come { None } else { group.postponed.pop() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_group_transfers_its_last_member_and_links_the_others_backwards() {
        let mut links = LinkGroups::default();
        for index in [1, 2] {
            assert_eq!(links.admit(7, index), Admission::Process);
            links.postpone(7, index);
        }
        assert_eq!(links.admit(7, 3), Admission::Process);
        links.requested(7, 3);
        assert_eq!(links.finished(7, "c".into()), [2, 1]);
        assert_eq!(links.admit(7, 9), Admission::Link("c".into()));
    }

    #[test]
    fn members_after_one_in_transfer_are_linked_before_the_postponed() {
        let mut links = LinkGroups::default();
        for index in [1, 2] {
            links.admit(7, index);
            links.postpone(7, index);
        }
        links.admit(7, 3);
        links.requested(7, 3);
        assert_eq!(links.admit(7, 4), Admission::Wait);
        assert_eq!(links.admit(7, 5), Admission::Wait);
        assert_eq!(links.finished(7, "c".into()), [4, 5, 2, 1]);
    }

    #[test]
    fn a_skipped_last_member_revives_the_last_postponed() {
        let mut links = LinkGroups::default();
        links.postpone(7, 1);
        links.postpone(7, 2);
        assert_eq!(links.dropped(7, 3, true), None);
        assert_eq!(links.dropped(7, 3, false), Some(2));
    }

    #[test]
    fn a_failed_transfer_revives_a_waiting_member() {
        let mut links = LinkGroups::default();
        links.requested(7, 3);
        links.admit(7, 4);
        assert_eq!(links.dropped(7, 3, false), Some(4));
        links.requested(7, 4);
        assert!(links.finished(7, "d".into()).is_empty());
    }
}
