//! End-to-end test harness: real peers, trees, comparison.
