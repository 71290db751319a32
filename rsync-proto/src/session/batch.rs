//! The head of a batch file, and what its reader takes from it (spec 08 §12.1, §12.3).

use crate::exit::ExitCode;
use crate::options::{Append, Compress, TransferOptions};
use crate::wire::{Cursor, NeedsInput, WireError, put_varint, varint};

use super::agreement::{AlgorithmVariables, End, PeerLists, Terms};
use super::error::SetupError;
use super::negotiated::{CompatFlags, NEWEST_PROTOCOL, Negotiated, OLDEST_PROTOCOL};
use super::version::ProtocolNumber;

/// Why a batch file cannot be applied with these options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The head is malformed, or has not come yet.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It was written by a newer program, or less is allowed by `--protocol`.
    #[error("The protocol version in the batch file is too new ({theirs} > {ours}).")]
    TooNew {
        /// Protocol of the file.
        theirs: i32,
        /// Newest protocol this side may speak.
        ours: i32,
    },
    /// It was written by a program that is too old, or is no batch file.
    #[error("The protocol version in the batch file is too old ({theirs} < {ours}).")]
    TooOld {
        /// Protocol of the file.
        theirs: i32,
        /// Oldest protocol this side can read.
        ours: u8,
    },
    /// Its flags name options that this version does not know: it is no batch file, or a newer one.
    #[error("The batch file has unknown stream flags ({flags:#x}): it cannot be read by this version.")]
    UnknownFlags {
        /// The unknown bits.
        flags: u32,
    },
    /// Charset conversion cannot be switched by the file itself.
    #[error(
        "{} the --iconv option to use this batch file.",
        if *.needed { "Please specify" } else { "Do not specify" }
    )]
    Iconv {
        /// Whether the file needs it.
        needed: bool,
    },
    /// The lists came in pieces, which the options do not allow.
    #[error("Incompatible options specified for inc-recursive batch file.")]
    Recursion,
    /// The options contradict the protocol of the file.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl BatchError {
    /// The exit code the C rsync ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Wire(error) => error.exit_code(),
            Self::TooNew { .. } | Self::TooOld { .. } | Self::UnknownFlags { .. } => ExitCode::PROTOCOL,
            Self::Iconv { .. } | Self::Recursion => ExitCode::SYNTAX,
            Self::Setup(error) => error.exit_code(),
        }
    }
}

impl NeedsInput for BatchError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// An option that shapes the stream, so that its reader must have it as its writer had it.
struct StreamOption {
    /// As messages name it.
    name: &'static str,
    /// Oldest protocol at which a reader looks at it.
    since: u8,
    /// What it is set to; 0 and 1 are what a file can say.
    value: fn(&TransferOptions) -> u32,
    set: fn(&mut TransferOptions, bool),
}

/// One row.
const fn option(
    name: &'static str,
    since: u8,
    value: fn(&TransferOptions) -> u32,
    set: fn(&mut TransferOptions, bool),
) -> StreamOption {
    StreamOption { name, since, value, set }
}

/// The options by bit number.
const STREAM_OPTIONS: [StreamOption; 15] = [
    option(
        "--recurse (-r)",
        OLDEST_PROTOCOL,
        |options| u32::from(options.recurse) + u32::from(options.forwarding.recurse_typed),
        |options, on| options.recurse = on,
    ),
    option("--owner (-o)", OLDEST_PROTOCOL, |options| options.owner.into(), |options, on| options.owner = on),
    option("--group (-g)", OLDEST_PROTOCOL, |options| options.group.into(), |options, on| options.group = on),
    option("--links (-l)", OLDEST_PROTOCOL, |options| options.links.into(), |options, on| options.links = on),
    option(
        "--devices (-D)",
        OLDEST_PROTOCOL,
        |options| options.devices.into(),
        |options, on| options.devices = on,
    ),
    option(
        "--hard-links (-H)",
        OLDEST_PROTOCOL,
        |options| options.hard_links.into(),
        |options, on| options.hard_links = on.into(),
    ),
    option(
        "--checksum (-c)",
        OLDEST_PROTOCOL,
        |options| options.checksum.into(),
        |options, on| options.checksum = on,
    ),
    option("--dirs (-d)", 29, |options| options.dirs.into(), |options, on| options.dirs = on),
    option(
        "--compress (-z)",
        29,
        |options| options.is_compressing().into(),
        |options, on| options.compress = if on { Compress::Negotiate } else { Compress::Off },
    ),
    option("--iconv", 30, |options| options.iconv.is_some().into(), |_, _| {}),
    option("--acls (-A)", 30, |options| options.acls.into(), |options, on| options.acls = on),
    option("--xattrs (-X)", 30, |options| options.xattrs.into(), |options, on| options.xattrs = on.into()),
    option("--inplace", 30, |options| options.inplace.into(), |options, on| options.inplace = on),
    option(
        "--append",
        30,
        |options| u32::from(options.append == Append::Blind),
        |options, on| options.append = if on { Append::Blind } else { Append::Off },
    ),
    option(
        "--append-verify",
        30,
        |options| u32::from(options.append == Append::Verify),
        |options, on| options.append = if on { Append::Verify } else { Append::Off },
    ),
];

/// Number of the bit for charset conversion, which is refused instead of switched.
const ICONV: usize = 9;

/// Which options the writer of a batch had, as far as they shape its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchFlags(pub u32);

/// A change of options that a batch file brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchChange {
    /// The option, as messages name it.
    pub option: &'static str,
    /// Whether it is on now.
    pub on: bool,
}

impl BatchFlags {
    /// The flags of a transfer with these options, whatever the protocol: files begin with them.
    #[must_use]
    pub fn of(options: &TransferOptions) -> Self {
        let bits = STREAM_OPTIONS.iter().enumerate();
        Self(bits.map(|(bit, option)| u32::from((option.value)(options) > 0) << bit).sum())
    }

    fn has(self, bit: usize) -> bool {
        self.0 & (1 << bit) != 0
    }
}

/// What a batch file says before its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// Options of the writer.
    pub flags: BatchFlags,
    /// The protocol of the recorded session.
    pub protocol: i32,
    /// Its compatibility flags; none below protocol 30.
    pub compat: CompatFlags,
    /// Its checksum seed.
    pub seed: i32,
}

impl BatchHead {
    /// Appends what follows the flags, once the session is agreed on.
    pub fn put_agreement(negotiated: &Negotiated, out: &mut Vec<u8>) {
        out.extend_from_slice(&i32::from(negotiated.protocol()).to_le_bytes());
        if negotiated.is_modern() {
            put_varint(out, negotiated.compat().0.cast_signed());
        }
        out.extend_from_slice(&negotiated.seed.to_le_bytes());
    }

    /// Decodes the head; a protocol newer than `newest` is refused before anything behind it is read.
    ///
    /// # Errors
    /// [`BatchError`], of which [`WireError::Incomplete`] asks for more.
    pub fn decode(input: &mut Cursor<'_>, newest: i32) -> Result<Self, BatchError> {
        let flags = BatchFlags(input.u32()?);
        let unknown = flags.0 & !((1 << STREAM_OPTIONS.len()) - 1);
        if unknown != 0 {
            return Err(BatchError::UnknownFlags { flags: unknown });
        }
        let protocol = input.i32()?;
        if protocol > newest {
            return Err(BatchError::TooNew { theirs: protocol, ours: newest });
        }
        if protocol < i32::from(OLDEST_PROTOCOL) {
            return Err(BatchError::TooOld { theirs: protocol, ours: OLDEST_PROTOCOL });
        }
        let compat = if ProtocolNumber(protocol).has_compat_flags() {
            CompatFlags(varint(input)?.cast_unsigned())
        } else {
            CompatFlags(0)
        };
        Ok(Self { flags, protocol, compat, seed: input.i32()? })
    }

    /// Gives `options` what the writer had, and answers what that changed.
    ///
    /// # Errors
    /// [`BatchError::Iconv`]: charsets are the caller's to choose.
    pub fn adopt(&self, options: &mut TransferOptions) -> Result<Vec<BatchChange>, BatchError> {
        let mut changes = Vec::new();
        let protocol = u8::try_from(self.protocol).unwrap_or(NEWEST_PROTOCOL);
        let known = STREAM_OPTIONS.iter().enumerate().filter(|(_, option)| protocol >= option.since);
        for (bit, option) in known {
            let on = self.flags.has(bit);
            if (option.value)(options) == u32::from(on) {
                continue;
            }
            if bit == ICONV {
                return Err(BatchError::Iconv { needed: on });
            }
            (option.set)(options, on);
            changes.push(BatchChange { option: option.name, on });
        }
        if options.compress == Compress::Negotiate {
            // Nothing was negotiated for the file: only what every version has is in it.
            options.compress = Compress::Zlib;
        }
        Ok(changes)
    }

    /// What both ends of the recorded session agreed on, seen by a reader with these options, which
    /// have [adopted](Self::adopt) the file's.
    ///
    /// # Errors
    /// [`BatchError::Recursion`], or options that the protocol of the file does not have.
    pub fn negotiated(
        &self,
        options: &TransferOptions,
        variables: &AlgorithmVariables,
    ) -> Result<Negotiated, BatchError> {
        let mut terms = Terms::new(End::Client, options, variables)?;
        let protocol = terms.protocol(self.protocol, self.protocol, self.protocol)?;
        let mut negotiated = Negotiated::new(protocol, self.compat);
        if negotiated.incremental_recursion() && !options.allows_incremental_recursion(true) {
            return Err(BatchError::Recursion);
        }
        terms.settle(&negotiated)?;
        terms.conclude(&mut negotiated, &PeerLists::default())?;
        negotiated.seed = self.seed;
        Ok(negotiated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::CompressionKind;
    use crate::options::Iconv;
    use crate::sum::Checksum;

    fn head(bytes: &[u8]) -> Result<BatchHead, BatchError> {
        BatchHead::decode(&mut Cursor::new(bytes), 32)
    }

    /// `-a --checksum-seed=1`, protocol 32.
    const ARCHIVE: [u8; 14] = [0x9f, 0, 0, 0, 0x20, 0, 0, 0, 0x81, 0xff, 1, 0, 0, 0];

    #[test]
    fn flags_follow_the_options() {
        let archive = TransferOptions::archive();
        assert_eq!(BatchFlags::of(&archive).0, 0x9f);
        let append = TransferOptions { append: Append::Blind, inplace: true, ..archive.clone() };
        assert_eq!(BatchFlags::of(&append).0, 0x309f);
        let verify = TransferOptions { append: Append::Verify, inplace: true, ..archive.clone() };
        assert_eq!(BatchFlags::of(&verify).0, 0x509f);
        let rich = TransferOptions {
            acls: true,
            xattrs: 2,
            hard_links: 2,
            checksum: true,
            inplace: true,
            compress: Compress::Negotiate,
            iconv: Some(Iconv { local: ".".into(), remote: None }),
            ..archive
        };
        assert_eq!(BatchFlags::of(&rich).0, 0x1fff);
    }

    #[test]
    fn the_head_is_that_of_the_specification() {
        let read = head(&ARCHIVE).expect("whole");
        let mut out = read.flags.0.to_le_bytes().to_vec();
        let negotiated = read.negotiated(&TransferOptions::archive(), &AlgorithmVariables::default());
        BatchHead::put_agreement(&negotiated.expect("agreed"), &mut out);
        assert_eq!(out, ARCHIVE);
    }

    #[test]
    fn a_head_that_is_cut_asks_for_more() {
        for length in 0..ARCHIVE.len() {
            let error = head(&ARCHIVE[..length]).expect_err("cut");
            assert!(error.missing().is_some(), "{length}: {error}");
        }
    }

    #[test]
    fn foreign_files_are_refused_with_their_own_words() {
        let with = |at: usize, byte: u8| {
            let mut bytes = ARCHIVE;
            bytes[at] = byte;
            let error = head(&bytes).expect_err("refused");
            (error.to_string(), error.exit_code().code())
        };
        let too_new = "The protocol version in the batch file is too new (33 > 32).";
        assert_eq!(with(4, 33), (too_new.to_owned(), 2));
        assert_eq!(with(4, 26).1, 2);
        assert_eq!(with(3, 1).1, 2);
    }

    #[test]
    fn the_reader_adopts_what_shapes_the_stream() {
        let read = head(&ARCHIVE).expect("whole");
        let mut options = TransferOptions { hard_links: 2, compress: Compress::Zstd, ..Default::default() };
        let changes = read.adopt(&mut options).expect("adopted");
        let names: Vec<_> = changes.iter().map(|change| (change.option, change.on)).collect();
        assert_eq!(names[0], ("--recurse (-r)", true));
        assert_eq!(
            names[5..],
            [("--hard-links (-H)", false), ("--dirs (-d)", true), ("--compress (-z)", false)]
        );
        assert!(options.recurse && options.links && options.hard_links == 0);
        assert!(read.adopt(&mut TransferOptions::archive()).expect("same").is_empty());
    }

    #[test]
    fn charsets_are_not_switched_by_a_file() {
        let read = head(&ARCHIVE).expect("whole");
        let iconv = Some(Iconv { local: ".".into(), remote: None });
        let error = read.adopt(&mut TransferOptions { iconv, ..TransferOptions::archive() });
        assert_eq!(error, Err(BatchError::Iconv { needed: false }));
        let needy = BatchHead { flags: BatchFlags(0x29f), ..read };
        let error = needy.adopt(&mut TransferOptions::archive()).expect_err("needs it");
        assert_eq!(error.to_string(), "Please specify the --iconv option to use this batch file.");
    }

    #[test]
    fn old_files_leave_alone_what_their_protocol_does_not_say() {
        let old = BatchHead { flags: BatchFlags(0), protocol: 28, compat: CompatFlags(0), seed: 0 };
        let mut options =
            TransferOptions { dirs: true, compress: Compress::Negotiate, xattrs: 1, ..Default::default() };
        assert_eq!(old.adopt(&mut options), Ok(Vec::new()));
        assert!(options.dirs && options.xattrs == 1 && options.compress == Compress::Zlib);
    }

    #[test]
    fn nothing_was_negotiated_for_a_file() {
        let read = head(&ARCHIVE).expect("whole");
        let mut options = TransferOptions { compress: Compress::Negotiate, ..TransferOptions::archive() };
        let zipped = BatchHead { flags: BatchFlags(0x19f), ..read };
        assert_eq!(zipped.adopt(&mut options), Ok(Vec::new()));
        let agreed = zipped.negotiated(&options, &AlgorithmVariables::default()).expect("agreed");
        assert_eq!(agreed.checksum.transfer, Checksum::Md5);
        assert_eq!(agreed.compression.map(|compression| compression.kind), Some(CompressionKind::Zlib));
        let whole = TransferOptions { inc_recursive: false, ..options };
        let refused = zipped.negotiated(&whole, &AlgorithmVariables::default());
        assert_eq!(refused, Err(BatchError::Recursion));
    }
}
