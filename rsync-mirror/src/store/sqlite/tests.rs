use super::*;
use crate::job::{Class, Stats};

const LEASE: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn store() -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    (directory, store)
}

fn result(job: &str, number: u32, ended: i64, class: Class) -> RunResult {
    RunResult {
        attempt: 1,
        class,
        upstream: Some("rsync://a.example/m/".to_owned()),
        stats: Stats { size: 1000, ..Stats::default() },
        ..RunResult::empty(RunId::new(at(ended - 5), number), job, at(ended - 5), at(ended))
    }
}

fn claim(store: &SqliteStore, owner: &str, second: i64) -> Option<Lease> {
    store.claim("a", owner, None, LEASE, at(second)).unwrap()
}

#[test]
fn a_run_that_was_finished_is_remembered_with_what_it_says_about_the_job() {
    let (_directory, store) = store();
    assert_eq!(store.job("a", at(1)).unwrap().known_since, Some(at(1)));
    let lease = claim(&store, "me", 10).unwrap();
    let good = result("a", 1, 20, Class::Good);
    store.finish(&lease, &good, 10).unwrap();
    let lease = claim(&store, "me", 30).unwrap();
    let bad = result("a", 2, 40, Class::Permanent);
    store.finish(&lease, &bad, 10).unwrap();
    let job = store.job("a", at(50)).unwrap();
    assert_eq!((job.known_since, job.succeeded, job.ended), (Some(at(1)), Some(at(20)), Some(at(40))));
    assert_eq!((job.size, job.interrupted, job.last.as_ref()), (Some(1000), false, Some(&bad)));
    assert_eq!(store.runs("a", 10).unwrap(), [bad.clone(), good]);
    assert_eq!(store.run(&bad.id).unwrap(), Some(bad));
}

#[test]
fn a_job_is_taken_by_one_owner_at_a_time_and_taken_over_when_the_lease_ends() {
    let (_directory, store) = store();
    store.job("a", at(0)).unwrap();
    let first = claim(&store, "one", 0).unwrap();
    assert_eq!(claim(&store, "two", 59), None);
    let first = store.renew(&first, LEASE, at(50)).unwrap();
    assert_eq!(claim(&store, "two", 100), None);
    let second = claim(&store, "two", 110).unwrap();
    assert!(second.fence > first.fence);
    let late = result("a", 1, 120, Class::Good);
    assert!(matches!(store.finish(&first, &late, 10), Err(StoreError::Fenced { .. })));
    assert!(matches!(store.renew(&first, LEASE, at(120)), Err(StoreError::Fenced { .. })));
    assert_eq!(store.runs("a", 10).unwrap(), []);
    store.finish(&second, &late, 10).unwrap();
    assert!(matches!(store.finish(&second, &late, 10), Err(StoreError::Fenced { .. })), "once only");
}

#[test]
fn a_run_that_nobody_finished_is_seen_as_interrupted_and_may_be_taken_by_the_same_owner() {
    let (directory, store) = store();
    store.job("a", at(0)).unwrap();
    let lost = claim(&store, "me", 10).unwrap();
    drop(store);
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    let job = store.job("a", at(20)).unwrap();
    assert_eq!((job.interrupted, job.started), (true, Some(at(10))));
    let lease = claim(&store, "me", 20).unwrap();
    assert!(matches!(store.release(&lost), Err(StoreError::Fenced { .. })));
    store.release(&lease).unwrap();
    assert!(!store.job("a", at(20)).unwrap().interrupted);
}

#[test]
fn holds_and_sizes_outlive_the_process_and_a_run_knows_the_size_better() {
    let (directory, store) = store();
    store.job("a", at(0)).unwrap();
    store.hold("a", Some(Hold::Disabled)).unwrap();
    store.set_size("a", "1.2T").unwrap();
    drop(store);
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    let job = store.job("a", at(0)).unwrap();
    assert_eq!((job.hold, job.size_text.as_deref()), (Some(Hold::Disabled), Some("1.2T")));
    store.hold("a", None).unwrap();
    let lease = claim(&store, "me", 10).unwrap();
    store.finish(&lease, &result("a", 1, 20, Class::Good), 10).unwrap();
    let job = store.job("a", at(0)).unwrap();
    assert_eq!((job.hold, job.size_text, job.size), (None, None, Some(1000)));
}

#[test]
fn a_cancelled_run_is_made_up_for_unless_the_job_is_held() {
    let (_directory, store) = store();
    store.job("a", at(0)).unwrap();
    for (hold, made_up_for, end) in [(None, true, 20), (Some(Hold::Paused), false, 40)] {
        let lease = claim(&store, "me", end - 5).unwrap();
        store.hold("a", hold).unwrap();
        let number = u32::try_from(end).unwrap();
        store.finish(&lease, &result("a", number, end, Class::Cancelled), 10).unwrap();
        assert_eq!(store.job("a", at(end)).unwrap().interrupted, made_up_for, "{hold:?}");
    }
}

#[test]
fn old_runs_are_forgotten() {
    let (_directory, store) = store();
    store.job("a", at(0)).unwrap();
    for number in 0..5u32 {
        let end = i64::from(number) * 10 + 10;
        let lease = claim(&store, "me", end - 5).unwrap();
        store.finish(&lease, &result("a", number, end, Class::Good), 3).unwrap();
    }
    let ends: Vec<_> = store.runs("a", 10).unwrap().iter().map(|run| run.ended).collect();
    assert_eq!(ends, [at(50), at(40), at(30)]);
}

#[test]
fn a_database_of_a_later_version_is_left_alone() {
    let (directory, store) = store();
    drop(store);
    let path = directory.path().join("state.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::TooNew { found: 99, .. })));
}

#[test]
fn what_is_no_database_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    std::fs::write(&path, "not a database, and longer than the header of one would be, so it is read")
        .unwrap();
    let error = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(error.contains("state.db"), "{error}");
}
