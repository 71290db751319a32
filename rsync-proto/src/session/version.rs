//! Questions about a protocol number alone, where there is no [`Negotiated`](super::Negotiated) yet: what is
//! said before, or depends only on what one side offers.

/// A protocol number as a side says it, or the lesser of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolNumber(pub i32);

impl ProtocolNumber {
    /// Clients tell servers their capabilities, servers answer with compatibility flags (30 and later).
    #[must_use]
    pub fn has_compat_flags(self) -> bool {
        self.0 >= 30
    }

    /// The words of a request to a daemon end in NUL instead of line feeds (30 and later).
    #[must_use]
    pub fn ends_words_in_nul(self) -> bool {
        self.0 >= 30
    }

    /// `--no-implied-dirs` means something to the server of a push (30 and later).
    #[must_use]
    pub fn keeps_implied_dirs_out_of_pushes(self) -> bool {
        self.0 >= 30
    }

    /// Blocks may be longer than 128 KiB (29 and earlier).
    #[must_use]
    pub fn has_long_blocks(self) -> bool {
        self.0 < 30
    }

    /// A greeting names the subprotocol (30 and later).
    #[must_use]
    pub fn greets_with_subprotocol(self) -> bool {
        self.0 >= 30
    }

    /// A greeting lists the digests for passwords (32 and later; earlier ones may).
    #[must_use]
    pub fn greets_with_digests(self) -> bool {
        self.0 >= 32
    }

    /// Passwords are hashed with md5 where no digests are listed, instead of md4 (30 and later).
    #[must_use]
    pub fn hashes_passwords_with_md5(self) -> bool {
        self.0 >= 30
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_by_their_first_version() {
        let (old, modern, newest) = (ProtocolNumber(29), ProtocolNumber(30), ProtocolNumber(32));
        assert!(!old.has_compat_flags() && modern.has_compat_flags());
        assert!(old.has_long_blocks() && !modern.has_long_blocks());
        assert!(!modern.greets_with_digests() && newest.greets_with_digests());
    }
}
