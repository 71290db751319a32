//! Progress lines on a terminal (spec 07 §17.1).

use std::collections::VecDeque;
use std::time::Duration;

use super::event::{Moment, Progress};
use super::number::Numbers;

/// Samples that the current rate is taken over.
const SAMPLES: usize = 5;
/// Least time between two running lines.
const INTERVAL: Duration = Duration::from_secs(1);
/// More hours than this are not shown.
const MOST_HOURS: f64 = 9999.0;

/// Turns progress events into the bytes that redraw one terminal line.
///
/// Feed it every event with the time since the session began; it decides which of them show.
#[derive(Clone, Debug)]
pub struct ProgressLine {
    numbers: Numbers,
    over_all_files: bool,
    /// Whether the file (or session) at hand showed a line already.
    begun: bool,
    /// Time and offset of the first event of the file (or session).
    start: (Duration, u64),
    samples: VecDeque<(Duration, u64)>,
    last_shown: Duration,
    /// Length of the last tail that said how many entries are left.
    last_tail: usize,
    unfinished: bool,
}

impl ProgressLine {
    /// Progress per file (`--info=progress1`), or over all files (`--info=progress2`).
    #[must_use]
    pub fn new(numbers: Numbers, over_all_files: bool) -> Self {
        Self {
            numbers,
            over_all_files,
            begun: false,
            start: (Duration::ZERO, 0),
            samples: VecDeque::with_capacity(SAMPLES),
            last_shown: Duration::ZERO,
            last_tail: 0,
            unfinished: false,
        }
    }

    /// Takes one event at `now` (since the session began) and appends what to print to `out`.
    pub fn update(&mut self, progress: &Progress<'_>, now: Duration, out: &mut Vec<u8>) {
        let (done, total) = self.extent(progress);
        match progress.moment {
            Moment::ListDone if !self.over_all_files => {}
            Moment::Running => self.run(done, total, now, out),
            Moment::FileDone | Moment::ListDone => self.finish(progress, done, total, now, out),
        }
    }

    /// Whether the cursor stands behind a line without line feed; the next other output of any kind
    /// first ends it with [`Self::end_line`].
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Appends the line feed that is due before other output and at the end, if one is.
    pub fn end_line(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.unfinished) {
            out.push(b'\n');
        }
    }

    fn extent(&self, progress: &Progress<'_>) -> (u64, u64) {
        if self.over_all_files {
            (progress.total_offset.saturating_add(progress.offset), progress.total_size)
        } else {
            (progress.offset, progress.size)
        }
    }

    fn run(&mut self, done: u64, total: u64, now: Duration, out: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            self.start = if self.over_all_files { (Duration::ZERO, 0) } else { (now, done) };
            self.samples.clear();
        } else if now.saturating_sub(self.last_shown) < INTERVAL {
            return;
        }
        self.last_shown = now;
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, done));
        let (since, from) = self.samples.front().copied().unwrap_or((now, done));
        let rate = rate(from, done, now.saturating_sub(since));
        let remaining = if rate > 0.0 { total.saturating_sub(done) as f64 / rate } else { 0.0 };
        self.line(done, total, rate, remaining, "  ", out);
        self.unfinished = true;
    }

    fn finish(&mut self, progress: &Progress<'_>, done: u64, total: u64, now: Duration, out: &mut Vec<u8>) {
        let (since, from) = if self.begun || self.over_all_files { self.start } else { (now, 0) };
        let elapsed = now.saturating_sub(since);
        let check = if progress.lists_pending { "ir-chk" } else { "to-chk" };
        let (xfr, left, known) = (progress.transfers, progress.remaining, progress.known);
        let tail = format!(" (xfr#{xfr}, {check}={left}/{known})");
        let tail = if self.over_all_files { self.pad(tail) } else { tail };
        self.line(done, total, rate(from, done, elapsed), elapsed.as_secs_f64(), &tail, out);
        if self.over_all_files {
            self.unfinished = true;
        } else {
            out.push(b'\n');
            self.unfinished = false;
            self.begun = false;
        }
    }

    /// Covers what a longer tail before left on the terminal.
    fn pad(&mut self, mut tail: String) -> String {
        let len = std::mem::replace(&mut self.last_tail, tail.len());
        tail.extend(std::iter::repeat_n(' ', len.saturating_sub(tail.len())));
        tail
    }

    fn line(&self, done: u64, total: u64, rate: f64, seconds: f64, tail: &str, out: &mut Vec<u8>) {
        let bytes = self.numbers.bytes(done);
        let percent = percent(done, total);
        let (rate, unit) = scaled(rate / 1024.0);
        let time = clock(seconds);
        out.extend_from_slice(
            format!("\r{bytes:>15} {percent:>3}% {rate:>7.2}{unit} {time}{tail}").as_bytes(),
        );
    }
}

/// Bytes per second from `from` to `to` in `elapsed`; nothing in no time is 0.
fn rate(from: u64, to: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { to.saturating_sub(from) as f64 / seconds } else { 0.0 }
}

fn percent(done: u64, total: u64) -> u64 {
    if done == total {
        return 100;
    }
    let hundredfold = u128::from(done) * 100;
    hundredfold.checked_div(u128::from(total)).map_or(0, |percent| u64::try_from(percent).unwrap_or(u64::MAX))
}

fn scaled(kib: f64) -> (f64, &'static str) {
    if kib <= 1024.0 {
        (kib, "kB/s")
    } else if kib <= 1024.0 * 1024.0 {
        (kib / 1024.0, "MB/s")
    } else {
        (kib / 1024.0 / 1024.0, "GB/s")
    }
}

fn clock(seconds: f64) -> String {
    if !(0.0..=MOST_HOURS * 3600.0).contains(&seconds) {
        return "  ??:??:??".to_owned();
    }
    let seconds = seconds as u64;
    format!("{:4}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::BString;

    fn event(moment: Moment, offset: u64, size: u64) -> Progress<'static> {
        Progress {
            moment,
            name: b"f",
            offset,
            size,
            transfers: u64::from(moment != Moment::Running) * 2,
            remaining: 11,
            known: 13,
            lists_pending: false,
            total_offset: 0,
            total_size: 3_000_000,
        }
    }

    fn feed(line: &mut ProgressLine, progress: &Progress<'_>, millis: u64) -> BString {
        let mut out = Vec::new();
        line.update(progress, Duration::from_millis(millis), &mut out);
        out.into()
    }

    #[test]
    fn a_file_shows_its_first_line_then_one_per_second_and_its_last() {
        let mut line = ProgressLine::new(Numbers::default(), false);
        assert_eq!(
            feed(&mut line, &event(Moment::Running, 32_768, 3_000_000), 0),
            "\r         32,768   1%    0.00kB/s    0:00:00  "
        );
        assert_eq!(feed(&mut line, &event(Moment::Running, 65_536, 3_000_000), 500), "");
        assert_eq!(
            feed(&mut line, &event(Moment::Running, 1_081_344, 3_000_000), 1000),
            "\r      1,081,344  36% 1024.00kB/s    0:00:01  "
        );
        assert!(line.is_unfinished());
        assert_eq!(
            feed(&mut line, &event(Moment::FileDone, 3_000_000, 3_000_000), 2000),
            "\r      3,000,000 100%    1.41MB/s    0:00:02 (xfr#2, to-chk=11/13)\n"
        );
        assert!(!line.is_unfinished());
    }

    #[test]
    fn an_empty_file_shows_only_its_last_line() {
        let mut line = ProgressLine::new(Numbers::default(), false);
        assert_eq!(
            feed(&mut line, &event(Moment::FileDone, 0, 0), 500),
            "\r              0 100%    0.00kB/s    0:00:00 (xfr#2, to-chk=11/13)\n"
        );
    }

    #[test]
    fn progress_over_all_files_is_one_line_whose_counts_cover_longer_ones() {
        let mut line = ProgressLine::new(Numbers::default(), true);
        let file_done = event(Moment::FileDone, 1_500_000, 1_500_000);
        assert_eq!(
            feed(&mut line, &file_done, 1000),
            "\r      1,500,000  50%    1.43MB/s    0:00:01 (xfr#2, to-chk=11/13)"
        );
        let running = Progress { total_offset: 1_500_000, ..event(Moment::Running, 750_000, 1_500_000) };
        let shown = "\r      2,250,000  75%    0.00kB/s    0:00:00  ";
        assert_eq!(feed(&mut line, &running, 2000), shown);
        let fewer = Progress { remaining: 9, ..file_done };
        for blanks in [" ", ""] {
            let shown = feed(&mut line, &fewer, 2000);
            assert!(shown.ends_with(format!("(xfr#2, to-chk=9/13){blanks}").as_bytes()), "{shown:?}");
        }
        let mut out = Vec::new();
        line.end_line(&mut out);
        line.end_line(&mut out);
        assert_eq!(out, b"\n");
    }

    #[test]
    fn a_list_end_refreshes_only_progress_over_all_files() {
        let end = Progress { lists_pending: true, ..event(Moment::ListDone, 0, 0) };
        assert_eq!(feed(&mut ProgressLine::new(Numbers::default(), false), &end, 0), "");
        assert_eq!(
            feed(&mut ProgressLine::new(Numbers::default(), true), &end, 0),
            "\r              0   0%    0.00kB/s    0:00:00 (xfr#2, ir-chk=11/13)"
        );
    }

    #[test]
    fn impossible_durations_and_offsets_have_a_text() {
        assert_eq!(clock(-1.0), "  ??:??:??");
        assert_eq!(clock(f64::NAN), "  ??:??:??");
        assert_eq!(clock(1e18), "  ??:??:??");
        assert_eq!(clock(3_723.9), "   1:02:03");
        assert_eq!(percent(u64::MAX, 1), u64::MAX);
        assert_eq!(percent(1, 0), 0);
        assert_eq!(percent(0, 0), 100);
    }
}
