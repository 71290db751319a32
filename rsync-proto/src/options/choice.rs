//! The choices some options offer, each as a type of its own (spec 08 §2, §5).

use bstr::BString;

/// When files that the sender does not have are deleted (spec 07).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeleteTiming {
    /// Nothing is deleted.
    #[default]
    None,
    /// `--delete` alone: before the transfer below protocol 30, else during.
    Unspecified,
    /// Before the transfer.
    Before,
    /// Directory by directory, during the transfer.
    During,
    /// Found during, deleted after the transfer.
    Delay,
    /// After the transfer.
    After,
}

/// What an alternate destination directory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BasisKind {
    /// `--compare-dest`: an identical file there need not exist here.
    Compare,
    /// `--copy-dest`: an identical file there is copied.
    Copy,
    /// `--link-dest`: an identical file there is hard-linked.
    Link,
}

/// A set of alternate destination directories; all of one kind, in search order, at most 20.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasisDirs {
    /// What they are used for.
    pub kind: BasisKind,
    /// The directories; relative ones are below the destination.
    pub dirs: Vec<BString>,
}

impl BasisDirs {
    /// Most directories of one command line.
    pub const MAX: usize = 20;
}

/// Which compression was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compress {
    /// None.
    #[default]
    Off,
    /// `-z`: the best both sides know.
    Negotiate,
    /// Deflate with matched data in the history.
    Zlib,
    /// Deflate of literals only (`-zz`).
    Zlibx,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// How existing regular files are changed (`--append`, `--append-verify`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Append {
    /// Not at all.
    #[default]
    Off,
    /// The missing tail is appended, the rest is trusted.
    Blind,
    /// The missing tail is appended, the whole file is verified.
    Verify,
}

/// Whether sources are removed after they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RemoveSource {
    /// No.
    #[default]
    No,
    /// `--remove-source-files`.
    Files,
    /// `--remove-sent-files`, the old name: the same, forwarded under its own name.
    SentFiles,
}

/// What happens with requested sources that do not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissingArgs {
    /// An error.
    #[default]
    Error,
    /// Nothing.
    Ignore,
    /// Their destinations are deleted.
    Delete,
}

/// Who is privileged enough to set owners, devices and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SuperUser {
    /// The root user.
    #[default]
    Auto,
    /// Nobody (`--no-super`).
    Off,
    /// Everybody may try (`--super`).
    On,
    /// Attributes are kept in an xattr (`--fake-super`).
    Fake,
}

/// Where messages go (`--stderr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StderrMode {
    /// Errors to standard error, the rest to standard output.
    #[default]
    Errors,
    /// Everything to standard error, on each side its own.
    All,
    /// Everything through the client.
    Client,
}

/// Whether the copy of a local file shares its blocks with it (`--reflink`, not in the C rsync).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reflink {
    /// Where the file system can; content is copied elsewhere.
    #[default]
    Auto,
    /// Or the copy fails.
    Always,
    /// Never, so that every copy has blocks of its own.
    Never,
}

/// How standard output is buffered (`--outbuf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputBuffer {
    /// Not at all.
    None,
    /// By line.
    Line,
    /// By block.
    Full,
}

/// Address family of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressFamily {
    /// Whatever works.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// One filter option of the command line, in order (spec 06).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterArg {
    /// `--filter=RULE`.
    Rule(BString),
    /// `--exclude=PATTERN`.
    Exclude(BString),
    /// `--include=PATTERN`.
    Include(BString),
    /// `--exclude-from=FILE`, `-` is standard input.
    ExcludeFrom(BString),
    /// `--include-from=FILE`, `-` is standard input.
    IncludeFrom(BString),
}

/// Where the list of names to transfer comes from (`--files-from`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilesFrom {
    /// A file on the client's side; `-` is standard input. On a server: the socket if `-`.
    Local(BString),
    /// A file on the remote side; `host` is empty for `:FILE`.
    Remote {
        /// Host in front of the colon, possibly empty.
        host: BString,
        /// File on that host.
        path: BString,
    },
}

/// Charset conversion of names (`--iconv`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iconv {
    /// Charset of this side; `.` is the locale's.
    pub local: BString,
    /// Charset of the other side, if a comma named one.
    pub remote: Option<BString>,
}

impl Iconv {
    /// Name of the charset of a client, given that of its locale.
    #[must_use]
    pub fn of_client<'n>(&'n self, locale: &'n [u8]) -> &'n [u8] {
        resolve(&self.local, locale)
    }

    /// Name of the charset of a server or of the other half of a local copy, given that of its locale.
    #[must_use]
    pub fn of_server<'n>(&'n self, locale: &'n [u8]) -> &'n [u8] {
        resolve(self.remote.as_ref().unwrap_or(&self.local), locale)
    }
}

/// No name and a dot stand for the charset of the locale.
fn resolve<'n>(name: &'n [u8], locale: &'n [u8]) -> &'n [u8] {
    if matches!(name, b"" | b".") { locale } else { name }
}

/// A batch file to write or read (spec 08 §12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// `--write-batch`: transfer and record.
    Write(BString),
    /// `--only-write-batch`: record only.
    OnlyWrite(BString),
    /// `--read-batch`: apply; `-` is standard input.
    Read(BString),
}

/// A value of `--checksum-choice` that names known algorithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChecksumNames {
    /// Text as typed, for forwarding.
    pub text: BString,
    /// Name for the transfer, lower case; `auto` is negotiated.
    pub transfer: String,
    /// Name for `--checksum` in the file list, lower case; `auto` is negotiated.
    pub pre_transfer: String,
}
