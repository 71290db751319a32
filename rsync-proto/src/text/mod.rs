//! What rsync says: typed events, and their rendering to text without printing any of it.
//!
//! The engine emits borrowed [`Event`]s to an [`EventSink`]; a program renders them with the parts of
//! this module and decides the stream, a server puts the same text into messages for its client.
//! Every text exists once: fixed ones in [`message`] and [`failure`], lines made of numbers in
//! [`header`], [`summary`], [`progress`] and [`list`], lines per item in [`itemize`](mod@itemize) and [`format`](mod@format),
//! the last line in [`exit_line`](mod@exit_line). Texts are unescaped; whoever prints them passes them
//! through [`escape`] (spec 07 §3, §15 to §21).

pub mod escape;
pub mod event;
pub mod exit_line;
pub mod failure;
pub mod format;
pub mod header;
pub mod itemize;
pub mod list;
pub mod log;
pub mod message;
pub mod number;
pub mod place;
pub mod progress;
pub mod summary;

pub use escape::{Charset, escape_log, escape_message, escape_name};
pub use event::{
    Direction, EntryFacts, EntryKind, Event, EventSink, Item, Moment, Progress, Role, Severity, Stage, Topic,
};
pub use exit_line::{VERSION, exit_line};
pub use failure::{Failure, SystemFailure, describe_errno};
pub use format::{LineContext, LineFormat, ModuleFacts};
pub use header::{file_list_count, file_list_end, file_list_start};
pub use itemize::itemize;
pub use list::ListStyle;
pub use log::{MAX_LOG_TEXT, log_line};
pub use message::{ExistsDetail, Kept, Message, OptionDir};
pub use number::{Human, Numbers, Utc, Zone, date_time};
pub use place::Place;
pub use progress::ProgressLine;
pub use summary::{KindCounts, RunMode, Totals};

#[cfg(test)]
mod testing {
    use super::{Direction, EntryFacts, Item};
    use crate::phase::ItemFlags;

    /// An item about `f` with these flags and mode.
    pub(super) fn item(flags: u16, mode: u32) -> Item<'static> {
        Item {
            flags: ItemFlags::from_bits(flags),
            detailed: true,
            xname: None,
            direction: Direction::Received,
            entry: EntryFacts {
                name: b"f",
                source_dir: b"",
                mode,
                size: 0,
                mtime: 1_000_000_000,
                atime: None,
                crtime: None,
                uid: 0,
                gid: None,
                target: None,
            },
            data_bytes: 0,
            sum_bytes: 0,
            digest: None,
        }
    }
}
