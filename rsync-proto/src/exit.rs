//! Exit codes: their numbers, their texts and how a run combines them (spec 02 §9).

use std::fmt;

/// The exit status of an rsync process.
///
/// Any status can be held, because a client passes on what its remote shell returned (255 of ssh,
/// 127 of a shell); the constants are the codes rsync itself gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExitCode(u8);

impl ExitCode {
    /// Success.
    pub const OK: Self = Self(0);
    /// Options or arguments make no sense.
    pub const SYNTAX: Self = Self(1);
    /// The peer speaks another protocol, or sent an invalid value or index.
    pub const PROTOCOL: Self = Self(2);
    /// A source or destination cannot be selected.
    pub const FILE_SELECT: Self = Self(3);
    /// The action is refused or not built in.
    pub const UNSUPPORTED: Self = Self(4);
    /// The daemon refused before the transfer began.
    pub const START_CLIENT: Self = Self(5);
    /// A connection failed.
    pub const SOCKET_IO: Self = Self(10);
    /// A file operation failed fatally.
    pub const FILE_IO: Self = Self(11);
    /// The stream ended early or is malformed.
    pub const STREAM: Self = Self(12);
    /// A message could not be written.
    pub const MESSAGE_IO: Self = Self(13);
    /// A process could not be started.
    pub const IPC: Self = Self(14);
    /// A child dumped core.
    pub const CHILD_CRASHED: Self = Self(15);
    /// A child was killed by a signal.
    pub const CHILD_TERMINATED: Self = Self(16);
    /// SIGUSR1 arrived.
    pub const SIGUSR1: Self = Self(19);
    /// SIGINT, SIGTERM or SIGHUP arrived.
    pub const SIGNAL: Self = Self(20);
    /// A child could not be waited for.
    pub const WAIT_CHILD: Self = Self(21);
    /// Memory ran out, or a limit on it was reached.
    pub const MEMORY: Self = Self(22);
    /// Some files or attributes were not transferred.
    pub const PARTIAL: Self = Self(23);
    /// Some source files vanished.
    pub const VANISHED: Self = Self(24);
    /// `--max-delete` stopped deletions.
    pub const DELETE_LIMIT: Self = Self(25);
    /// A timeout or stop time was reached.
    pub const TIMEOUT: Self = Self(30);
    /// A daemon could not be reached in time.
    pub const CONNECT_TIMEOUT: Self = Self(35);
    /// The remote shell failed.
    pub const COMMAND_FAILED: Self = Self(124);
    /// The remote shell was killed.
    pub const COMMAND_KILLED: Self = Self(125);
    /// The remote command could not be run.
    pub const COMMAND_NOT_RUN: Self = Self(126);
    /// The remote command was not found.
    pub const COMMAND_NOT_FOUND: Self = Self(127);

    /// Any status, for instance the one of a remote shell.
    #[must_use]
    pub const fn new(code: u8) -> Self {
        Self(code)
    }

    /// The code carried by a peer's ERROR_EXIT: 1..255 as they are, 12 for anything else and for none, so
    /// that no peer chooses success (spec 02 §9.3, 10 SEC-053).
    #[must_use]
    pub fn from_peer(code: Option<i32>) -> Self {
        match code.and_then(|code| u8::try_from(code).ok()) {
            None | Some(0) => Self::STREAM,
            Some(code) => Self(code),
        }
    }

    /// The number a shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether this is 0.
    #[must_use]
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether the summary line says "rsync warning" instead of "rsync error" (spec 02 §9.1).
    #[must_use]
    pub const fn is_warning(self) -> bool {
        self.0 == Self::VANISHED.0
    }

    /// The text of the line `rsync error: TEXT (code N) at ...`; empty for success.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.0 {
            0 => "",
            1 => "syntax or usage error",
            2 => "protocol incompatibility",
            3 => "errors selecting input/output files, dirs",
            4 => "requested action not supported",
            5 => "error starting client-server protocol",
            10 => "error in socket IO",
            11 => "error in file IO",
            12 => "error in rsync protocol data stream",
            13 => "errors with program diagnostics",
            14 => "error in IPC code",
            15 => "sibling process crashed",
            16 => "sibling process terminated abnormally",
            19 => "received SIGUSR1",
            20 => "received SIGINT, SIGTERM, or SIGHUP",
            21 => "waitpid() failed",
            22 => "error allocating core memory buffers",
            23 => "some files/attrs were not transferred (see previous errors)",
            24 => "some files vanished before they could be transferred",
            25 => "the --max-delete limit stopped deletions",
            30 => "timeout in data send/receive",
            35 => "timeout waiting for daemon connection",
            124 => "remote shell failed",
            125 => "remote shell killed",
            126 => "remote command could not be run",
            127 => "remote command not found",
            _ => "unexplained error",
        }
    }

    /// The code of a run that came to its end: 23 beats 24 beats 25 (spec 02 §9.2, rule 3).
    #[must_use]
    pub fn of_run(transfer_error: bool, io_error: IoErrorFlags) -> Self {
        if transfer_error || io_error.contains(IoErrorFlags::GENERAL) {
            Self::PARTIAL
        } else if io_error.contains(IoErrorFlags::VANISHED) {
            Self::VANISHED
        } else if io_error.contains(IoErrorFlags::DELETE_LIMIT) {
            Self::DELETE_LIMIT
        } else {
            Self::OK
        }
    }

    /// Merges the status of a remote shell child after a normal end: the larger (spec 02 §9.2, rule 2).
    #[must_use]
    pub fn after_normal_end(self, child: Self) -> Self {
        self.max(child)
    }

    /// Merges the status of a remote shell child, if it has one already, into a fatal code: a
    /// greater one explains more, so an end of file becomes 127 or 255 (spec 02 §9.2, rule 2).
    #[must_use]
    pub fn after_fatal_end(self, child: Option<Self>) -> Self {
        child.map_or(self, |child| self.max(child))
    }

    /// Whether a process that dies of this code tells its peer with ERROR_EXIT, given that the
    /// protocol has it and the goodbye has not begun (spec 02 §9.3).
    #[must_use]
    pub const fn is_announced(self) -> bool {
        !matches!(self.0, 0 | 10 | 12 | 19 | 30)
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.0)
    }
}

/// What went wrong while the sender read its source, as it travels in IO_ERROR messages and file
/// lists (spec 02 §8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IoErrorFlags(u8);

impl IoErrorFlags {
    /// Nothing went wrong.
    pub const NONE: Self = Self(0);
    /// Something could not be read; deletions are suppressed.
    pub const GENERAL: Self = Self(1);
    /// A source file vanished.
    pub const VANISHED: Self = Self(2);
    /// `--max-delete` stopped deletions; never sent by the C rsync 3.5.0.
    pub const DELETE_LIMIT: Self = Self(4);

    /// Takes the three known bits of a value from the wire.
    #[must_use]
    pub const fn from_wire(value: i32) -> Self {
        Self((value & 7) as u8)
    }

    /// The value as it travels.
    #[must_use]
    pub const fn bits(self) -> i32 {
        self.0 as i32
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every flag of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds the flags of `other`.
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::ops::BitOr for IoErrorFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_the_gravest_of_its_errors() {
        use IoErrorFlags as F;
        assert_eq!(ExitCode::of_run(false, F::NONE), ExitCode::OK);
        assert_eq!(ExitCode::of_run(true, F::VANISHED), ExitCode::PARTIAL);
        assert_eq!(ExitCode::of_run(false, F::GENERAL | F::VANISHED), ExitCode::PARTIAL);
        assert_eq!(ExitCode::of_run(false, F::VANISHED | F::DELETE_LIMIT), ExitCode::VANISHED);
        assert_eq!(ExitCode::of_run(false, F::DELETE_LIMIT), ExitCode::DELETE_LIMIT);
    }

    #[test]
    fn a_shell_status_replaces_a_smaller_fatal_code_only() {
        assert_eq!(ExitCode::STREAM.after_fatal_end(Some(ExitCode::new(255))).code(), 255);
        assert_eq!(ExitCode::STREAM.after_fatal_end(Some(ExitCode::FILE_SELECT)), ExitCode::STREAM);
        assert_eq!(ExitCode::STREAM.after_fatal_end(None), ExitCode::STREAM);
        assert_eq!(ExitCode::OK.after_normal_end(ExitCode::PARTIAL), ExitCode::PARTIAL);
        assert_eq!(ExitCode::new(255).text(), "unexplained error");
    }

    #[test]
    fn a_peer_cannot_make_us_succeed() {
        assert_eq!(ExitCode::from_peer(None), ExitCode::STREAM);
        assert_eq!(ExitCode::from_peer(Some(0)), ExitCode::STREAM);
        assert_eq!(ExitCode::from_peer(Some(300)), ExitCode::STREAM);
        assert_eq!(ExitCode::from_peer(Some(-1)), ExitCode::STREAM);
        assert_eq!(ExitCode::from_peer(Some(255)).code(), 255);
    }

    #[test]
    fn only_three_io_error_bits_are_taken_from_the_wire() {
        assert_eq!(IoErrorFlags::from_wire(-1).bits(), 7);
        assert!(IoErrorFlags::from_wire(8).is_empty());
    }
}
