//! The argument lists a client sends after `OK` (spec 01 §2.7, §2.8), and those a remote shell's server
//! reads first with `--secluded-args` (§3.6).

use bstr::{BString, ByteSlice};

use super::version::ProtocolNumber;
use crate::exit::ExitCode;
use crate::options::ServerWords;
use crate::wire::{Cursor, NeedsInput, WireError};

/// Why an argument list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// The element has not ended yet.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// An element is too long. (The C rsync cuts it silently.)
    #[error("argument {index} is longer than {limit} bytes")]
    TooLong {
        /// Its position in the list.
        index: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// The list does not end in time.
    #[error("too many daemon arguments")]
    TooMany,
    /// All elements together are too long.
    #[error("the daemon's arguments are longer than {limit} bytes")]
    ListTooLong {
        /// Most bytes allowed.
        limit: usize,
    },
}

impl ArgumentError {
    /// What the server exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::PROTOCOL
    }
}

impl NeedsInput for ArgumentError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// Appends the lists of a daemon request; `protocol` is the one agreed on.
pub fn put_daemon_arguments(out: &mut Vec<u8>, words: &ServerWords, protocol: i32) {
    put_list(out, &words.first, if ProtocolNumber(protocol).ends_words_in_nul() { 0 } else { b'\n' });
    if let Some(second) = &words.second {
        put_secluded_arguments(out, second);
    }
}

/// Appends a second list, whose element 0 is `rsync`.
pub fn put_secluded_arguments(out: &mut Vec<u8>, words: &[BString]) {
    put_list(out, words, 0);
}

fn put_list(out: &mut Vec<u8>, words: &[BString], end: u8) {
    for word in words {
        out.extend_from_slice(word);
        out.push(end);
    }
    out.push(end);
}

/// Reads one list, element by element.
#[derive(Clone, Debug)]
pub struct ArgumentReader {
    nul_ended: bool,
    count: usize,
    bytes: usize,
}

impl ArgumentReader {
    /// Most bytes of an element.
    pub const ELEMENT_LIMIT: usize = 5119;
    /// Most elements of a list.
    pub const COUNT_LIMIT: usize = 15_998;
    /// Most bytes of all elements.
    pub const LIST_LIMIT: usize = 4 << 20;

    /// A daemon's first list; `protocol` is the one agreed on.
    #[must_use]
    pub fn first(protocol: i32) -> Self {
        Self { nul_ended: ProtocolNumber(protocol).ends_words_in_nul(), count: 0, bytes: 0 }
    }

    /// A second list, or the list of a remote shell's server.
    #[must_use]
    pub fn secluded() -> Self {
        Self { nul_ended: true, count: 0, bytes: 0 }
    }

    /// The next element, or `None` at the end of the list.
    ///
    /// # Errors
    /// [`ArgumentError`], of which [`WireError::Incomplete`] asks for more.
    pub fn next(&mut self, input: &mut Cursor<'_>) -> Result<Option<BString>, ArgumentError> {
        let limit = Self::ELEMENT_LIMIT;
        let rest = input.rest();
        let is_end = |byte: &u8| if self.nul_ended { *byte == 0 } else { matches!(byte, b'\n' | b'\r') };
        let end = rest.iter().take(limit + 1).position(is_end);
        let Some(end) = end else {
            return Err(if rest.len() > limit {
                ArgumentError::TooLong { index: self.count, limit }
            } else {
                WireError::Incomplete { missing: 1 }.into()
            });
        };
        if end > 0 && self.count >= Self::COUNT_LIMIT {
            return Err(ArgumentError::TooMany);
        }
        if self.bytes + end > Self::LIST_LIMIT {
            return Err(ArgumentError::ListTooLong { limit: Self::LIST_LIMIT });
        }
        let element = input.take(end + 1)?[..end].into();
        self.count += 1;
        self.bytes += end;
        Ok((end > 0).then_some(element))
    }
}

/// Takes the backslashes from the options of a first list: from everything up to the first `.`.
pub fn unescape_options(words: &mut [BString]) {
    for word in words {
        let is_dot = word == ".";
        unescape(word);
        if is_dot {
            return;
        }
    }
}

fn unescape(word: &mut BString) {
    let mut escaped = false;
    let mut out = Vec::with_capacity(word.len());
    for &byte in word.iter() {
        if byte == b'\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        out.push(byte);
    }
    if escaped {
        out.push(b'\\');
    }
    *word = out.into();
}

/// The paths behind the `.` without the module's name: a name that begins each of them is dropped, and
/// unless the list is `secluded`, each ` MODULE/` begins another path. Nothing is expanded or cleaned.
#[must_use]
pub fn module_paths(paths: &[BString], module: &[u8], secluded: bool) -> Vec<BString> {
    let separator = [b" ", module, b"/"].concat();
    let strip = |path: &[u8]| BString::from(path.strip_prefix(module).unwrap_or(path));
    paths
        .iter()
        .flat_map(|path| {
            if secluded {
                return vec![strip(path)];
            }
            let mut pieces = path.split_str(&separator);
            let first = pieces.next().map(strip);
            first.into_iter().chain(pieces.map(BString::from)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(words: &[&str]) -> Vec<BString> {
        words.iter().map(|&word| BString::from(word)).collect()
    }

    fn read(mut reader: ArgumentReader, bytes: &[u8]) -> Result<(Vec<BString>, usize), ArgumentError> {
        let mut input = Cursor::new(bytes);
        let mut found = Vec::new();
        while let Some(word) = reader.next(&mut input)? {
            found.push(word);
        }
        Ok((found, input.position()))
    }

    #[test]
    fn lists_are_sent_as_recorded() {
        let first = words(&["--server", "--sender", "-logDtpre.iLsfxCIvu", ".", "pub/"]);
        let mut out = Vec::new();
        put_daemon_arguments(&mut out, &ServerWords { first, second: None }, 32);
        assert_eq!(out.as_bstr(), b"--server\0--sender\0-logDtpre.iLsfxCIvu\0.\0pub/\0\0".as_bstr());
        let first = words(&["--server", "--sender", "-logDtpr", ".", "pub/"]);
        let mut out = Vec::new();
        put_daemon_arguments(&mut out, &ServerWords { first, second: None }, 29);
        assert_eq!(out.as_bstr(), b"--server\n--sender\n-logDtpr\n.\npub/\n\n".as_bstr());
    }

    #[test]
    fn a_secluded_list_is_sent_as_recorded() {
        let second = words(&["rsync", "--delete", "--checksum-seed=1000", "--usermap=*:root", ".", "d s/"]);
        let mut out = Vec::new();
        put_secluded_arguments(&mut out, &second);
        let expected = b"rsync\0--delete\0--checksum-seed=1000\0--usermap=*:root\0.\0d s/\0\0";
        assert_eq!(out.as_bstr(), expected.as_bstr());
        assert_eq!(read(ArgumentReader::secluded(), &out), Ok((second, out.len())));
    }

    #[test]
    fn old_lists_end_at_an_empty_line_even_with_carriage_returns() {
        assert_eq!(read(ArgumentReader::first(29), b"a\nb\n\nrest"), Ok((words(&["a", "b"]), 5)));
        assert_eq!(read(ArgumentReader::first(29), b"a\r\nb"), Ok((words(&["a"]), 3)));
        assert_eq!(read(ArgumentReader::first(30), b"a\nb\0\0"), Ok((words(&["a\nb"]), 5)));
    }

    #[test]
    fn length_and_number_of_elements_are_limited() {
        let long = [&[b'x'; 5120][..], b"\0\0"].concat();
        assert_eq!(
            read(ArgumentReader::first(32), &long),
            Err(ArgumentError::TooLong { index: 0, limit: 5119 })
        );
        assert!(read(ArgumentReader::first(32), &long[1..]).is_ok());
        let many = [b"a\0".repeat(15_998), b"\0".to_vec()].concat();
        assert_eq!(read(ArgumentReader::first(32), &many).map(|found| found.0.len()), Ok(15_998));
        let many = [b"a\0".repeat(15_999), b"\0".to_vec()].concat();
        assert_eq!(read(ArgumentReader::first(32), &many), Err(ArgumentError::TooMany));
        let element = [&[b'x'; 4095][..], b"\0"].concat();
        assert!(read(ArgumentReader::first(32), &[element.repeat(1024), b"\0".to_vec()].concat()).is_ok());
        let limit = ArgumentReader::LIST_LIMIT;
        assert_eq!(
            read(ArgumentReader::secluded(), &element.repeat(1026)),
            Err(ArgumentError::ListTooLong { limit })
        );
    }

    #[test]
    fn backslashes_are_taken_from_options_only() {
        let mut list = words(&[r"--usermap=\*:a\\b\", ".", r"m/\x"]);
        unescape_options(&mut list);
        assert_eq!(list, words(&[r"--usermap=*:a\b\", ".", r"m/\x"]));
    }

    #[test]
    fn module_names_are_dropped_from_paths() {
        let paths = |paths: &[&str], secluded| module_paths(&words(paths), b"pub", secluded);
        assert_eq!(paths(&["pub/x", "pub", "pubother/y"], false), words(&["/x", "", "other/y"]));
        assert_eq!(paths(&["pub/a1 pub/a2"], false), words(&["/a1", "a2"]));
        assert_eq!(paths(&["pub/a1 pub/a2"], true), words(&["/a1 pub/a2"]));
        assert_eq!(paths(&["pub/a1[ ]pub/a2", "other/z"], false), words(&["/a1[ ]pub/a2", "other/z"]));
    }

    proptest! {
        #[test]
        fn lists_are_read_back(
            list in proptest::collection::vec("[^\0\r\n]{1,20}", 0..9),
            protocol in 27_i32..=32,
        ) {
            let first: Vec<BString> = list.into_iter().map(BString::from).collect();
            let mut out = Vec::new();
            put_daemon_arguments(&mut out, &ServerWords { first: first.clone(), second: None }, protocol);
            prop_assert_eq!(read(ArgumentReader::first(protocol), &out), Ok((first, out.len())));
        }
    }
}
