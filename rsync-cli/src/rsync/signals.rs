//! SIGINT, SIGTERM and SIGHUP end a run in order: partial files are kept or removed, the peer hears
//! of it, and the exit code is 20 (spec 02 §9).

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `cancel` at the first signal; a second one ends the process at once.
pub(crate) fn on_termination(cancel: impl Fn() + Send + 'static) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    std::thread::spawn(move || {
        let mut arrived = signals.forever();
        if arrived.next().is_some() {
            cancel();
        }
        if let Some(signal) = arrived.next() {
            // The default action of these signals ends the process, so there is no answer.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}
