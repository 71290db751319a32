//! Worker processes: sessions run in processes that have the module's identity for good and see nothing
//! but the module.
//!
//! ```text
//! front (listens, access, limits)          worker (one for each identity and root)
//!   pool ---- stdin: Charter + root ------->  process: identity, sandbox, then Ready
//!        ---- stdin: a byte + [client, line, slot] -->  a thread for each session
//!   relay <=== line: SessionOrder, then Reports and answers ===> front_line
//! ```
//!
//! The front closes a worker's standard input when it is idle, or when the daemon stops; the worker
//! ends with its last session. A worker that dies takes only its own sessions with it.

mod front_line;
mod handover;
mod pool;
mod process;
mod relay;
mod sandbox;
mod syscalls;

pub(crate) use front_line::FrontLine;
pub(crate) use pool::{DirectorySession, Hatchling, Pool, WorkerCommand};
pub use process::run_worker;
pub use sandbox::Protections;

use bstr::BString;

use crate::converter::Question;
use crate::identity::Identity;
use crate::metrics::Outcome;
use crate::packed::{Packed, PackedError, packed_struct};

/// Most bytes of an order: the rules of a module may come from files.
const ORDER_LIMIT: usize = 64 << 20;
/// Most bytes of any other message.
const MESSAGE_LIMIT: usize = 16 << 10;

/// What a worker is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Charter {
    identity: Identity,
    /// Sessions may change what is beneath the root.
    writes: bool,
}

packed_struct!(Charter { identity, writes });

/// A worker's answer to its charter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ready {
    /// It can take sessions.
    works: bool,
    /// What protects it, or why it does not work.
    text: String,
}

packed_struct!(Ready { works, text });

/// What a session tells or asks the front.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Report {
    /// A line for the log, with its severity in the system log.
    Log(u8, BString),
    /// A name is wanted, and the answer is an `Option<BString>`; or an id, and it is an `Option<u32>`.
    Asked(Question),
    /// The session is over.
    Ended(Outcome),
}

impl Packed for Report {
    fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Log(severity, text) => {
                out.extend([0, *severity]);
                text.pack(out);
            }
            Self::Asked(Question::User(id)) => {
                out.push(1);
                id.pack(out);
            }
            Self::Asked(Question::Group(id)) => {
                out.push(2);
                id.pack(out);
            }
            Self::Ended(outcome) => {
                out.push(3);
                outcome.code.pack(out);
                out.extend(outcome.sent.to_le_bytes());
                out.extend(outcome.received.to_le_bytes());
            }
            Self::Asked(Question::UserId(name)) => {
                out.push(4);
                name.pack(out);
            }
            Self::Asked(Question::GroupId(name)) => {
                out.push(5);
                name.pack(out);
            }
        }
    }

    fn unpack(input: &mut rsync_proto::wire::Cursor<'_>) -> Result<Self, PackedError> {
        Ok(match input.u8()? {
            0 => Self::Log(input.u8()?, BString::unpack(input)?),
            1 => Self::Asked(Question::User(input.u32()?)),
            2 => Self::Asked(Question::Group(input.u32()?)),
            3 => Self::Ended(Outcome {
                code: i32::unpack(input)?,
                sent: u64::from_le_bytes(input.array()?),
                received: u64::from_le_bytes(input.array()?),
            }),
            4 => Self::Asked(Question::UserId(BString::unpack(input)?)),
            5 => Self::Asked(Question::GroupId(BString::unpack(input)?)),
            _ => return Err(PackedError::Malformed("report")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::{frame, unframe};

    #[test]
    fn reports_arrive_as_they_were_sent() {
        let ended = Report::Ended(Outcome { code: 23, sent: 1 << 40, received: 5 });
        for report in [
            Report::Log(4, "x".into()),
            Report::Asked(Question::User(1)),
            Report::Asked(Question::Group(2)),
            Report::Asked(Question::UserId("u".into())),
            Report::Asked(Question::GroupId("g".into())),
            ended,
        ] {
            let bytes = frame(&report, MESSAGE_LIMIT).expect("short");
            assert_eq!(unframe::<Report>(&bytes[4..]).expect("whole"), report);
        }
        assert!(unframe::<Report>(&[9]).is_err());
    }
}
