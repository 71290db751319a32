//! Lines of log files (spec 07 §21, 09 §8).

use super::escape::escape_log;
use super::number::{Zone, date_time};

/// Longest text of one line; what is longer is cut.
pub const MAX_LOG_TEXT: usize = 2047;

/// Appends `YYYY/MM/DD HH:MM:SS [PID] TEXT` and a line feed to `out`; the text is escaped and cut to
/// [`MAX_LOG_TEXT`] bytes.
pub fn log_line(now: i64, zone: &dyn Zone, pid: u32, text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{} [{pid}] ", date_time(now, zone, ' ')).as_bytes());
    escape_log(&text[..text.len().min(MAX_LOG_TEXT)], out);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Utc;
    use bstr::BString;

    #[test]
    fn a_line_has_its_moment_and_process() {
        let mut out = Vec::new();
        log_line(1_000_000_000, &Utc, 42, b"x\x1bq\n", &mut out);
        assert_eq!(BString::from(out), "2001/09/09 01:46:40 [42] x\\#033q\n");
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut out = Vec::new();
        log_line(0, &Utc, 1, &[b'x'; 5000], &mut out);
        assert_eq!(out.len(), "1970/01/01 00:00:00 [1] \n".len() + MAX_LOG_TEXT);
    }
}
