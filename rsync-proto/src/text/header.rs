//! The line a client prints while the first file list comes about (spec 07 §17), from
//! `--info=flist` on, and its counter from `--info=flist2` on.

/// The line at the start; ends with a line feed unless [`file_list_end`] will finish it.
/// `None` if there is none: no directories are transferred and the list is not incremental.
#[must_use]
pub fn file_list_start(sending: bool, incremental: bool, directories: bool) -> Option<&'static str> {
    match (incremental, sending) {
        (true, true) => Some("sending incremental file list\n"),
        (true, false) => Some("receiving incremental file list\n"),
        (false, _) if !directories => None,
        (false, true) => Some("building file list ... "),
        (false, false) => Some("receiving file list ... "),
    }
}

/// The counter while the list grows, due at 0, 100, 200... entries.
#[must_use]
pub fn file_list_count(entries: u64) -> String {
    format!(" {entries} files...\r")
}

/// What finishes the line of a list that is not incremental, with its line feed.
#[must_use]
pub fn file_list_end(entries: u64, counted: bool) -> String {
    match (counted, entries) {
        (false, _) => "done\n".to_owned(),
        (true, 1) => "1 file to consider\n".to_owned(),
        (true, _) => format!("{entries} files to consider\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incremental_list_has_a_whole_line_and_others_one_in_two_parts() {
        assert_eq!(file_list_start(true, true, true), Some("sending incremental file list\n"));
        assert_eq!(file_list_start(false, true, false), Some("receiving incremental file list\n"));
        assert_eq!(file_list_start(true, false, true), Some("building file list ... "));
        assert_eq!(file_list_start(false, false, true), Some("receiving file list ... "));
        assert_eq!(file_list_start(true, false, false), None);
    }

    #[test]
    fn the_end_counts_entries_only_if_the_counter_ran() {
        assert_eq!(file_list_end(4, false), "done\n");
        assert_eq!(file_list_end(1, true), "1 file to consider\n");
        assert_eq!(file_list_end(4, true), "4 files to consider\n");
        assert_eq!(file_list_count(0), " 0 files...\r");
    }
}
