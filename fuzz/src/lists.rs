//! File lists with their ids, ACLs and extended attributes.

use rsync_proto::flist::{Columns, FileListDecoder, Finish, IdNames, Item, Order, SegmentBuilder};
use rsync_proto::meta::{
    Acl, AclKind, AclReader, SentXattrs, XattrAnswerReader, XattrReader, XattrRequests, XattrTable,
    acl_from_attribute, acl_to_attribute,
};
use rsync_proto::session::Negotiated;

use crate::{Choices, drive, drive_resuming};

/// Bytes that one table of a list may take.
const MAX_ALLOC: u64 = 16 << 20;
/// Lists read from one input.
const MAX_LISTS: usize = 8;

/// The agreed options, from 16 bits.
pub(crate) fn columns(bits: u16) -> Columns {
    let bit = |place: u32| bits >> place & 1 == 1;
    Columns {
        uid: bit(0),
        gid: bit(1),
        devices: bit(2),
        specials: bit(3),
        links: bit(4),
        hard_links: bit(5),
        acls: bit(6),
        xattrs: bit(7),
        atimes: bit(8),
        crtimes: bit(9),
        checksum: bit(10).then_some(16),
        numeric_ids: bit(11),
        relative: bit(12),
        recurse: bit(13),
        delete_missing_args: bit(14),
        iconv: bit(15),
    }
}

/// Whole sessions of file lists; sorted, cleaned and read back through every accessor.
pub fn file_list(data: &[u8]) {
    let mut choices = Choices(data);
    let negotiated = choices.negotiated();
    let columns = columns(choices.word());
    let data = choices.rest();
    let whole = decode(&negotiated, &columns, data, data.len().max(1));
    assert_eq!(decode(&negotiated, &columns, data, 1), whole);
}

fn decode(negotiated: &Negotiated, columns: &Columns, data: &[u8], piece: usize) -> (Vec<String>, bool) {
    let mut decoder = FileListDecoder::new(negotiated, columns.clone());
    let incremental = negotiated.incremental_recursion();
    let builder = |start: u32| SegmentBuilder::new(start, columns).max_alloc(MAX_ALLOC);
    let mut list = builder(u32::from(incremental));
    let mut seen = Vec::new();
    let mut lists = 0;
    let (_, failed) = drive(data, piece, |input| {
        if let Item::End { io_error } = decoder.next(input, &mut list)? {
            assert!((0..8).contains(&io_error));
            let next = list.start() + list.len() as u32 + 1;
            finish(std::mem::replace(&mut list, builder(next)), negotiated, columns, &mut seen);
            lists += 1;
        }
        Ok::<_, rsync_proto::flist::FileListError>(lists < MAX_LISTS)
    });
    finish(list, negotiated, columns, &mut seen);
    (seen, failed)
}

fn finish(list: SegmentBuilder, negotiated: &Negotiated, columns: &Columns, seen: &mut Vec<String>) {
    let segment = list.finish(Finish {
        order: Order::of(negotiated),
        clean: true,
        number_by_wire: columns.iconv,
        number_directories: negotiated.incremental_recursion(),
    });
    let mut entry = rsync_proto::flist::Entry::default();
    for found in segment.iter() {
        found.load(&mut entry);
        assert_eq!(segment.by_index(found.index()).map(|again| again.place()), Some(found.place()));
        assert!(!entry.path.contains(&0) && entry.path.len() < 4096);
        assert!(columns.relative || entry.path.first() != Some(&b'/'));
        assert!(entry.path.split(|byte| *byte == b'/').all(|part| part != b".."), "{:?}", entry.path);
        seen.push(format!("{found:?} {entry:?} {:?}", found.is_active()));
    }
}

/// ACLs on the wire and in the attributes of `--fake-super`.
pub fn acls(data: &[u8]) {
    let mut choices = Choices(data);
    let kind = if choices.byte() & 1 == 1 { AclKind::Access } else { AclKind::Default };
    let mode = u32::from(choices.word());
    let data = choices.rest();
    let read = |piece: usize| {
        let (mut reader, mut names) = (AclReader::new(kind), IdNames::default());
        let end = drive_resuming(data, piece, |input| reader.read(input, &mut names).map(|_| true));
        (reader.acls().to_vec(), end.1)
    };
    let whole = read(data.len().max(1));
    assert_eq!(read(1), whole);
    for acl in whole.0 {
        use_acl(acl, mode);
    }
    if let Some(acl) = acl_from_attribute(data) {
        use_acl(acl, mode);
    }
}

fn use_acl(acl: Acl, mode: u32) {
    let complete = acl.clone().completed(mode);
    let _ = acl.access_differs(&complete, mode);
    let _ = acl_from_attribute(&acl_to_attribute(&complete));
    let _ = acl.with_default_mask();
}

/// Extended attributes: lists, requests for long values, and their answers.
pub fn xattrs(data: &[u8]) {
    let read = |piece: usize| {
        let mut reader = XattrReader::default();
        let mut keep = |name: &[u8]| (name.first() != Some(&b'!')).then(|| name.to_vec());
        let end = drive_resuming(data, piece, |input| reader.read(input, b"file", &mut keep).map(|_| true));
        (format!("{:?}", reader.lists()), end.1)
    };
    assert_eq!(read(data.len().max(1)), read(1));
    let mut answers = XattrAnswerReader::default();
    drive_resuming(data, data.len().max(1), |input| answers.next(input, b"file").map(|_| true));
    let mut table = XattrTable::default();
    let list = table.intern(SentXattrs::default());
    let mut requests = XattrRequests::default();
    drive_resuming(data, 1, |input| requests.read(input, &table, list, b"file").map(|_| true));
}
