//! The lines at the end of a session (spec 07 §17).

use super::number::Numbers;

/// How many entries of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices.
    pub devices: u64,
    /// Sockets and fifos.
    pub specials: u64,
}

/// The numbers of a session as its client sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of the file list.
    pub listed: KindCounts,
    /// Entries that did not exist; `None` below protocol 29.
    pub created: Option<KindCounts>,
    /// Entries deleted; `None` below protocol 31.
    pub deleted: Option<KindCounts>,
    /// Regular files whose data was transferred.
    pub transferred: u64,
    /// Bytes of all regular files and link targets of the list.
    pub total_size: u64,
    /// Bytes of the transferred files.
    pub transferred_size: u64,
    /// Bytes of them that were sent.
    pub literal: u64,
    /// Bytes of them that were found in basis files.
    pub matched: u64,
    /// Bytes of the file list.
    pub list_size: u64,
    /// Milliseconds to build the list; 0 if unknown.
    pub list_build_ms: u64,
    /// Milliseconds to transfer the list.
    pub list_transfer_ms: u64,
    /// Bytes written to the peer.
    pub sent: u64,
    /// Bytes read from the peer.
    pub received: u64,
    /// Whole seconds the session took.
    pub seconds: u64,
}

/// What the last line says about a session that changed nothing here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunMode {
    /// An ordinary run.
    #[default]
    Normal,
    /// `--dry-run`
    DryRun,
    /// `--only-write-batch`
    BatchOnly,
}

impl RunMode {
    fn suffix(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::DryRun => " (DRY RUN)",
            Self::BatchOnly => " (BATCH ONLY)",
        }
    }
}

impl KindCounts {
    /// All entries; counts from a peer saturate.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.files, self.dirs, self.symlinks, self.devices, self.specials]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Counts one more entry of a kind.
    pub fn add(&mut self, kind: super::EntryKind) {
        match kind {
            super::EntryKind::File => self.files += 1,
            super::EntryKind::Dir => self.dirs += 1,
            super::EntryKind::Symlink => self.symlinks += 1,
            super::EntryKind::Device => self.devices += 1,
            super::EntryKind::Special => self.specials += 1,
        }
    }

    fn text(&self, numbers: &Numbers) -> String {
        let parts: Vec<String> = [
            ("reg", self.files),
            ("dir", self.dirs),
            ("link", self.symlinks),
            ("dev", self.devices),
            ("special", self.specials),
        ]
        .into_iter()
        .filter(|&(_, count)| count > 0)
        .map(|(label, count)| format!("{label}: {}", numbers.count(count)))
        .collect();
        let total = numbers.count(self.total());
        if parts.is_empty() { total } else { format!("{total} ({})", parts.join(", ")) }
    }
}

impl Totals {
    /// The block of `--stats` (`--info=stats2`), a blank line first, each line with its line feed.
    #[must_use]
    pub fn statistics(&self, numbers: &Numbers) -> String {
        let bytes = |value| numbers.bytes(value);
        let seconds = |ms: u64| format!("{}.{:03}", numbers.count(ms / 1000), ms % 1000);
        let mut lines = vec![String::new(), format!("Number of files: {}", self.listed.text(numbers))];
        if let Some(created) = &self.created {
            lines.push(format!("Number of created files: {}", created.text(numbers)));
        }
        if let Some(deleted) = &self.deleted {
            lines.push(format!("Number of deleted files: {}", deleted.text(numbers)));
        }
        lines.push(format!("Number of regular files transferred: {}", numbers.count(self.transferred)));
        lines.push(format!("Total file size: {} bytes", bytes(self.total_size)));
        lines.push(format!("Total transferred file size: {} bytes", bytes(self.transferred_size)));
        lines.push(format!("Literal data: {} bytes", bytes(self.literal)));
        lines.push(format!("Matched data: {} bytes", bytes(self.matched)));
        lines.push(format!("File list size: {}", bytes(self.list_size)));
        if self.list_build_ms > 0 {
            lines.push(format!("File list generation time: {} seconds", seconds(self.list_build_ms)));
            lines.push(format!("File list transfer time: {} seconds", seconds(self.list_transfer_ms)));
        }
        lines.push(format!("Total bytes sent: {}", bytes(self.sent)));
        lines.push(format!("Total bytes received: {}", bytes(self.received)));
        lines.join("\n") + "\n"
    }

    /// The two lines at the end (`--info=stats1`), a blank line first, each line with its line feed.
    #[must_use]
    pub fn summary(&self, numbers: &Numbers, mode: RunMode) -> String {
        format!("\n{}\n{}\n", self.traffic(numbers), self.speedup(numbers, mode))
    }

    /// `sent N bytes  received N bytes  N bytes/sec`
    #[must_use]
    pub fn traffic(&self, numbers: &Numbers) -> String {
        let moved = self.sent.saturating_add(self.received);
        format!(
            "sent {} bytes  received {} bytes  {} bytes/sec",
            numbers.bytes(self.sent),
            numbers.bytes(self.received),
            numbers.rate(moved as f64 / (0.5 + self.seconds as f64)),
        )
    }

    /// `total size is N  speedup is N`; nothing moved counts as speedup 0.
    #[must_use]
    pub fn speedup(&self, numbers: &Numbers, mode: RunMode) -> String {
        let moved = self.sent.saturating_add(self.received);
        let speedup = if moved == 0 { 0.0 } else { self.total_size as f64 / moved as f64 };
        format!(
            "total size is {}  speedup is {}{}",
            numbers.bytes(self.total_size),
            numbers.ratio(speedup),
            mode.suffix(),
        )
    }

    /// The only line a log file gets at the end of a run without `--info=stats1`.
    #[must_use]
    pub fn log_line(&self) -> String {
        format!("sent {} bytes  received {} bytes  total size {}", self.sent, self.received, self.total_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Human;

    fn golden() -> Totals {
        Totals {
            listed: KindCounts { files: 3, dirs: 2, symlinks: 1, ..KindCounts::default() },
            created: Some(KindCounts { files: 3, dirs: 2, symlinks: 1, ..KindCounts::default() }),
            deleted: Some(KindCounts::default()),
            transferred: 3,
            total_size: 20,
            transferred_size: 18,
            literal: 18,
            list_build_ms: 1,
            sent: 315,
            received: 112,
            ..Totals::default()
        }
    }

    #[test]
    fn the_summary_is_the_one_of_the_specification() {
        assert_eq!(
            golden().summary(&Numbers::default(), RunMode::Normal),
            "\nsent 315 bytes  received 112 bytes  854.00 bytes/sec\ntotal size is 20  speedup is 0.05\n"
        );
    }

    #[test]
    fn the_statistics_block_has_every_line_in_order() {
        let expected = "
Number of files: 6 (reg: 3, dir: 2, link: 1)
Number of created files: 6 (reg: 3, dir: 2, link: 1)
Number of deleted files: 0
Number of regular files transferred: 3
Total file size: 20 bytes
Total transferred file size: 18 bytes
Literal data: 18 bytes
Matched data: 0 bytes
File list size: 0
File list generation time: 0.001 seconds
File list transfer time: 0.000 seconds
Total bytes sent: 315
Total bytes received: 112
";
        assert_eq!(golden().statistics(&Numbers::default()), expected);
    }

    #[test]
    fn old_protocols_know_neither_created_nor_deleted_files_nor_list_times() {
        let totals = Totals { created: None, deleted: None, list_build_ms: 0, ..golden() };
        let text = totals.statistics(&Numbers::default());
        assert!(!text.contains("created") && !text.contains("deleted") && !text.contains("time"));
    }

    #[test]
    fn counts_have_separators_where_sizes_have_units() {
        let totals = Totals {
            listed: KindCounts { files: 1234, ..KindCounts::default() },
            total_size: 1_234_567,
            ..golden()
        };
        let text = totals.statistics(&Numbers::new(Human::Decimal));
        assert!(text.contains("Number of files: 1,234 (reg: 1,234)\n"), "{text}");
        assert!(text.contains("Total file size: 1.23M bytes\n"), "{text}");
    }

    #[test]
    fn a_session_without_effect_says_so() {
        let numbers = Numbers::default();
        assert!(golden().speedup(&numbers, RunMode::DryRun).ends_with("0.05 (DRY RUN)"));
        assert!(golden().speedup(&numbers, RunMode::BatchOnly).ends_with("0.05 (BATCH ONLY)"));
    }

    #[test]
    fn nonsense_from_a_peer_does_not_divide_by_zero() {
        let totals = Totals { sent: 0, received: 0, ..golden() };
        assert_eq!(totals.speedup(&Numbers::default(), RunMode::Normal), "total size is 20  speedup is 0.00");
        let totals = Totals { sent: u64::MAX, received: u64::MAX, ..golden() };
        assert!(!totals.traffic(&Numbers::default()).is_empty());
    }

    #[test]
    fn the_log_line_is_plain() {
        assert_eq!(golden().log_line(), "sent 315 bytes  received 112 bytes  total size 20");
    }
}
