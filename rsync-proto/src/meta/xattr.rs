//! Extended attributes as values: what a sender offers and what a receiver still lacks (spec 04 §3).

use md5::{Digest, Md5};

/// Longest value that travels inside the file list, in bytes.
const MAX_INLINE: usize = 32;

/// The value of an attribute, or what stands for it in the file list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum XattrValue {
    /// The value itself.
    Known(Vec<u8>),
    /// Only its length in bytes and its MD5: values above 32 bytes travel on request.
    Digest {
        /// Length in bytes.
        len: u32,
        /// Digest of the value, without any seed.
        md5: [u8; 16],
    },
}

impl XattrValue {
    /// The form a file list carries: long values by their digest.
    #[must_use]
    pub fn abbreviated(value: Vec<u8>) -> Self {
        if value.len() > MAX_INLINE {
            Self::Digest { len: value.len() as u32, md5: Md5::digest(&value).into() }
        } else {
            Self::Known(value)
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Known(value) => value.len(),
            Self::Digest { len, .. } => *len as usize,
        }
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `value` is this value.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Known(known) => known == value,
            Self::Digest { len, md5 } => *len as usize == value.len() && md5[..] == Md5::digest(value)[..],
        }
    }

    /// Whether the length says that the value is sent on request.
    pub(super) fn is_abbreviated(len: usize) -> bool {
        len > MAX_INLINE
    }
}

/// One attribute a sender offers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SentXattr {
    /// Name on the sender's disk.
    pub local: Vec<u8>,
    /// Name on the wire, without NUL bytes.
    pub name: Vec<u8>,
    /// Its value, long ones [abbreviated](XattrValue::abbreviated).
    pub value: XattrValue,
}

/// The attributes of one entry, in the order of their local names.
pub type SentXattrs = Vec<SentXattr>;

/// One attribute of a received list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedXattr {
    /// Name to use on this side's disk.
    pub name: Vec<u8>,
    /// Place on the wire, counted from 1.
    pub number: u32,
    /// What is known of its value.
    pub value: XattrValue,
    /// The value was asked for: each may be, once per session.
    pub requested: bool,
}

/// A received list of attributes, sorted by name; entries with the same number share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedXattrs {
    /// The attributes that remain after the receiver's name rules.
    pub items: Vec<ReceivedXattr>,
}

impl ReceivedXattrs {
    /// Whether `local`, the names and values on disk in order of names, is not what was sent.
    #[must_use]
    pub fn differs_from(&self, local: &[(Vec<u8>, Vec<u8>)]) -> bool {
        self.items.len() != local.len()
            || self
                .items
                .iter()
                .zip(local)
                .any(|(item, (name, value))| item.name != *name || !item.value.matches(value))
    }

    /// The numbers to ask for, in the order of names: values only known by digest, never asked for
    /// and not what `local` (the names and values on disk) has. They count as asked for from now
    /// on; what `local` has becomes known (spec 04 §3.3).
    pub fn take_wanted(&mut self, local: &[(Vec<u8>, Vec<u8>)]) -> Vec<u32> {
        let mut wanted = Vec::new();
        for item in &mut self.items {
            if matches!(item.value, XattrValue::Known(_)) {
                continue;
            }
            let found = local.iter().find(|(name, value)| *name == item.name && item.value.matches(value));
            if let Some((_, value)) = found {
                item.value = XattrValue::Known(value.clone());
            } else if !item.requested {
                item.requested = true;
                wanted.push(item.number);
            }
        }
        wanted
    }

    /// The attribute with `number` whose value may arrive now: it is only known by its digest.
    #[must_use]
    pub fn awaited(&mut self, number: u32) -> Option<&mut ReceivedXattr> {
        let item = self.items.iter_mut().find(|item| item.number == number)?;
        matches!(item.value, XattrValue::Digest { .. }).then_some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[(&str, Vec<u8>)]) -> ReceivedXattrs {
        let item = |(number, (name, value)): (usize, &(&str, Vec<u8>))| ReceivedXattr {
            name: name.as_bytes().to_vec(),
            number: number as u32 + 1,
            value: XattrValue::abbreviated(value.clone()),
            requested: false,
        };
        ReceivedXattrs { items: values.iter().enumerate().map(item).collect() }
    }

    #[test]
    fn only_values_above_32_bytes_are_abbreviated() {
        assert_eq!(XattrValue::abbreviated(vec![1; 32]), XattrValue::Known(vec![1; 32]));
        let long = XattrValue::abbreviated(vec![1; 33]);
        assert!(matches!(long, XattrValue::Digest { len: 33, .. }));
        assert!(long.matches(&[1; 33]) && !long.matches(&[2; 33]));
    }

    #[test]
    fn each_value_is_asked_for_once_and_never_if_the_disk_has_it() {
        let mut list = list(&[("user.a", vec![1; 40]), ("user.b", vec![2; 40]), ("user.c", vec![3; 3])]);
        let local = [(b"user.b".to_vec(), vec![2; 40])];
        assert!(list.differs_from(&local));
        assert_eq!(list.take_wanted(&local), [1]);
        assert_eq!(list.take_wanted(&[]), Vec::<u32>::new(), "1 is under way, 2 is known by now");
        assert!(list.awaited(1).is_some() && list.awaited(2).is_none() && list.awaited(9).is_none());
    }
}
