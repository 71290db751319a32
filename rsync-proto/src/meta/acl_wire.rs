//! The bytes of ACLs in file lists (spec 04 §2.3, §2.4).

use super::acl::{Acl, AclName, AclTable};
use crate::exit::ExitCode;
use crate::flist::ids::{UsedIds, name, put_name};
use crate::flist::{IdNames, Owner};
use crate::wire::{Cursor, NeedsInput, WireError, put_varint, varint};

/// Which of the two ACLs of an entry; each kind has its own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclKind {
    /// The one that governs access.
    Access,
    /// The one that content of a directory inherits.
    Default,
}

/// Why an ACL was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// A primitive is malformed or out of range, or merely incomplete.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A reference names no ACL received before.
    #[error("recv_acl_index: {} ACL index {index} > {count}", type_name(*.kind))]
    IndexOutOfRange {
        /// Which table.
        kind: AclKind,
        /// The reference.
        index: i64,
        /// Number of ACLs received before.
        count: usize,
    },
    /// Permission bits are not 0 to 7.
    #[error("recv_acl_access: value out of range: {value:x}")]
    ValueOutOfRange {
        /// The bits received.
        value: u32,
    },
}

fn type_name(kind: AclKind) -> &'static str {
    match kind {
        AclKind::Access => "ACL_TYPE_ACCESS",
        AclKind::Default => "ACL_TYPE_DEFAULT",
    }
}

impl AclError {
    /// The status rsync ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Wire(error) => error.exit_code(),
            Self::IndexOutOfRange { .. } | Self::ValueOutOfRange { .. } => ExitCode::STREAM,
        }
    }
}

impl NeedsInput for AclError {
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Wire(error) => error.missing(),
            _ => None,
        }
    }
}

/// Most named entries of one ACL.
const MAX_NAMES: i32 = 65536;

const USER_OBJ: u8 = 0x01;
const GROUP_OBJ: u8 = 0x02;
const MASK: u8 = 0x04;
const OTHER: u8 = 0x08;
const NAMES: u8 = 0x10;

/// In the permissions of a named entry: a name follows.
const NAME_FOLLOWS: u32 = 1;
/// In the permissions of a named entry: it is a user.
const IS_USER: u32 = 2;

/// Remembers which ACLs of one table the receiver knows, and by which number.
#[derive(Debug, Default)]
pub struct AclEncoder {
    /// By number in the sender's table: number on the wire plus 1, 0 for not sent yet.
    sent: Vec<u32>,
    count: u32,
}

impl AclEncoder {
    /// Writes the ACL `number` of `table`: in full the first time, then as a reference.
    ///
    /// With `inline` names of owners follow their first use on the connection.
    pub(crate) fn put(
        &mut self,
        out: &mut Vec<u8>,
        table: &AclTable,
        number: u32,
        inline: bool,
        ids: &mut UsedIds,
    ) {
        let Some(acl) = table.get(number) else {
            debug_assert!(false, "ACL {number} is not in the table");
            return;
        };
        let slot = number as usize;
        if slot >= self.sent.len() {
            self.sent.resize(slot + 1, 0);
        }
        put_varint(out, self.sent[slot].cast_signed());
        if self.sent[slot] == 0 {
            self.count += 1;
            self.sent[slot] = self.count;
            put_literal(out, acl, inline, ids);
        }
    }
}

fn put_literal(out: &mut Vec<u8>, acl: &Acl, inline: bool, ids: &mut UsedIds) {
    let objects =
        [(acl.user_obj, USER_OBJ), (acl.group_obj, GROUP_OBJ), (acl.mask, MASK), (acl.other, OTHER)];
    let present = objects.iter().filter(|(bits, _)| bits.is_some()).fold(0, |flags, (_, flag)| flags | flag);
    out.push(if acl.names.is_empty() { present } else { present | NAMES });
    for bits in objects.iter().filter_map(|(bits, _)| *bits) {
        put_varint(out, i32::from(bits));
    }
    if acl.names.is_empty() {
        return;
    }
    put_varint(out, acl.names.len() as i32);
    for entry in &acl.names {
        let owner = if entry.is_group { Owner::Group } else { Owner::User };
        let text = ids.first_use(owner, entry.id).filter(|_| inline);
        put_varint(out, entry.id.cast_signed());
        let mut word = u32::from(entry.perms) << 2;
        word |= if entry.is_group { 0 } else { IS_USER };
        word |= if text.is_some() { NAME_FOLLOWS } else { 0 };
        put_varint(out, word.cast_signed());
        if let Some(text) = text {
            put_name(out, text);
        }
    }
}

/// Reads the ACLs of one table; a long one may arrive in pieces.
#[derive(Debug)]
pub struct AclReader {
    kind: AclKind,
    acls: Vec<Acl>,
    partial: Option<(Acl, i32)>,
}

impl AclReader {
    /// A reader with an empty table.
    #[must_use]
    pub fn new(kind: AclKind) -> Self {
        Self { kind, acls: Vec::new(), partial: None }
    }

    /// The ACL with `number`, condensed and with the sender's ids.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Acl> {
        self.acls.get(number as usize)
    }

    /// The ACLs received so far, by number.
    #[must_use]
    pub fn acls(&self) -> &[Acl] {
        &self.acls
    }

    /// Reads one ACL and answers its number. When input runs out, what was consumed stays
    /// consumed: call again with what follows.
    ///
    /// # Errors
    /// Those of [`AclError`].
    pub fn read(&mut self, input: &mut Cursor<'_>, names: &mut IdNames) -> Result<u32, AclError> {
        if self.partial.is_none() {
            let mut item = input.clone();
            let reference = varint(&mut item)?;
            let count = self.acls.len();
            if reference != 0 {
                let index = i64::from(reference);
                let known = usize::try_from(index).is_ok_and(|index| index <= count);
                *input = item;
                let out_of_range = AclError::IndexOutOfRange { kind: self.kind, index, count };
                return if known { Ok(index as u32 - 1) } else { Err(out_of_range) };
            }
            self.partial = Some(head(&mut item)?);
            *input = item;
        }
        while let Some((acl, left @ 1..)) = &mut self.partial {
            let mut item = input.clone();
            acl.names.push(named_entry(&mut item, names)?);
            *left -= 1;
            *input = item;
        }
        self.acls.extend(self.partial.take().map(|(acl, _)| acl));
        Ok(self.acls.len() as u32 - 1)
    }
}

/// Everything up to the count of named entries.
fn head(input: &mut Cursor<'_>) -> Result<(Acl, i32), AclError> {
    let flags = input.u8()?;
    let object = |flag: u8, input: &mut Cursor<'_>| {
        if flags & flag == 0 { Ok(None) } else { permissions(varint(input)?.cast_unsigned()).map(Some) }
    };
    let acl = Acl {
        user_obj: object(USER_OBJ, input)?,
        group_obj: object(GROUP_OBJ, input)?,
        mask: object(MASK, input)?,
        other: object(OTHER, input)?,
        names: Vec::new(),
    };
    if flags & NAMES == 0 {
        return Ok((acl, 0));
    }
    let count = varint(input)?;
    if !(0..=MAX_NAMES).contains(&count) {
        let max = i64::from(MAX_NAMES);
        return Err(WireError::OutOfRange { field: "ACL count", value: count.into(), min: 0, max }.into());
    }
    Ok((acl, count))
}

fn named_entry(input: &mut Cursor<'_>, names: &mut IdNames) -> Result<AclName, AclError> {
    let id = varint(input)?.cast_unsigned();
    let word = varint(input)?.cast_unsigned();
    let perms = permissions(word >> 2)?;
    let is_group = word & IS_USER == 0;
    if word & NAME_FOLLOWS != 0 {
        names.learn(if is_group { Owner::Group } else { Owner::User }, id, name(input)?);
    }
    Ok(AclName { is_group, id, perms })
}

fn permissions(value: u32) -> Result<u8, AclError> {
    u8::try_from(value).ok().filter(|bits| *bits <= 7).ok_or(AclError::ValueOutOfRange { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flist::NoNames;

    fn read(bytes: &[u8]) -> Result<Acl, AclError> {
        let mut reader = AclReader::new(AclKind::Access);
        let mut input = Cursor::new(bytes);
        let number = reader.read(&mut input, &mut IdNames::default())?;
        assert!(input.rest().is_empty());
        Ok(reader.get(number).expect("just read").clone())
    }

    #[test]
    fn acls_have_the_golden_form() {
        let user = |id, perms| AclName { is_group: false, id, perms };
        let group = |id, perms| AclName { is_group: true, id, perms };
        let golden: [(&[u8], Acl); 4] = [
            (&[0, 0], Acl::default()),
            (
                &[0, 0x12, 4, 3, 0x21, 0x1a, 0x83, 0xe9, 0x1a, 0x64, 0x10],
                Acl {
                    group_obj: Some(4),
                    names: vec![user(33, 6), user(1001, 6), group(100, 4)],
                    ..Acl::default()
                },
            ),
            (&[0, 6, 6, 4], Acl { group_obj: Some(6), mask: Some(4), ..Acl::default() }),
            (&[0, 0x10, 1, 0x83, 0xe9, 0x1e], Acl { names: vec![user(1001, 7)], ..Acl::default() }),
        ];
        for (bytes, acl) in golden {
            assert_eq!(read(bytes), Ok(acl.clone()));
            let (mut table, mut out) = (AclTable::default(), Vec::new());
            let number = table.intern(acl);
            let mut ids = UsedIds::new(Box::new(NoNames));
            AclEncoder::default().put(&mut out, &table, number, true, &mut ids);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn hostile_acls_are_refused_in_the_words_of_the_c_rsync() {
        let cases: [(&[u8], &str, ExitCode); 5] = [
            (&[5], "recv_acl_index: ACL_TYPE_ACCESS ACL index 5 > 0", ExitCode::STREAM),
            (
                &[0xf0, 0xff, 0xff, 0xff, 0xff],
                "recv_acl_index: ACL_TYPE_ACCESS ACL index -1 > 0",
                ExitCode::STREAM,
            ),
            (&[0, 1, 8], "recv_acl_access: value out of range: 8", ExitCode::STREAM),
            (&[0, 0x10, 1, 5, 0x22], "recv_acl_access: value out of range: 8", ExitCode::STREAM),
            (
                &[0, 0x10, 0xc1, 1, 0],
                "wire value ACL count out of range: 65537 not in [0,65536]",
                ExitCode::PROTOCOL,
            ),
        ];
        for (bytes, words, code) in cases {
            let error = read(bytes).expect_err(words);
            assert_eq!((error.to_string().as_str(), error.exit_code()), (words, code));
        }
    }

    #[test]
    fn a_dripping_peer_makes_progress_name_by_name() {
        let bytes = [0, 0x12, 4, 2, 0x21, 0x1b, 3, b'w', b'w', b'w', 0x64, 0x10];
        let mut reader = AclReader::new(AclKind::Default);
        let mut names = IdNames::default();
        let mut consumed = 0;
        let mut number = None;
        for end in 1..=bytes.len() {
            let mut input = Cursor::new(&bytes[consumed..end]);
            number = reader.read(&mut input, &mut names).ok();
            consumed += input.position();
        }
        let acl = reader.get(number.expect("complete")).expect("known");
        assert_eq!(acl.names.len(), 2);
        assert_eq!(names.get(Owner::User, 33), Some(&b"www"[..]));
    }
}
