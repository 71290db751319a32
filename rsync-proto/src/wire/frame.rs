//! Frame headers, the messages that travel between DATA frames, and who may send which
//! (spec 02 §2).

use super::{Cursor, NeedsInput, WireError};
use crate::exit::{ExitCode, IoErrorFlags};
use crate::session::Negotiated;
use crate::text::Severity;

/// Longest payload of a text or name message that is accepted, in bytes.
const MAX_MESSAGE: usize = 5119;

macro_rules! message_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kind of a frame (spec 02 §2.4). The codes a C rsync uses only between its own
        /// processes are known, so that they can be told from unknown ones.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MessageCode { $($(#[$doc])* $name = $code,)* }

        impl MessageCode {
            fn from_code(code: i32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

message_codes! {
    /// Bytes of the data stream.
    Data = 0,
    /// Error text; the run ends with 23 at least.
    ErrorXfer = 1,
    /// Text for standard output.
    Info = 2,
    /// Error text without effect on the exit code.
    Error = 3,
    /// Warning text.
    Warning = 4,
    /// Between C processes only.
    ErrorSocket = 5,
    /// Between C processes only.
    Log = 6,
    /// Between C processes only.
    Client = 7,
    /// Between C processes only.
    ErrorUtf8 = 8,
    /// Between C processes only.
    Redo = 9,
    /// Between C processes only.
    Stats = 10,
    /// The sender's error flags changed.
    IoError = 22,
    /// A daemon announces its timeout.
    IoTimeout = 33,
    /// The keep-alive of some 3.0.x releases.
    Noop = 42,
    /// The peer dies, or acknowledges that we do.
    ErrorExit = 86,
    /// A file is in place; its source may be removed.
    Success = 100,
    /// A file was deleted at the destination.
    Deleted = 101,
    /// A requested file will not come.
    NoSend = 102,
}

impl MessageCode {
    /// Where the text of this kind goes; `None` for kinds that carry none.
    #[must_use]
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::ErrorXfer => Some(Severity::TransferError),
            Self::Info => Some(Severity::Info),
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            _ => None,
        }
    }
}

/// Header of one multiplexed frame: 4 bytes little-endian, length in the low 24 bits, message code
/// plus 7 in the high 8 (spec 02 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The kind of frame.
    pub code: MessageCode,
    /// Payload length in bytes, at most [`FrameHeader::MAX_LEN`].
    pub len: usize,
}

impl FrameHeader {
    /// Encoded size in bytes.
    pub const SIZE: usize = 4;
    /// Longest payload a header can announce.
    pub const MAX_LEN: usize = (1 << 24) - 1;

    /// Decodes the header at the front of `input`.
    ///
    /// # Errors
    /// [`FrameError::UnexpectedTag`] for an unknown code; [`WireError::Incomplete`].
    pub fn decode(input: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let word = input.u32()?;
        let tag = (word >> 24) as i32 - 7;
        let code = MessageCode::from_code(tag).ok_or(FrameError::UnexpectedTag { tag })?;
        Ok(Self { code, len: (word & 0x00ff_ffff) as usize })
    }

    /// The encoded header.
    #[must_use]
    pub fn encode(self) -> [u8; Self::SIZE] {
        debug_assert!(self.len <= Self::MAX_LEN, "frame of {} bytes", self.len);
        ((self.code as u32 + 7) << 24 | self.len as u32).to_le_bytes()
    }
}

/// Why a frame was refused; all exit 12.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such message code.
    #[error("unexpected tag {tag}")]
    UnexpectedTag {
        /// The code received, negative for a high byte below 7.
        tag: i32,
    },
    /// The peer may not send this message, or not of this size.
    #[error("invalid multi-message {code}:{len}")]
    InvalidMessage {
        /// The message code.
        code: u8,
        /// Payload length in bytes.
        len: usize,
    },
    /// A text or name is too long.
    #[error("multiplexing overflow {code}:{len}")]
    Overflow {
        /// The message code.
        code: u8,
        /// Payload length in bytes.
        len: usize,
    },
    /// The data stream should turn raw, but its last frame goes on (spec 02 §2.2).
    #[error("a frame reaches into the unframed part of the stream")]
    FrameInRawWindow,
    /// The bytes are not there.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl FrameError {
    /// What rsync's process would exit with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::STREAM
    }
}

impl NeedsInput for FrameError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// A frame that is not data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text for the user of the client, usually a whole line.
    Text {
        /// ErrorXfer, Info, Error or Warning.
        code: MessageCode,
        /// Any bytes; to be escaped before they are printed.
        bytes: Vec<u8>,
    },
    /// The sender's error flags, to be added to those known.
    IoError(IoErrorFlags),
    /// The daemon's timeout in seconds as received; only 1 to 86400 means something (spec 02 §3.2).
    IoTimeout(i32),
    /// The peer dies with this code; without a code it acknowledges ours (spec 02 §9.3).
    ErrorExit(Option<i32>),
    /// The item is in place. The index is not checked yet.
    Success(u32),
    /// An entry was deleted at the destination.
    Deleted {
        /// Path below the destination.
        name: Vec<u8>,
        /// Whether it was a directory.
        is_dir: bool,
    },
    /// The requested item will not come. The index is not checked yet.
    NoSend(u32),
    /// A keep-alive.
    Noop,
}

impl Message {
    /// The kind of frame it travels in.
    #[must_use]
    pub fn code(&self) -> MessageCode {
        match self {
            Self::Text { code, .. } => *code,
            Self::IoError(_) => MessageCode::IoError,
            Self::IoTimeout(_) => MessageCode::IoTimeout,
            Self::ErrorExit(_) => MessageCode::ErrorExit,
            Self::Success(_) => MessageCode::Success,
            Self::Deleted { .. } => MessageCode::Deleted,
            Self::NoSend(_) => MessageCode::NoSend,
            Self::Noop => MessageCode::Noop,
        }
    }

    /// Decodes the whole `payload` of a frame that [`Legal::check`] let pass.
    ///
    /// # Errors
    /// [`FrameError::InvalidMessage`] for a payload that does not fit the code.
    pub fn decode(code: MessageCode, payload: &[u8]) -> Result<Self, FrameError> {
        let invalid = || FrameError::InvalidMessage { code: code as u8, len: payload.len() };
        let int = || <[u8; 4]>::try_from(payload).map(i32::from_le_bytes).map_err(|_| invalid());
        let index = || int().and_then(|value| u32::try_from(value).map_err(|_| invalid()));
        Ok(match code {
            MessageCode::ErrorXfer | MessageCode::Info | MessageCode::Error | MessageCode::Warning => {
                Self::Text { code, bytes: payload.to_vec() }
            }
            MessageCode::IoError => Self::IoError(IoErrorFlags::from_wire(int()?)),
            MessageCode::IoTimeout => Self::IoTimeout(int()?),
            MessageCode::ErrorExit if payload.is_empty() => Self::ErrorExit(None),
            MessageCode::ErrorExit => Self::ErrorExit(Some(int()?)),
            MessageCode::Success => Self::Success(index()?),
            MessageCode::NoSend => Self::NoSend(index()?),
            MessageCode::Deleted => match payload.split_last() {
                Some((0, name)) => Self::Deleted { name: name.to_vec(), is_dir: true },
                _ => Self::Deleted { name: payload.to_vec(), is_dir: false },
            },
            MessageCode::Noop => Self::Noop,
            _ => return Err(invalid()),
        })
    }

    /// Appends the payload of its frame.
    pub(super) fn encode_payload(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text { bytes, .. } => out.extend_from_slice(bytes),
            Self::IoError(flags) => out.extend_from_slice(&flags.bits().to_le_bytes()),
            Self::IoTimeout(number) | Self::ErrorExit(Some(number)) => {
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Success(index) | Self::NoSend(index) => out.extend_from_slice(&index.to_le_bytes()),
            Self::Deleted { name, is_dir } => {
                out.extend_from_slice(name);
                if *is_dir {
                    out.push(0);
                }
            }
            Self::ErrorExit(None) | Self::Noop => {}
        }
    }
}

/// Which messages one side of a session may receive: the table of spec 02 §2.4, read strictly.
///
/// The C rsync takes some of them in directions where they make no sense; we do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legal {
    is_client: bool,
    is_sender: bool,
    removes_source_files: bool,
    modern: bool,
    item_flags: bool,
    error_exit: bool,
}

impl Legal {
    /// The rule for the side that is the client (or not) and the sender (or not), in a session with
    /// `--remove-source-files` (or not).
    #[must_use]
    pub fn new(
        negotiated: &Negotiated,
        is_client: bool,
        is_sender: bool,
        removes_source_files: bool,
    ) -> Self {
        Self {
            is_client,
            is_sender,
            removes_source_files,
            modern: negotiated.is_modern(),
            item_flags: negotiated.has_item_flags(),
            error_exit: negotiated.has_long_goodbye(),
        }
    }

    /// The rule for the other side of the same session.
    #[must_use]
    pub fn of_peer(self) -> Self {
        Self { is_client: !self.is_client, is_sender: !self.is_sender, ..self }
    }

    /// Whether frames with `code` may arrive.
    #[must_use]
    pub fn allows(&self, code: MessageCode) -> bool {
        use MessageCode as C;
        match code {
            C::Data => true,
            C::ErrorXfer | C::Info => self.is_client,
            C::Error | C::Warning => self.is_client && self.modern,
            C::IoError | C::NoSend => !self.is_sender && self.modern,
            C::IoTimeout => self.is_client && self.error_exit,
            C::Noop => self.modern,
            C::ErrorExit => self.error_exit,
            C::Success => self.is_sender && self.removes_source_files,
            C::Deleted => self.is_client && self.is_sender && self.item_flags,
            C::ErrorSocket | C::Log | C::Client | C::ErrorUtf8 | C::Redo | C::Stats => false,
        }
    }

    /// Checks a header before its payload is buffered.
    ///
    /// # Errors
    /// [`FrameError::InvalidMessage`] and [`FrameError::Overflow`].
    pub fn check(&self, header: FrameHeader) -> Result<(), FrameError> {
        use MessageCode as C;
        let FrameHeader { code, len } = header;
        let fits = match code {
            C::IoError | C::IoTimeout | C::Success | C::NoSend => len == 4,
            C::ErrorExit => len == 0 || len == 4,
            C::Noop => len == 0,
            C::Deleted => len > 0,
            _ => true,
        };
        let is_text = matches!(code, C::ErrorXfer | C::Info | C::Error | C::Warning | C::Deleted);
        if is_text && len > MAX_MESSAGE {
            return Err(FrameError::Overflow { code: code as u8, len });
        }
        if !fits || !self.allows(code) {
            return Err(FrameError::InvalidMessage { code: code as u8, len });
        }
        Ok(())
    }

    /// Whether this side understands ERROR and WARNING; below protocol 30 they travel as
    /// ERROR_XFER and INFO.
    pub(super) fn has_fine_severities(&self) -> bool {
        self.modern
    }

    /// Longest text to send to this side in one frame, in bytes.
    pub(super) fn text_limit(&self) -> usize {
        if self.item_flags { 4096 } else { 999 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CompatFlags;
    use MessageCode as C;

    fn legal(protocol: u8, is_client: bool, is_sender: bool) -> Legal {
        Legal::new(&Negotiated::new(protocol, CompatFlags::default()), is_client, is_sender, false)
    }

    #[test]
    fn headers_have_the_golden_form() {
        let golden: [(MessageCode, usize, [u8; 4]); 5] = [
            (C::Data, 0, [0, 0, 0, 7]),
            (C::Data, 0xff_ffff, [0xff, 0xff, 0xff, 7]),
            (C::Deleted, 5, [5, 0, 0, 0x6c]),
            (C::NoSend, 4, [4, 0, 0, 0x6d]),
            (C::ErrorExit, 0, [0, 0, 0, 0x5d]),
        ];
        for (code, len, bytes) in golden {
            let header = FrameHeader { code, len };
            assert_eq!(header.encode(), bytes);
            assert_eq!(FrameHeader::decode(&mut Cursor::new(&bytes)), Ok(header));
        }
    }

    #[test]
    fn an_unknown_code_is_an_unexpected_tag() {
        let error = FrameHeader::decode(&mut Cursor::new(&[0, 0, 0, 0x50])).expect_err("unknown");
        assert_eq!(error.to_string(), "unexpected tag 73");
        let error = FrameHeader::decode(&mut Cursor::new(&[0, 0, 0, 6])).expect_err("below 7");
        assert_eq!(error.to_string(), "unexpected tag -1");
    }

    #[test]
    fn a_server_takes_no_texts_and_a_client_does() {
        for code in [C::ErrorXfer, C::Info, C::Error, C::Warning] {
            assert!(legal(31, true, false).allows(code));
            assert!(!legal(31, false, false).allows(code));
        }
        assert!(!legal(29, true, false).allows(C::Error));
        assert!(legal(29, true, false).allows(C::ErrorXfer));
    }

    #[test]
    fn transfer_messages_pass_in_their_direction_only() {
        let client_sender = legal(31, true, true);
        assert!(client_sender.allows(C::Deleted));
        assert!(!client_sender.allows(C::NoSend));
        assert!(!client_sender.allows(C::Success));
        assert!(!legal(28, true, true).allows(C::Deleted));
        let server_receiver = client_sender.of_peer();
        assert!(server_receiver.allows(C::NoSend) && server_receiver.allows(C::IoError));
        assert!(!server_receiver.allows(C::IoTimeout));
        assert!(!legal(30, true, false).allows(C::ErrorExit));
        let removing = Legal { removes_source_files: true, ..client_sender };
        assert!(removing.allows(C::Success));
        assert!(!removing.of_peer().allows(C::Success));
    }

    #[test]
    fn wrong_sizes_are_refused_with_the_exact_text() {
        let check = |code, len| legal(31, true, false).check(FrameHeader { code, len });
        let error = check(C::IoError, 5).expect_err("size");
        assert_eq!(error.to_string(), "invalid multi-message 22:5");
        let error = check(C::Info, 5120).expect_err("size");
        assert_eq!(error.to_string(), "multiplexing overflow 2:5120");
        assert_eq!(check(C::Info, 5119), Ok(()));
        assert!(check(C::ErrorExit, 2).is_err());
        assert!(check(C::Redo, 4).is_err());
    }

    #[test]
    fn messages_survive_their_payload() {
        let all = [
            Message::Text { code: C::Info, bytes: b"hi\n".to_vec() },
            Message::IoError(IoErrorFlags::VANISHED),
            Message::IoTimeout(7),
            Message::ErrorExit(None),
            Message::ErrorExit(Some(300)),
            Message::Success(2),
            Message::Deleted { name: b"zdir".to_vec(), is_dir: true },
            Message::Deleted { name: b"zap".to_vec(), is_dir: false },
            Message::NoSend(2),
            Message::Noop,
        ];
        for message in all {
            let mut payload = Vec::new();
            message.encode_payload(&mut payload);
            assert_eq!(Message::decode(message.code(), &payload), Ok(message));
        }
        assert!(Message::decode(C::NoSend, &[0xff; 4]).is_err());
    }
}
