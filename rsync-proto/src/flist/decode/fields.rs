//! The numeric fields of an entry, its target and its digest (spec 03 §3, fields 6 to 17c).

use super::{FileListDecoder, Head};
use crate::flist::codec::{Codec, Inherited, bit};
use crate::flist::entry::{DeviceNumber, Kind};
use crate::flist::error::FileListError;
use crate::flist::ids::{Owner, name};
use crate::flist::links::{LinkTargets, MUNGE_PREFIX, target_inside};
use crate::flist::name::MAX_PATH;
use crate::wire::{Cursor, WireError, longint, varint, varint30, varlong, varlong30};

impl FileListDecoder {
    /// Reads everything between the link index and the ACLs.
    pub(super) fn fields(
        &mut self,
        input: &mut Cursor<'_>,
        flags: u32,
        head: &mut Head,
    ) -> Result<(), FileListError> {
        let modern = self.codec.modern;
        let numbers = &mut head.numbers;
        let size = varlong30(input, 3, modern)?;
        self.entry.size = u64::try_from(size).map_err(|_| FileListError::NegativeLength)?;
        if flags & bit::SAME_TIME == 0 {
            numbers.mtime = if modern { varlong(input, 4)? } else { i64::from(input.u32()?) };
        }
        self.entry.mtime = numbers.mtime;
        if self.codec.nanoseconds && flags & bit::NANOSECONDS != 0 {
            self.entry.nsec = nanoseconds(input)?;
        }
        if self.codec.columns.crtimes {
            let same = flags & bit::CREATED_AT_MTIME != 0;
            self.entry.crtime = if same { numbers.mtime } else { varlong(input, 4)? };
        }
        if flags & bit::SAME_MODE == 0 {
            numbers.mode = input.u32()?;
        }
        self.entry.mode = numbers.mode;
        let kind = self.entry.kind();
        if self.codec.columns.atimes && kind != Kind::Dir {
            if !self.codec.extended || flags & bit::SAME_ATIME == 0 {
                numbers.atime = varlong(input, 4)?;
            }
            self.entry.atime = numbers.atime;
        }
        self.owners(input, flags, numbers)?;
        self.rdev(input, flags, kind, numbers)?;
        if self.codec.columns.links && kind == Kind::Symlink {
            self.target(input)?;
            match self.link_targets {
                LinkTargets::Kept => {}
                LinkTargets::Munged => drop(self.entry.target.splice(..0, MUNGE_PREFIX.iter().copied())),
                LinkTargets::Inside => self.entry.target = target_inside(&self.entry.target, &self.raw),
            }
        }
        self.entry.group = self.group(input, flags, kind, head)?;
        if let Some(length) = self.codec.digest_len(kind) {
            self.entry.digest.extend_from_slice(input.take(length)?);
        }
        Ok(())
    }

    fn owners(
        &mut self,
        input: &mut Cursor<'_>,
        flags: u32,
        numbers: &mut Inherited,
    ) -> Result<(), FileListError> {
        let Codec { modern, columns, .. } = &self.codec;
        if columns.uid {
            if flags & bit::SAME_UID == 0 {
                numbers.uid = varint30(input, *modern)?.cast_unsigned();
                if *modern && flags & bit::USER_NAME != 0 {
                    self.names.learn(Owner::User, numbers.uid, name(input)?);
                }
            }
            self.entry.uid = numbers.uid;
        }
        if columns.gid {
            if flags & bit::SAME_GID == 0 {
                numbers.gid = varint30(input, *modern)?.cast_unsigned();
                if *modern && flags & bit::GROUP_NAME != 0 {
                    self.names.learn(Owner::Group, numbers.gid, name(input)?);
                }
            }
            self.entry.gid = numbers.gid;
        }
        Ok(())
    }

    fn rdev(
        &mut self,
        input: &mut Cursor<'_>,
        flags: u32,
        kind: Kind,
        numbers: &mut Inherited,
    ) -> Result<(), FileListError> {
        let Codec { extended, modern, .. } = self.codec;
        if !self.codec.has_rdev(kind) {
            if !extended {
                numbers.rdev = DeviceNumber::default();
            }
            return Ok(());
        }
        let mut rdev = numbers.rdev;
        if !extended {
            if flags & bit::SAME_RDEV == 0 {
                rdev = DeviceNumber::from_native(input.u32()?);
            }
        } else {
            if flags & bit::SAME_MAJOR == 0 {
                rdev.major = varint30(input, modern)?.cast_unsigned();
            }
            rdev.minor = match (modern, flags & bit::MINOR_8 != 0) {
                (true, _) => varint(input)?.cast_unsigned(),
                (false, true) => input.u8()?.into(),
                (false, false) => input.u32()?,
            };
        }
        if kind.is_device() {
            numbers.rdev = rdev;
            self.entry.rdev = rdev;
        }
        Ok(())
    }

    fn target(&mut self, input: &mut Cursor<'_>) -> Result<(), FileListError> {
        let length = i64::from(varint30(input, self.codec.modern)?);
        let taken = usize::try_from(length).ok().filter(|length| *length <= MAX_PATH);
        let target = input.take(taken.ok_or(FileListError::TargetTooLong { length })?)?;
        if target.contains(&0) {
            return Err(FileListError::NulByte { text: target.into() });
        }
        match self.conversion.map(|conversion| conversion.target_from_wire(target)) {
            None => self.entry.target.extend_from_slice(target),
            Some(Ok(local)) => self.entry.target = local,
            Some(Err(unconverted)) => {
                self.unconverted.get_or_insert(unconverted);
            }
        }
        Ok(())
    }

    /// The hard-link group of an entry with all its fields, device and inode being read below
    /// protocol 30.
    fn group(
        &mut self,
        input: &mut Cursor<'_>,
        flags: u32,
        kind: Kind,
        head: &mut Head,
    ) -> Result<Option<u32>, FileListError> {
        let linked = flags & bit::HARD_LINKED != 0;
        let &mut Head { start, index, reference, ref mut numbers, .. } = head;
        if self.codec.modern {
            return match reference {
                None => Ok((linked && kind != Kind::Dir).then_some(index)),
                Some(group) if self.groups.contains(&group) => Ok(Some(group)),
                Some(group) => Err(FileListError::LinkUnknown { index: group, start }),
            };
        }
        let carried = if self.codec.extended { linked } else { kind == Kind::File };
        if !self.codec.columns.hard_links || !carried {
            return Ok(None);
        }
        if !self.codec.extended || flags & bit::SAME_DEV == 0 {
            numbers.dev = longint(input)?.wrapping_sub(1);
        }
        let inode = longint(input)?;
        if kind == Kind::Dir {
            return Ok(None);
        }
        Ok(Some(self.inodes.join(numbers.dev.cast_unsigned(), inode.cast_unsigned(), index).0))
    }
}

fn nanoseconds(input: &mut Cursor<'_>) -> Result<u32, WireError> {
    const MAX: i64 = 999_999_999;
    let value = varint(input)?;
    u32::try_from(value).ok().filter(|nsec| i64::from(*nsec) <= MAX).ok_or(WireError::OutOfRange {
        field: "modtime_nsec",
        value: value.into(),
        min: 0,
        max: MAX,
    })
}
