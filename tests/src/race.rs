//! Somebody who swaps names while a program works with them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// Calls `act` while the names `one` and `other` are exchanged again and again, for the first time before
/// it begins.
///
/// # Panics
/// When they cannot be exchanged at the beginning.
pub fn while_exchanging<T>(one: &Path, other: &Path, act: impl FnOnce() -> T) -> T {
    let exchange = || renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
    exchange().unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // What works there may have taken one of them away.
                let _ = exchange();
            }
        });
        let result = act();
        over.store(true, Ordering::Relaxed);
        result
    })
}
