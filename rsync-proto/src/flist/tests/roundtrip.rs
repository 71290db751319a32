//! Random lists through encoder and decoder, for every protocol and set of columns.

use proptest::prelude::*;

use super::*;

fn any_session() -> impl Strategy<Value = Negotiated> {
    prop_oneof![
        (27_u8..=29).prop_map(|protocol| session(protocol, 0)),
        (30_u8..=32, prop::sample::select(vec![NON_INC, 0x17e, 0x7e, 0x1f6]))
            .prop_map(|(protocol, compat)| session(protocol, compat)),
    ]
}

fn any_columns() -> impl Strategy<Value = Columns> {
    (any::<[bool; 10]>(), prop::sample::select(vec![None, Some(8_usize), Some(16), Some(20)])).prop_map(
        |(on, checksum)| Columns {
            uid: on[0],
            gid: on[1],
            devices: on[2],
            specials: on[3],
            links: on[4],
            hard_links: on[5],
            atimes: on[6],
            numeric_ids: on[7],
            acls: on[8],
            xattrs: on[9],
            checksum,
            recurse: true,
            ..Columns::default()
        },
    )
}

/// Entries by number of a small pool of values, so that much is inherited and much is linked.
fn any_entry() -> impl Strategy<Value = Entry> {
    let modes = vec![0o100_644, 0o100_600, 0o040_755, 0o120_777, 0o020_600, 0o060_600, 0o010_600, 0o140_700];
    let times = vec![0, 1_000_000_000, 1_000_000_001, -5, 5_000_000_000];
    let small = || prop::sample::select(vec![0_u32, 1, 33, 255, 256, 70_000, u32::MAX]);
    (
        ("[ab]{1,3}(/[ab]{1,2}){0,2}", prop::sample::select(vec![0_usize, 0, 0, 200, 900])),
        prop::sample::select(modes),
        prop::sample::select(vec![0_u64, 5, 70_000, 5 << 30, i64::MAX as u64]),
        prop::sample::select(times.clone()),
        prop::sample::select(vec![0_u32, 5, 999_999_999]),
        prop::sample::select(times),
        (small(), small(), small(), small()),
        (0_u64..4, any::<bool>(), 0_u32..3),
    )
        .prop_map(
            |((path, tail), mode, size, mtime, nsec, atime, (uid, gid, major, minor), (ino, shared, acl))| {
                let kind = Kind::of_mode(mode).expect("listed above");
                let mut entry = entry(&(path + &"x".repeat(tail)), mode, size, mtime);
                (entry.nsec, entry.atime, entry.uid, entry.gid) = (nsec, atime, uid, gid);
                if kind.is_device() {
                    (entry.rdev, entry.size) =
                        (DeviceNumber { major: major & 0xfff, minor: minor & 0xf_ffff }, 0);
                }
                if kind == Kind::Symlink {
                    entry.target = b"target".to_vec();
                }
                if kind == Kind::File {
                    entry.digest = vec![7; 20];
                }
                entry.inode = Some(Inode { dev: ino % 2, ino, shared });
                entry.access_acl = Some(acl);
                entry.xattrs = Some(acl);
                entry.default_acl = Some(acl);
                entry
            },
        )
}

/// Hard links of each other agree in everything but the path, as on a disk.
fn agree(entries: &mut [Entry]) {
    let mut by_inode: std::collections::HashMap<u64, Entry> = std::collections::HashMap::new();
    for entry in entries.iter_mut().filter(|entry| entry.kind() != Kind::Dir) {
        let Some(inode) = entry.inode.filter(|inode| inode.shared) else {
            entry.inode = entry.inode.map(|inode| Inode { ino: inode.ino + 1000, ..inode });
            continue;
        };
        let first = by_inode.entry(inode.ino).or_insert_with(|| entry.clone());
        let path = std::mem::take(&mut entry.path);
        *entry = Entry { path, ..first.clone() };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn lists_survive_the_wire(
        negotiated in any_session(),
        mut columns in any_columns(),
        mut entries in prop::collection::vec(any_entry(), 0..30),
        io_error in 0_i32..8,
        piece in 1_usize..64,
    ) {
        if !negotiated.is_modern() {
            (columns.acls, columns.xattrs) = (false, false);
            for entry in &mut entries {
                entry.mtime = entry.mtime.clamp(0, i64::from(u32::MAX));
            }
        }
        agree(&mut entries);
        entries.insert(0, top(dir(".")));
        let mut encoder = FileListEncoder::new(&negotiated, columns.clone(), Box::new(Captured));
        for number in 0..3_u8 {
            let name = crate::meta::AclName { is_group: number == 1, id: u32::from(number), perms: number };
            encoder.acls.intern(crate::meta::Acl { names: vec![name], ..Default::default() });
            encoder.xattrs.intern(vec![crate::meta::SentXattr {
                local: b"user.a".into(),
                name: b"user.a".into(),
                value: crate::meta::XattrValue::abbreviated(vec![number; 20 * usize::from(number)]),
            }]);
        }
        let safe = negotiated.safe_file_list() || !negotiated.is_modern();
        let io_error = if safe { io_error } else { 0 };
        let mut list = List::first(0, entries, "");
        list.io_error = io_error;
        let bytes = encoded(&mut encoder, &list);

        let mut decoder = FileListDecoder::new(&negotiated, columns.clone());
        let mut builder = SegmentBuilder::new(0, &columns);
        prop_assert_eq!(decode(&mut decoder, &mut builder, &bytes, piece), Ok(io_error));
        prop_assert_eq!(builder.len(), list.entries.len());
        for (position, sent) in list.entries.iter().enumerate() {
            let mut found = Entry::default();
            builder.get(position).expect("counted").load(&mut found);
            let (access, default) = (found.access_acl.take(), found.default_acl.take());
            let xattrs = found.xattrs.take();
            let kind = sent.kind();
            prop_assert_eq!(access.is_some(), columns.acls && kind != Kind::Symlink);
            prop_assert_eq!(default.is_some(), columns.acls && kind == Kind::Dir);
            prop_assert_eq!(xattrs.is_some(), columns.xattrs);
            if let Some(access) = access {
                let acl = decoder.access_acls.get(access).expect("received");
                prop_assert_eq!(acl.names.first().map(|name| name.id), sent.access_acl);
            }
            if let Some(list) = xattrs {
                let list = decoder.xattrs.get(list).expect("received");
                prop_assert_eq!(list.items.first().map(|item| item.value.len() as u32 / 20), sent.xattrs);
            }
            let group = found.group.take();
            let linked = columns.hard_links
                && kind != Kind::Dir
                && (sent.inode.is_some_and(|inode| inode.shared) || !negotiated.has_extended_flags());
            if negotiated.has_extended_flags() {
                prop_assert_eq!(group.is_some(), linked);
            }
            if let (Some(group), true) = (group, linked) {
                let leader = &list.entries[group as usize];
                prop_assert_eq!(leader.inode.map(|inode| inode.ino), sent.inode.map(|inode| inode.ino));
            }
            let mut expected = received(sent, &columns, &negotiated);
            (expected.access_acl, expected.default_acl, expected.xattrs) = (None, None, None);
            if let (Some(length), Kind::File) = (columns.checksum, kind) {
                expected.digest = vec![7; length];
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn hostile_bytes_never_panic(
        negotiated in any_session(),
        columns in any_columns(),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut decoder = FileListDecoder::new(&negotiated, columns.clone());
        let mut builder = SegmentBuilder::new(0, &columns);
        let mut input = Cursor::new(&bytes);
        while decoder.next(&mut input, &mut builder).is_ok() && !input.rest().is_empty() {}
        let segment = builder.finish(Finish { clean: true, number_directories: true, ..Finish::default() });
        let _ = segment.check_parents();
        let order = segment.order();
        let sorted = segment.iter().is_sorted_by(|a, b| order.compare(a.key(), b.key()).is_le());
        prop_assert!(sorted);
    }

    #[test]
    fn sorting_is_stable_and_agrees_with_comparing(
        words in prop::collection::vec("/?[!a./-]{1,3}(/[a0.]{1,2}){0,2}", 0..40),
        dirs in prop::collection::vec(any::<bool>(), 40),
        by_path: bool,
    ) {
        let order = if by_path { Order::ByPath } else { Order::ByComponent };
        let mut builder = SegmentBuilder::new(0, &Columns::default());
        for (position, (word, is_dir)) in words.iter().zip(dirs).enumerate() {
            let mut path = Vec::new();
            if super::super::name::normalize(word.as_bytes(), true, &mut path).is_err() {
                continue;
            }
            let mode = if is_dir { 0o040_755 } else { 0o100_644 };
            builder.push(&Entry { path, mtime: position as i64, mode, ..Entry::default() }).expect("room");
        }
        let segment = builder.finish(Finish { order, ..Finish::default() });
        for (a, b) in segment.iter().zip(segment.iter().skip(1)) {
            let compared = order.compare(a.key(), b.key()).then(a.mtime().cmp(&b.mtime()));
            prop_assert!(compared.is_lt(), "{a:?} {b:?}");
        }
    }
}
