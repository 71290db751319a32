//! Rule files that whoever runs this side names: by option, or inside other rules (spec 06 §2.5).

use std::io::{self, Read};
use std::sync::Arc;

use rsync_proto::filter::{FilterNote, OpenFailure, RuleFile, RuleFiles};
use rsync_proto::text::{Event, EventSink, Severity, describe_errno};

use crate::tree::Tree;

/// Longest text that is read from standard input, in bytes.
const LONGEST: u64 = 64 << 20;

/// Reads rule files through a tree: relative names start at the tree's start.
pub struct OperatorFiles {
    tree: Arc<dyn Tree>,
    events: Arc<dyn EventSink>,
    stdin: Option<Box<dyn Read + Send>>,
}

impl OperatorFiles {
    /// Reads files of `tree`, and says through `events` what is odd about them. The name `-` is the
    /// text of `stdin`, which only a client has to give.
    #[must_use]
    pub fn new(tree: Arc<dyn Tree>, events: Arc<dyn EventSink>, stdin: Option<Box<dyn Read + Send>>) -> Self {
        Self { tree, events, stdin }
    }

    /// The text of a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self, name: &[u8]) -> io::Result<Vec<u8>> {
        let Some(stdin) = self.stdin.as_mut().filter(|_| name == b"-") else {
            return self.tree.read_operator_file(name);
        };
        let mut text = Vec::new();
        stdin.take(LONGEST).read_to_end(&mut text)?;
        Ok(text)
    }
}

impl RuleFiles for OperatorFiles {
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        let text = match file {
            RuleFile::Named(name) => Self::read(self, name),
            RuleFile::PerDirectory { directory, name } => {
                self.tree.read_operator_file(&[directory, b"/", name].concat())
            }
        };
        text.map_err(|error| OpenFailure { reason: describe_errno(error.raw_os_error().unwrap_or_default()) })
    }

    fn note(&mut self, note: FilterNote) {
        if let FilterNote::OverLong { .. } = note {
            let text = format!("{note}\n");
            self.events.emit(Event::PeerText { severity: Severity::Error, text: text.as_bytes() });
        }
    }
}

impl std::fmt::Debug for OperatorFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorFiles").field("stdin", &self.stdin.is_some()).finish_non_exhaustive()
    }
}
