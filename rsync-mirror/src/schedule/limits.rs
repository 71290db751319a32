//! How many jobs run at a time: in all, from one upstream host, on one disk.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::queue::Rules;

/// Limits of a site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Jobs at a time; `None` is no limit.
    pub total: Option<usize>,
    /// Jobs at a time from one upstream host that [`Limits::hosts`] does not name.
    pub per_host: Option<usize>,
    /// The same for hosts by name.
    pub hosts: BTreeMap<String, usize>,
    /// Jobs at a time of a group; a group that is not named here has one, so it is a mutex.
    pub groups: BTreeMap<String, usize>,
}

impl Limits {
    fn of_host(&self, host: &str) -> usize {
        self.hosts.get(host).copied().or(self.per_host).unwrap_or(usize::MAX)
    }

    pub(super) fn of_group(&self, group: &str) -> usize {
        self.groups.get(group).copied().unwrap_or(1)
    }
}

/// What is taken of the limits.
#[derive(Debug, Default)]
pub(super) struct Usage<'a> {
    total: usize,
    hosts: BTreeMap<&'a str, usize>,
    groups: BTreeMap<&'a str, usize>,
}

/// The first limit in a job's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle<'a> {
    Total,
    Host,
    Group(&'a str),
}

impl<'a> Usage<'a> {
    /// Counts a job that runs, or one ahead in the queue that keeps what it waits for.
    pub(super) fn add(&mut self, rules: &'a Rules) {
        self.total += 1;
        self.reserve(rules);
    }

    /// Keeps a waiting job's host and groups from the jobs behind it, so that nobody starves.
    pub(super) fn reserve(&mut self, rules: &'a Rules) {
        if let Some(host) = &rules.host {
            *self.hosts.entry(host).or_default() += 1;
        }
        for group in &rules.groups {
            *self.groups.entry(group).or_default() += 1;
        }
    }

    /// What keeps a job from starting. One that is forced respects its groups only: two writers on one
    /// disk or tree are a mistake, one transfer more is a wish.
    pub(super) fn obstacle(
        &self,
        limits: &Limits,
        rules: &'a Rules,
        is_forced: bool,
    ) -> Option<Obstacle<'a>> {
        let of = |counts: &BTreeMap<&str, usize>, name: &str| counts.get(name).copied().unwrap_or(0);
        if !is_forced {
            if limits.total.is_some_and(|total| self.total >= total) {
                return Some(Obstacle::Total);
            }
            if rules.host.as_deref().is_some_and(|host| of(&self.hosts, host) >= limits.of_host(host)) {
                return Some(Obstacle::Host);
            }
        }
        let full = |group: &&String| of(&self.groups, group) >= limits.of_group(group);
        rules.groups.iter().find(full).map(|group| Obstacle::Group(group))
    }
}
