//! Mirrors as library calls: one job run under a lock with guards and publication, many of them on a
//! schedule with a store, an API and a status page, a front for several rsync daemons, and the takeover
//! of one server by another (spec 11).

pub mod schedule;
