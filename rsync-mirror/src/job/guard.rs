//! Judging a survey before anything is changed: pure, from numbers to objections (spec 11 §2.3).

use std::collections::BTreeSet;

use super::result::{Refusal, Stats};
use super::spec::Guard;
use rsync_proto::text::Totals;

/// What a transfer would do, as far as guards ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The numbers of the upstream's list.
    pub(crate) totals: Totals,
    /// Entries that would be made.
    pub(crate) created: u64,
    /// Entries whose content would be replaced.
    pub(crate) updated: u64,
    /// Entries of which only attributes would be set.
    pub(crate) adjusted: u64,
    /// Entries that would be deleted.
    pub(crate) deleted: u64,
    /// Bytes of the files that would be made or replaced.
    pub(crate) bytes: u64,
    /// Which of the paths that must be there are.
    pub(crate) found: BTreeSet<String>,
    /// The time of the canary, if it is there.
    pub(crate) canary: Option<i64>,
    /// The limit of deletions among rsync's own options.
    pub(crate) own_limit: Option<u64>,
}

impl Survey {
    /// Whether nothing would be done, as far as the peer tells.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.totals.created.is_some() && self.created + self.updated + self.adjusted + self.deleted == 0
    }

    /// How many entries there are here now.
    fn existing(&self) -> u64 {
        (self.totals.listed.total() + self.deleted).saturating_sub(self.created)
    }

    /// Most deletions that `guard` and rsync's own options allow.
    pub(crate) fn delete_limit(&self, guard: &Guard) -> Option<u64> {
        let limit = guard.max_delete.map(|limit| limit.of(self.existing()));
        limit.into_iter().chain(self.own_limit).min()
    }
}

/// What is free on a file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    /// Bytes that we may use.
    pub(crate) bytes: u64,
    /// Bytes in all.
    pub(crate) whole: u64,
    /// Inodes; none where the file system does not count them.
    pub(crate) inodes: Option<u64>,
}

/// Everything that `guard` objects to. `before` is what the last good run saw; `canary_here` the time of our
/// canary.
pub(crate) fn judge(
    guard: &Guard,
    survey: &Survey,
    before: Option<&Stats>,
    space: Option<Space>,
    canary_here: Option<i64>,
) -> Vec<Refusal> {
    let mut refusals = source(guard, &survey.totals, before);
    for path in guard.must_have.iter().filter(|path| !survey.found.contains(name_of(path))) {
        refusals.push(Refusal::Missing { path: path.clone() });
    }
    if let Some(path) = &guard.canary {
        match (survey.canary, canary_here) {
            (None, _) => refusals.push(Refusal::Missing { path: path.clone() }),
            (Some(theirs), Some(ours)) if theirs < ours && !guard.allow_older => {
                refusals.push(Refusal::Older { path: path.clone(), theirs, ours });
            }
            _ => {}
        }
    }
    if let Some(limit) = survey.delete_limit(guard).filter(|&limit| survey.deleted > limit) {
        refusals.push(Refusal::Deletions { count: survey.deleted, limit });
    }
    refusals.extend(space.iter().flat_map(|space| room(guard, survey, *space)));
    refusals
}

/// What is wrong with the list itself; asked again after the transfer, since upstreams change meanwhile.
pub(crate) fn source(guard: &Guard, totals: &Totals, before: Option<&Stats>) -> Vec<Refusal> {
    let listed = totals.listed;
    let root_alone = listed.total() == listed.dirs && listed.dirs <= 1;
    if root_alone {
        return vec![Refusal::Empty];
    }
    let Some(before) = before else { return Vec::new() };
    let numbers = [("entries", before.entries, listed.total()), ("bytes", before.size, totals.total_size)];
    let shrunk = numbers.into_iter().filter(|&(_, before, now)| is_less(now, before, guard.min_ratio));
    shrunk.map(|(what, before, now)| Refusal::Shrunk { what: what.to_owned(), before, now }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of counts needs no more")]
fn is_less(now: u64, before: u64, ratio: f64) -> bool {
    (now as f64) < before as f64 * ratio
}

fn room(guard: &Guard, survey: &Survey, space: Space) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if let Some(keep) = guard.min_free.map(|keep| keep.of(space.whole)) {
        let need = survey.bytes;
        if space.bytes < need.saturating_add(keep) {
            refusals.push(Refusal::Space { what: "bytes".to_owned(), free: space.bytes, need, keep });
        }
    }
    if let (Some(keep), Some(free)) = (guard.min_free_inodes, space.inodes) {
        let need = survey.created + survey.updated;
        if free < need.saturating_add(keep) {
            refusals.push(Refusal::Space { what: "inodes".to_owned(), free, need, keep });
        }
    }
    refusals
}

/// A path as lists name it.
pub(crate) fn name_of(path: &str) -> &str {
    path.trim_start_matches('/').trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Amount;
    use rsync_proto::text::KindCounts;

    fn survey(files: u64, bytes: u64) -> Survey {
        let listed = KindCounts { files, dirs: 1, ..KindCounts::default() };
        let totals = Totals { listed, total_size: bytes, created: Some(listed), ..Totals::default() };
        Survey { totals, ..Survey::default() }
    }

    fn judged(guard: &Guard, survey: &Survey) -> Vec<Refusal> {
        let before = Stats { entries: 100, size: 1000, ..Stats::default() };
        let space = Space { bytes: 500, whole: 1000, inodes: Some(50) };
        judge(guard, survey, Some(&before), Some(space), Some(77))
    }

    #[test]
    fn an_upstream_that_is_as_before_is_accepted() {
        assert_eq!(judged(&Guard::default(), &survey(99, 1000)), []);
        assert_eq!(judged(&Guard::default(), &survey(49, 500)), [], "exactly half is enough");
    }

    #[test]
    fn a_list_with_its_root_alone_is_empty() {
        assert_eq!(judged(&Guard::default(), &survey(0, 0)), [Refusal::Empty]);
        assert_eq!(judged(&Guard::default(), &Survey::default()), [Refusal::Empty]);
    }

    #[test]
    fn less_than_half_of_the_entries_or_of_the_bytes_is_refused() {
        let shrunk = |what: &str, before, now| Refusal::Shrunk { what: what.to_owned(), before, now };
        assert_eq!(judged(&Guard::default(), &survey(48, 500)), [shrunk("entries", 100, 49)]);
        assert_eq!(judged(&Guard::default(), &survey(99, 499)), [shrunk("bytes", 1000, 499)]);
        let all = Guard { min_ratio: 0.0, ..Guard::default() };
        assert_eq!(judged(&all, &survey(1, 1)), []);
    }

    #[test]
    fn deletions_are_counted_or_measured_against_what_is_here() {
        let mut found = survey(99, 1000);
        found.deleted = 11;
        let allow = |limit| Guard { max_delete: Some(limit), ..Guard::default() };
        assert_eq!(judged(&allow(Amount::Count(11)), &found), []);
        assert_eq!(judged(&allow(Amount::Count(10)), &found), [Refusal::Deletions { count: 11, limit: 10 }]);
        found.own_limit = Some(5);
        assert_eq!(judged(&allow(Amount::Count(7)), &found), [Refusal::Deletions { count: 11, limit: 5 }]);
        found.own_limit = None;
        // 100 listed, none of them new, and 11 to go: 111 are here.
        assert_eq!(judged(&allow(Amount::Percent(10.0)), &found), []);
        assert_eq!(
            judged(&allow(Amount::Percent(9.0)), &found),
            [Refusal::Deletions { count: 11, limit: 9 }]
        );
    }

    #[test]
    fn what_must_be_left_is_left_after_what_is_needed() {
        let mut found = survey(99, 1000);
        found.bytes = 400;
        found.created = 40;
        let keep = |bytes| Guard { min_free: Some(bytes), min_free_inodes: Some(10), ..Guard::default() };
        assert_eq!(judged(&keep(Amount::Percent(10.0)), &found), []);
        found.created = 41;
        let space = |what: &str, free, need, keep| Refusal::Space { what: what.to_owned(), free, need, keep };
        assert_eq!(
            judged(&keep(Amount::Count(101)), &found),
            [space("bytes", 500, 400, 101), space("inodes", 50, 41, 10)]
        );
    }

    #[test]
    fn paths_that_must_be_there_are_asked_for_by_their_names() {
        let guard = Guard { must_have: vec!["/dists/".to_owned(), "pool".to_owned()], ..Guard::default() };
        let mut found = survey(99, 1000);
        found.found.insert("dists".to_owned());
        assert_eq!(judged(&guard, &found), [Refusal::Missing { path: "pool".to_owned() }]);
    }

    #[test]
    fn an_older_or_missing_canary_is_refused() {
        let guard = Guard { canary: Some("time".to_owned()), ..Guard::default() };
        let mut found = survey(99, 1000);
        assert_eq!(judged(&guard, &found), [Refusal::Missing { path: "time".to_owned() }]);
        found.canary = Some(77);
        assert_eq!(judged(&guard, &found), []);
        found.canary = Some(76);
        let older = Refusal::Older { path: "time".to_owned(), theirs: 76, ours: 77 };
        assert_eq!(judged(&guard, &found), [older]);
        assert_eq!(judged(&Guard { allow_older: true, ..guard }, &found), []);
    }
}
