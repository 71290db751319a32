//! The client's capability text: what follows `e` in a server's short options (spec 01 §3.3).

use bstr::ByteSlice;

use super::negotiated::CompatFlags;

/// What a client can do, as a server reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Protocol and nonzero subprotocol of a pre-release client.
    pre_release: Option<i32>,
    letters: Vec<u8>,
}

impl Capabilities {
    /// Reads the text; none and an empty one say that there are no capabilities.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let (version, rest) = text.split_once_str(".").unwrap_or((text, b""));
        let leading = |text: &[u8]| {
            let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
            text[..digits].to_str().ok().and_then(|digits| digits.parse::<i32>().ok())
        };
        let pre_release = leading(version).filter(|_| leading(rest).is_some_and(|sub| sub != 0));
        Self { pre_release, letters: text.to_vec() }
    }

    /// The protocol a server over a remote shell says, where it speaks `own`.
    #[must_use]
    pub fn server_protocol(&self, own: u8) -> u8 {
        match self.pre_release {
            Some(theirs) if theirs <= i32::from(own) => u8::try_from((theirs - 1).max(0)).unwrap_or(own),
            _ => own,
        }
    }

    /// The flags a server answers with, where its own options allow incremental recursion or not.
    #[must_use]
    pub fn server_flags(&self, incremental_recursion: bool) -> CompatFlags {
        let mut flags = CompatFlags::SYMLINK_TIMES | CompatFlags::SYMLINK_ICONV;
        for (letter, flag) in [
            (b'f', CompatFlags::SAFE_FILE_LIST),
            (b'x', CompatFlags::AVOID_XATTR_OPTIMIZATION),
            (b'C', CompatFlags::CHECKSUM_SEED_FIX),
            (b'I', CompatFlags::INPLACE_PARTIAL_DIR),
            (b'v', CompatFlags::VARINT_FLIST_FLAGS),
            (b'V', CompatFlags::VARINT_FLIST_FLAGS),
            (b'u', CompatFlags::ID0_NAMES),
        ] {
            if self.has(letter) {
                flags |= flag;
            }
        }
        if incremental_recursion && self.has(b'i') {
            flags |= CompatFlags::INC_RECURSE;
        }
        CompatFlags(flags)
    }

    /// The client converts targets of symbolic links (`--iconv`).
    #[must_use]
    pub fn converts_targets(&self) -> bool {
        self.has(b's')
    }

    /// The flags travel as one raw byte, because a pre-release client says `V`.
    #[must_use]
    pub fn takes_raw_flags(&self) -> bool {
        self.has(b'V')
    }

    fn has(&self, letter: u8) -> bool {
        self.letters.contains(&letter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_steps_back_for_pre_releases() {
        for (text, protocol) in [
            ("31.14iLs", 30),
            ("32.1", 31),
            ("33.1", 32),
            ("30.2", 29),
            (".iLsf", 32),
            ("31.0i", 32),
            ("", 32),
        ] {
            assert_eq!(Capabilities::parse(text.as_bytes()).server_protocol(32), protocol, "{text}");
        }
    }

    #[test]
    fn letters_become_flags() {
        for (text, recursion, flags) in [
            (".iLsfxCIvu", true, 0x1ff),
            (".iLsfxCIvu", false, 0x1fe),
            (".LsfxCIvu", true, 0x1fe),
            (".iLsfxC", true, 0x3f),
            ("", true, 0x06),
            (".C", true, 0x26),
            (".u", true, 0x106),
            (".v", true, 0x86),
        ] {
            assert_eq!(
                Capabilities::parse(text.as_bytes()).server_flags(recursion),
                CompatFlags(flags),
                "{text}"
            );
        }
        assert!(Capabilities::parse(b".iLsfxCIVu").takes_raw_flags());
    }
}
