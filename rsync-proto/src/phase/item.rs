//! What follows an item index: flags, basis and an extra name (spec 02 §5).

use bstr::BString;

use super::ItemFlags;
use crate::exit::ExitCode;
use crate::session::Negotiated;
use crate::wire::{Cursor, NeedsInput, WireError, put_vstring, vstring};

/// Longest extra name, in bytes.
const MAX_XNAME: usize = 4095;

/// The file that the blocks of a request describe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Basis {
    /// The destination file, or none; never sent.
    #[default]
    Destination,
    /// The same name in the n-th alternate directory, 0 to 127.
    AlternateDir(u8),
    /// The file in the partial directory.
    PartialDir,
    /// The backup just made (`--inplace --backup`).
    Backup,
    /// The file of the extra name in the item's directory.
    Fuzzy,
    /// The file of the extra name in the n-th alternate directory, 0 to 123.
    FuzzyAlternateDir(u8),
}

impl Basis {
    /// The byte that travels.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::AlternateDir(number) => number & 0x7f,
            Self::Destination => 0x80,
            Self::PartialDir => 0x81,
            Self::Backup => 0x82,
            Self::Fuzzy => 0x83,
            Self::FuzzyAlternateDir(number) => number.saturating_add(0x84),
        }
    }

    /// The meaning of a byte; every byte has one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0..=0x7f => Self::AlternateDir(byte),
            0x80 => Self::Destination,
            0x81 => Self::PartialDir,
            0x82 => Self::Backup,
            0x83 => Self::Fuzzy,
            0x84.. => Self::FuzzyAlternateDir(byte - 0x84),
        }
    }
}

/// Why the attributes of an item were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ItemError {
    /// Content of something that is not a regular file was requested (exit 2).
    #[error("received request to transfer non-regular file: {index}")]
    NotRegular {
        /// The item.
        index: u32,
    },
    /// Content was requested after the redo phase (exit 2).
    #[error("got transfer request in phase 2")]
    TransferInPhase2,
    /// There is no such alternate directory (exit 2).
    #[error("invalid basis_dir index: {number}.")]
    UnknownBasisDir {
        /// The number received.
        number: u8,
    },
    /// A fuzzy basis without `--fuzzy`, or one that is not a leaf name (exit 2).
    #[error("item {index}: invalid fuzzy basis {name:?}")]
    InvalidFuzzyBasis {
        /// The item.
        index: u32,
        /// The name received.
        name: BString,
    },
    /// The bytes are not there, or the name is too long.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl ItemError {
    /// What rsync's process would exit with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Wire(error) => error.exit_code(),
            _ => ExitCode::PROTOCOL,
        }
    }
}

impl NeedsInput for ItemError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// What may follow an item at this moment of this session.
#[derive(Clone, Copy, Debug)]
pub struct ItemRules {
    /// The entry is a regular file.
    pub is_regular: bool,
    /// Both the normal and the redo phase are over.
    pub in_phase_2: bool,
    /// Number of `--compare-dest`, `--copy-dest` and `--link-dest` directories.
    pub basis_dirs: usize,
    /// `--fuzzy` is on.
    pub fuzzy: bool,
}

/// Flags, basis and extra name of one item; the sender returns them unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemAttributes {
    /// The flags; those saying what follows are kept in step with the other fields by
    /// [`ItemAttributes::encode`].
    pub flags: ItemFlags,
    /// The basis of the transfer.
    pub basis: Basis,
    /// Name of a fuzzy basis, or the hard-link target for display; may be empty.
    pub xname: Option<Vec<u8>>,
}

impl ItemAttributes {
    /// Attributes without basis and name.
    #[must_use]
    pub fn new(flags: ItemFlags) -> Self {
        Self { flags, ..Self::default() }
    }

    /// Decodes what follows an item index; below protocol 29 that is nothing and means a transfer.
    ///
    /// # Errors
    /// [`WireError::VstringTooLong`]; [`WireError::Incomplete`].
    pub fn decode(input: &mut Cursor<'_>, negotiated: &Negotiated) -> Result<Self, WireError> {
        if !negotiated.has_item_flags() {
            return Ok(Self::new(ItemFlags::TRANSFER));
        }
        let flags = ItemFlags::from_bits(input.u16()?);
        let basis = match flags.contains(ItemFlags::BASIS_TYPE_FOLLOWS) {
            true => Basis::from_byte(input.u8()?),
            false => Basis::Destination,
        };
        let xname = match flags.contains(ItemFlags::XNAME_FOLLOWS) {
            true => Some(vstring(input, MAX_XNAME)?.to_vec()),
            false => None,
        };
        Ok(Self { flags, basis, xname })
    }

    /// Appends the attributes; below protocol 29 nothing.
    ///
    /// # Errors
    /// [`WireError::VstringTooLong`] for a name above 4095 bytes.
    pub fn encode(&self, out: &mut Vec<u8>, negotiated: &Negotiated) -> Result<(), WireError> {
        if !negotiated.has_item_flags() {
            return Ok(());
        }
        let mut flags = self.flags;
        if self.basis != Basis::Destination {
            flags |= ItemFlags::BASIS_TYPE_FOLLOWS;
        }
        if let Some(name) = &self.xname {
            if name.len() > MAX_XNAME {
                return Err(WireError::VstringTooLong { length: name.len(), limit: MAX_XNAME });
            }
            flags |= ItemFlags::XNAME_FOLLOWS;
        } else {
            flags = flags.without(ItemFlags::XNAME_FOLLOWS);
        }
        out.extend_from_slice(&flags.bits().to_le_bytes());
        if flags.contains(ItemFlags::BASIS_TYPE_FOLLOWS) {
            out.push(self.basis.byte());
        }
        self.xname.as_deref().map_or(Ok(()), |name| put_vstring(out, name))
    }

    /// Checks what a peer asks for, or answers, about item `index`.
    ///
    /// # Errors
    /// All of [`ItemError`] but the wire's.
    pub fn check(&self, index: u32, rules: ItemRules) -> Result<(), ItemError> {
        if !self.flags.contains(ItemFlags::TRANSFER) {
            return Ok(());
        }
        if !rules.is_regular {
            return Err(ItemError::NotRegular { index });
        }
        if rules.in_phase_2 {
            return Err(ItemError::TransferInPhase2);
        }
        if let Basis::AlternateDir(number) | Basis::FuzzyAlternateDir(number) = self.basis
            && usize::from(number) >= rules.basis_dirs
        {
            return Err(ItemError::UnknownBasisDir { number });
        }
        if matches!(self.basis, Basis::Fuzzy | Basis::FuzzyAlternateDir(_)) {
            let name = self.xname.as_deref().unwrap_or_default();
            let is_leaf = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0);
            if !rules.fuzzy || !is_leaf {
                return Err(ItemError::InvalidFuzzyBasis { index, name: name.into() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::CompatFlags;

    const ALL: ItemRules = ItemRules { is_regular: true, in_phase_2: false, basis_dirs: 1, fuzzy: true };

    fn negotiated(protocol: u8) -> Negotiated {
        Negotiated::new(protocol, CompatFlags::default())
    }

    fn item(flags: u16, basis: Basis, xname: Option<&[u8]>) -> ItemAttributes {
        ItemAttributes { flags: ItemFlags::from_bits(flags), basis, xname: xname.map(<[u8]>::to_vec) }
    }

    #[test]
    fn attributes_have_the_golden_form() {
        let golden: [(ItemAttributes, &[u8]); 7] = [
            (item(0x6000, Basis::Destination, None), &[0, 0x60]),
            (item(0xa000, Basis::Destination, None), &[0, 0xa0]),
            (item(0x7000, Basis::Destination, Some(b"b")), &[0, 0x70, 1, b'b']),
            (item(0x5000, Basis::Destination, Some(b"")), &[0, 0x50, 0]),
            (item(0x880c, Basis::AlternateDir(0), None), &[0x0c, 0x88, 0]),
            (item(0xb800, Basis::Fuzzy, Some(b"short")), b"\x00\xb8\x83\x05short"),
            (item(0xb800, Basis::FuzzyAlternateDir(0), Some(b"short")), b"\x00\xb8\x84\x05short"),
        ];
        for (attributes, bytes) in golden {
            let mut out = Vec::new();
            attributes.encode(&mut out, &negotiated(31)).expect("short");
            assert_eq!(out, bytes);
            assert_eq!(ItemAttributes::decode(&mut Cursor::new(bytes), &negotiated(31)), Ok(attributes));
        }
    }

    #[test]
    fn below_protocol_29_an_index_alone_is_a_transfer() {
        let mut out = Vec::new();
        ItemAttributes::new(ItemFlags::TRANSFER).encode(&mut out, &negotiated(28)).expect("nothing");
        assert!(out.is_empty());
        let decoded = ItemAttributes::decode(&mut Cursor::new(&[]), &negotiated(28)).expect("implied");
        assert_eq!(decoded.flags, ItemFlags::TRANSFER);
    }

    #[test]
    fn every_basis_byte_survives() {
        (0..=255).for_each(|byte| assert_eq!(Basis::from_byte(byte).byte(), byte));
    }

    #[test]
    fn illegal_requests_are_refused_with_the_exact_text() {
        let refuse =
            |attributes: ItemAttributes, rules| attributes.check(7, rules).expect_err("illegal").to_string();
        let plain = || item(0x8000, Basis::Destination, None);
        assert_eq!(
            refuse(plain(), ItemRules { is_regular: false, ..ALL }),
            "received request to transfer non-regular file: 7"
        );
        assert_eq!(refuse(plain(), ItemRules { in_phase_2: true, ..ALL }), "got transfer request in phase 2");
        assert_eq!(refuse(item(0x8800, Basis::AlternateDir(1), None), ALL), "invalid basis_dir index: 1.");
        refuse(item(0xb800, Basis::Fuzzy, Some(b"..")), ALL);
        refuse(item(0xb800, Basis::Fuzzy, Some(b"a/b")), ALL);
        refuse(item(0xb800, Basis::Fuzzy, Some(b"ok")), ItemRules { fuzzy: false, ..ALL });
        item(0xb800, Basis::Fuzzy, Some(b"ok")).check(7, ALL).expect("legal");
    }
}
