//! The vectors of spec 03 §12: entries to bytes and bytes to entries.

use super::*;

fn owned(mut entry: Entry, uid: u32, gid: u32) -> Entry {
    (entry.uid, entry.gid) = (uid, gid);
    entry
}

fn with_nsec(mut entry: Entry, nsec: u32) -> Entry {
    entry.nsec = nsec;
    entry
}

fn symlink(path: &str, target: &str) -> Entry {
    Entry { target: target.into(), ..entry(path, 0o120_777, target.len() as u64, 1_000_000_000) }
}

/// The tree of §12.1 in wire order.
fn archive_tree() -> Vec<Entry> {
    vec![
        top(dir(".")),
        file("alpha1", 5),
        symlink("zlink", "alpha1"),
        owned(dir("sub"), 4242, 4242),
        owned(with_nsec(entry("alpha2", 0o100_644, 7, 1_000_000_001), 500_000_000), 1, 1),
        entry("sub/alpha", 0o100_600, 1, 1_000_000_000),
    ]
}

#[test]
fn an_archive_list_below_protocol_30() {
    let bytes = "
        01 012e 00100000 00ca9a3b ed410000 00000000 00000000
        98 06616c70686131 05000000 a4810000
        98 057a6c696e6b 06000000 ffa10000 06000000616c70686131
        80 03737562 00100000 ed410000 92100000 92100000
        01 06616c70686132 07000000 01ca9a3b a4810000 01000000 01000000
        01 097375622f616c706861 01000000 00ca9a3b 80810000 00000000 00000000
        00
        01000000066461656d6f6e00000000  01000000066461656d6f6e00000000
        00000000";
    for protocol in 27..=29 {
        check(&session(protocol, 0), &archive(), &[List::first(0, archive_tree(), bytes)]);
    }
}

#[test]
fn an_archive_list_with_varint_flags() {
    let bytes = "
        01 012e 000010 3b00ca9a ed410000 00 00
        8098 06616c70686131 000500 a4810000
        8098 057a6c696e6b 000600 ffa10000 06616c70686131
        8080 03737562 000010 ed410000 9092 9092
        a000 06616c70686132 000700 3b01ca9a f00065cd1d a4810000 01 01
        04 097375622f616c706861 000100 3b00ca9a 80810000 00 00
        0000  01066461656d6f6e0004726f6f74  01066461656d6f6e0004726f6f74";
    check(&session(32, NON_INC), &archive(), &[List::first(0, archive_tree(), bytes)]);
}

#[test]
fn an_archive_in_incremental_lists() {
    let tree = archive_tree();
    let split = |first, second| {
        [List::first(1, tree[..5].to_vec(), first), List::below(1, "sub", 7, tree[5..].to_vec(), second)]
    };
    let head = "
        8c01 012e 000010 3b00ca9a ed410000 00 04726f6f74 00 04726f6f74
        809806616c70686131000500a4810000
        8098057a6c696e6b000600ffa1000006616c70686131
        808003737562000010ed41000090929092
        ac00 06616c70686132 000700 3b01ca9a f00065cd1d a4810000 01 066461656d6f6e 01 066461656d6f6e
        0000";
    let tail = "04 097375622f616c706861 000100 3b00ca9a 80810000 00 00 0000";
    check(&session(32, INC), &archive(), &split(head, tail));
    let old_head = "
        8c01 012e 000010 3b00ca9a ed410000 00 04726f6f74 00 04726f6f74
        809806616c70686131000500a4810000
        8098057a6c696e6b000600ffa1000006616c70686131
        808003737562000010ed41000090929092
        8c00 06616c70686132 000700 3b01ca9a a4810000 01 066461656d6f6e 01 066461656d6f6e
        0000";
    check(&session(30, INC), &archive(), &split(old_head, tail));
    let plain_head = "
        050c012e0000103b00ca9aed4100000004726f6f740004726f6f74
        9806616c70686131000500a4810000   98057a6c696e6b000600ffa1000006616c70686131
        8003737562000010ed41000090929092
        042c06616c706861320007003b01ca9af00065cd1da481000001066461656d6f6e01066461656d6f6e
        00";
    let plain_tail = "01097375622f616c7068610001003b00ca9a808100000000 00";
    check(&session(31, INC_PLAIN), &archive(), &split(plain_head, plain_tail));
}

#[test]
fn a_word_without_flags_has_a_filler() {
    let columns = Columns { numeric_ids: true, ..archive() };
    let tree =
        || vec![top(entry(".", 0o040_755, 4096, 0)), owned(entry("q", 0o040_700, 4096, 1_000_000_005), 1, 1)];
    let all = |bytes| [List::first(0, tree(), bytes)];
    let parts = |first| [List::first(1, tree(), first)];
    check(
        &session(27, 0),
        &columns,
        &all("81012e00100000ed41000000000000 00000000
              40 01000000 71 00100000 05ca9a3b c0410000 01000000 01000000  00 00000000"),
    );
    for protocol in [28, 29] {
        check(
            &session(protocol, 0),
            &columns,
            &all("81012e00100000ed41000000000000 00000000
                  0400 01 71 00100000 05ca9a3b c0410000 01000000 01000000  00 00000000"),
        );
    }
    check(
        &session(31, INC_PLAIN),
        &columns,
        &parts("81012e000010ed4100000000  0400 01 71 000010 3b05ca9a c0410000 01 01  00"),
    );
    check(
        &session(32, INC),
        &columns,
        &parts("8081012e000010ed4100000000  04 01 71 000010 3b05ca9a c0410000 01 01  0000"),
    );
}

/// The tree of §12.3: each file with its inode, and whether it has several names.
fn linked_tree(device: u64) -> Vec<Entry> {
    let inode = |entry: Entry, low: u64, shared| Entry {
        nsec: 250_000_000,
        inode: Some(Inode { dev: device, ino: 0x0099_2500 | low, shared }),
        ..entry
    };
    vec![
        top(dir(".")),
        inode(symlink("s2", "tgt"), 0x99, true),
        inode(file("h2", 5), 0x97, true),
        inode(file("solo", 4), 0x98, false),
        inode(symlink("s1", "tgt"), 0x99, true),
        inode(file("h1", 5), 0x97, true),
        dir("d"),
        inode(file("d/g1", 2), 0x9a, true),
        inode(file("d/g2", 2), 0x9a, true),
        inode(file("d/h3", 5), 0x97, true),
    ]
}

fn linking() -> Columns {
    Columns { hard_links: true, links: true, recurse: true, ..Columns::default() }
}

#[test]
fn hard_links_by_device_and_inode() {
    let protocol_27 = "
        19012e0010000000ca9a3bed410000
        9802733203000000ffa100000300 0000746774
        9802683205000000a481000001fe000097259900
        9a04736f6c6f0400000001fe000098259900
        b801013103000000ffa1000003000000746774
        9802683105000000a481000001fe000097259900
        98016400100000ed410000
        b801032f673102000000a481000001fe00009a259900
        ba0301320200000001fe00009a259900
        ba020268330500000001fe000097259900
        00 00000000";
    check(&session(27, 0), &linking(), &[List::first(0, linked_tree(65024), protocol_27)]);
    let protocol_28 = "
        19012e0010000000ca9a3bed410000
        9c0202733203000000ffa100000300000074677401fe000099259900
        9c0602683205000000a481000097259900
        9a04736f6c6f04000000
        bc0601013103000000ffa100000300000074677499259900
        9c0602683105000000a481000097259900
        98016400100000ed410000
        bc0601032f673102000000a48100009a259900  be06030132020000009a259900  be06020268330500000097259900
        00 00000000";
    for protocol in [28, 29] {
        check(&session(protocol, 0), &linking(), &[List::first(0, linked_tree(65024), protocol_28)]);
    }
}

#[test]
fn hard_links_by_index() {
    let whole = "
        19012e0000103b00ca9aed410000
        b298 027332 000300 ee80b2e6 ffa10000 03746774
        b298 026832 000500 ee80b2e6 a4810000
        a09a04736f6c6f000400ee80b2e6
        a2b8 01 0131 01
        a298 026831 02
        80980164000010ed410000
        b2b801032f6731000200ee80b2e6a4810000
        a2ba 03 0132 07   a2ba 02 026833 02
        0000";
    check(&session(32, NON_INC), &linking(), &[List::first(0, linked_tree(65024), whole)]);
    let first = "
        19012e0000103b00ca9aed410000
        b298 027332 000300 ee80b2e6 ffa10000 03746774
        b298 026832 000500 ee80b2e6 a4810000
        a09a04736f6c6f000400ee80b2e6
        a2b801013102
        a29802683103
        80980164000010ed410000
        0000";
    let second = "
        b2b801032f6731000200ee80b2e6a4810000
        a2ba 03 0132 09
        a2ba 02 026833 03 000500 ee80b2e6
        0000";
    let tree = linked_tree(65024);
    let lists =
        [List::first(1, tree[..7].to_vec(), first), List::below(1, "d", 9, tree[7..].to_vec(), second)];
    check(&session(32, INC), &linking(), &lists);
}

#[test]
fn receivers_find_the_members_of_a_group() {
    for (protocol, compat) in [(27, 0), (29, 0), (31, NON_INC)] {
        let negotiated = session(protocol, compat);
        let list = List::first(0, linked_tree(7), "");
        let mut encoder = FileListEncoder::new(&negotiated, linking(), Box::new(NoNames));
        let bytes = encoded(&mut encoder, &list);
        let mut builder = SegmentBuilder::new(0, &linking());
        decode(&mut FileListDecoder::new(&negotiated, linking()), &mut builder, &bytes, usize::MAX)
            .expect("valid");
        let segment = builder.finish(Finish { clean: true, ..Finish::default() });
        let link = |path: &str| {
            let found = segment.find(PathKey::new(path.as_bytes(), false)).expect(path);
            found.link().map(|link| (link.group, link.leads))
        };
        assert_eq!(link("h1"), Some((2, true)), "first in the order, protocol {protocol}");
        assert_eq!(link("h2"), Some((2, false)));
        assert_eq!(link("d/h3"), Some((2, false)));
        assert_eq!(link("d/g1"), Some((7, true)));
        assert_eq!(link("solo").is_some(), protocol == 27, "protocol 27 cannot tell");
    }
}

fn device(path: &str, mode: u32, major: u32, minor: u32) -> Entry {
    Entry { rdev: DeviceNumber { major, minor }, ..entry(path, mode, 0, 1_000_000_000) }
}

#[test]
fn devices_and_specials() {
    let tree = || {
        vec![
            top(dir(".")),
            device("b1", 0o060_644, 8, 300),
            device("b2", 0o060_644, 8, 17),
            entry("sk", 0o140_755, 0, 1_000_000_000),
            device("n2", 0o020_644, 1, 5),
            file("f", 1),
            device("n1", 0o020_644, 1, 3),
            device("n3", 0o020_644, 1, 9),
            entry("p1", 0o010_644, 0, 1_000_000_000),
        ]
    };
    let columns = Columns { uid: false, gid: false, ..archive() };
    let tree_of = |bytes| [List::first(0, tree(), bytes)];
    check(
        &session(27, 0),
        &columns,
        &tree_of(
            "19012e0010000000ca9a3bed410000
             9802623100000000a46100002c081000  ba0101320000000011080000  9c02736b00000000edc10000
             98026e3200000000a421000005010000 98016601000000a4810000  98026e3100000000a421000003010000
             ba0101330000000009010000  9c02703100000000a4110000  00 00000000",
        ),
    );
    for protocol in [28, 29] {
        check(
            &session(protocol, 0),
            &columns,
            &tree_of(
                "19012e0010000000ca9a3bed410000
                 9802623100000000a4610000080000002c010000  be090101320000000011  9c0902736b00000000edc1000000
                 9c08026e3200000000a42100000100000005 98016601000000a4810000  9c09026e3100000000a421000003
                 be090101330000000009  9c0902703100000000a411000000  00 00000000",
            ),
        );
    }
    let specials = |bytes: &'static str| [List::first(1, tree(), bytes)];
    check(
        &session(30, INC),
        &columns,
        &specials(
            "19012e0000103b00ca9aed410000
             8098026231000000a461000008812c  81ba01013200000011  819802736b000000edc1000000
             8098026e32000000a42100000105 80980166000100a4810000  8198026e31000000a421000003
             81ba01013300000009  8198027031000000a411000000  0000",
        ),
    );
    for protocol in [31, 32] {
        check(
            &session(protocol, INC),
            &columns,
            &specials(
                "19012e0000103b00ca9aed410000
                 8098026231000000a461000008812c  81ba01013200000011  809802736b000000edc10000
                 8098026e32000000a42100000105 80980166000100a4810000  8198026e31000000a421000003
                 81ba01013300000009  8098027031000000a4110000  0000",
            ),
        );
    }
}

#[test]
fn incremental_recursion_keeps_its_state_from_list_to_list() {
    let lists = [
        List::first(
            1,
            vec![top(dir(".")), dir("z"), dir("a")],
            "19012e0000103b00ca9aed410000  809a017a000010  809a0161000010  0000",
        ),
        List::below(
            1,
            "a",
            5,
            vec![dir("a/b"), file("a/top", 2)],
            "80ba01022f62000010  80b80203746f70000200a4810000  0000",
        ),
        List::below(
            3,
            "a/b",
            8,
            vec![dir("a/b/c"), dir("a/b/d")],
            "80b80203622f63000010ed410000  80ba040164000010  0000",
        ),
        List::below(4, "a/b/c", 11, vec![file("a/b/c/f", 2)], "80b80403632f66000200a4810000  0000"),
        List::below(5, "a/b/d", 13, vec![file("a/b/d/g", 2)], "80ba0403642f67000200  0000"),
        List::below(2, "z", 15, vec![file("z/zz", 2)], "809a047a2f7a7a000200  0000"),
    ];
    check(&session(32, INC), &Columns { recurse: true, ..Columns::default() }, &lists);
}

#[test]
fn the_kinds_of_directories() {
    let marked = |path: &str, flags| Entry { flags, ..dir(path) };
    let implied = || marked("a", EntryFlags::IMPLIED_DIR);
    let columns = Columns { relative: true, recurse: true, ..Columns::default() };
    let lists = [
        List::first(1, vec![implied(), top(dir("z"))], "811901610000103b00ca9aed410000 809b017a000010 0000"),
        List::below(0, "a", 4, vec![top(dir("a/b"))], "809b03612f62000010 0000"),
    ];
    let mut encoder = FileListEncoder::new(&session(32, INC), columns.clone(), Box::new(NoNames));
    for list in &lists {
        assert_eq!(hex_text(&encoded(&mut encoder, list)), hex_text(&hex(list.bytes)));
    }
    check(&session(32, INC), &columns, &lists);
    let alone =
        [List::first(1, vec![marked("a", EntryFlags::NONE)], "8118 0161 000010 3b00ca9a ed410000 0000")];
    check(&session(32, INC), &Columns::default(), &alone);
}

#[test]
fn below_protocol_30_the_receiver_infers_the_kind_of_a_directory() {
    let negotiated = session(29, 0);
    let columns = Columns { relative: true, recurse: true, ..Columns::default() };
    let none = |path: &str| Entry { flags: EntryFlags::NONE, ..dir(path) };
    let tree = vec![none("a"), top(dir("a/b")), dir("a/b/c"), none("a/bc"), top(dir("z"))];
    let mut encoder = FileListEncoder::new(&negotiated, columns.clone(), Box::new(NoNames));
    let bytes = encoded(&mut encoder, &List::first(0, tree.clone(), ""));
    let mut builder = SegmentBuilder::new(0, &columns);
    decode(&mut FileListDecoder::new(&negotiated, columns), &mut builder, &bytes, 1).expect("valid");
    for (position, sent) in tree.iter().enumerate() {
        assert_eq!(builder.get(position).expect("counted").flags(), sent.flags, "{position}");
    }
}

#[test]
fn io_errors_travel_in_the_end_marker_or_behind_it() {
    let list = |bytes| [List { io_error: 1, ..List::first(1, vec![], bytes) }];
    check(&session(32, INC), &archive(), &list("0001"));
    check(&session(31, INC_PLAIN), &archive(), &list("041001"));
    check(
        &session(29, 0),
        &Columns { numeric_ids: true, ..archive() },
        &[List { io_error: 1, ..List::first(0, vec![], "00 01000000") }],
    );
}

#[test]
fn access_times_follow_the_mode() {
    let columns = Columns { atimes: true, ..Columns::default() };
    let with_atime = |path: &str| Entry { atime: 1_500_000_000, ..file(path, 1) };
    let tree = || vec![top(dir(".")), with_atime("a"), with_atime("b")];
    check(
        &session(29, 0),
        &columns,
        &[List::first(
            0,
            tree(),
            "19012e0010000000ca9a3bed410000 98 0161 01000000 a4810000 59002f68 9e40 0162 01000000 00 00000000",
        )],
    );
    check(
        &session(30, NON_INC),
        &columns,
        &[List::first(
            0,
            tree(),
            "19012e0000103b00ca9aed410000 8098 0161 000100 a4810000 59002f68 c09a40 0162 000100 0000",
        )],
    );
    check(
        &session(27, 0),
        &columns,
        &[List::first(
            0,
            tree(),
            "19012e0010000000ca9a3bed410000 98 0161 01000000 a4810000 59002f68
             9a 0162 01000000 59002f68 00 00000000",
        )],
    );
}

#[test]
fn protocol_27_sends_a_digest_for_everything() {
    let columns = Columns { checksum: Some(16), ..Columns::default() };
    let digest = hex("866437cb7a794bce2b727acc0362ee27");
    let tree = vec![top(dir(".")), Entry { digest, ..file("f", 5) }];
    check(
        &session(27, 0),
        &columns,
        &[List::first(
            0,
            tree,
            "19012e0010000000ca9a3bed410000 00000000000000000000000000000000
             98 0166 05000000 a4810000 866437cb7a794bce2b727acc0362ee27 00 00000000",
        )],
    );
}

#[test]
fn long_names_have_a_long_length_and_a_short_prefix() {
    let first = "n".repeat(501);
    let second = format!("{}m", "n".repeat(503));
    for (protocol, compat, head, next) in
        [(27, 0, "58f5010000", "bafff9"), (30, NON_INC, "5881f5", "80bafff9")]
    {
        let mut encoder =
            FileListEncoder::new(&session(protocol, compat), Columns::default(), Box::new(NoNames));
        let mut out = Vec::new();
        encoder.put(&mut out, &file(&first, 1));
        assert!(hex_text(&out).starts_with(head), "{}", &hex_text(&out)[..12]);
        out.clear();
        encoder.put(&mut out, &file(&second, 1));
        assert!(hex_text(&out).starts_with(next), "{}", &hex_text(&out)[..12]);
    }
}

/// Spec 04 §9.1.
#[test]
fn acls_follow_the_entry() {
    use crate::meta::{Acl, AclName};
    let user = |id, perms| AclName { is_group: false, id, perms };
    let mixed = Acl {
        group_obj: Some(4),
        names: vec![user(33, 6), user(1001, 6), AclName { is_group: true, id: 100, perms: 4 }],
        ..Acl::default()
    };
    let inherited = Acl {
        user_obj: Some(7),
        group_obj: Some(5),
        mask: Some(7),
        other: Some(5),
        names: vec![user(1001, 7)],
    };
    let columns = Columns { acls: true, ..Columns::default() };
    let at = |entry: Entry| Entry { mtime: 1_500_000_000, ..entry };
    let golden = [
        (
            0x17e,
            "19 01 2e 000010 59002f68 ed410000 00 00 00 00
             98 02 6631 000600 b4810000 00 12 04 03 21 1a 83e9 1a 64 10
             98 03 737562 000010 ed410000 01 00 1f 07 05 07 05 01 83e9 1e
             98 02 6632 000600 b4810000 02
             00 21 08 7777772d64617461 00 04 726f6f74 64 05 7573657273 00 04 726f6f74",
        ),
        (
            0x7f,
            "19 01 2e 000010 59002f68 ed410000 00 00 00 00
             98 02 6631 000600 b4810000 00 12 04 03 21 1b 08 7777772d64617461 83e9 1a 64 11 05 7573657273
             98 03 737562 000010 ed410000 01 00 1f 07 05 07 05 01 83e9 1e
             98 02 6632 000600 b4810000 02
             00",
        ),
    ];
    for (compat, bytes) in golden {
        let negotiated = session(31, compat);
        let mut encoder = FileListEncoder::new(&negotiated, columns.clone(), Box::new(Captured));
        let (plain, mixed, inherited) = (
            Some(encoder.acls.intern(Acl::default())),
            Some(encoder.acls.intern(mixed.clone())),
            Some(encoder.acls.intern(inherited.clone())),
        );
        let linked = |path: &str| Entry { access_acl: mixed, ..at(entry(path, 0o100_664, 6, 0)) };
        let sub = Entry { access_acl: plain, default_acl: inherited, ..at(dir("sub")) };
        let entries = vec![at(top(dir("."))), linked("f1"), sub, linked("f2")];
        let list = List::first(negotiated.incremental_recursion().into(), entries, bytes);
        assert_eq!(hex_text(&encoded(&mut encoder, &list)), hex_text(&hex(bytes)));
        for piece in [1, usize::MAX] {
            let mut decoder = FileListDecoder::new(&negotiated, columns.clone());
            let mut builder = list.builder(&columns);
            decode(&mut decoder, &mut builder, &hex(bytes), piece).expect("valid");
            let found: Vec<_> = (0..4)
                .map(|at| builder.get(at).expect("counted"))
                .map(|entry| (entry.access_acl(), entry.default_acl()))
                .collect();
            assert_eq!(found, [(Some(0), Some(0)), (Some(1), None), (Some(0), Some(1)), (Some(1), None)]);
            assert_eq!(decoder.access_acls.acls().len(), 2);
            assert_eq!(decoder.names.get(Owner::User, 33), Some(&b"www-data"[..]));
            assert_eq!(decoder.names.get(Owner::Group, 100), Some(&b"users"[..]));
        }
    }
}

#[test]
fn an_abbreviated_link_still_has_its_acl_and_attributes() {
    let columns = Columns { acls: true, xattrs: true, ..linking() };
    let negotiated = session(32, NON_INC);
    let mut encoder = FileListEncoder::new(&negotiated, columns.clone(), Box::new(NoNames));
    let inode = Some(Inode { dev: 1, ino: 1, shared: true });
    let mut out = Vec::new();
    encoder.put(&mut out, &top(dir(".")));
    encoder.put(&mut out, &file("g", 1));
    encoder.put(&mut out, &Entry { inode, ..file("h2", 1) });
    let before = out.len();
    encoder.put(&mut out, &Entry { inode, ..file("h1", 1) });
    assert_eq!(hex_text(&out[before..]), "82ba0101310201".to_owned() + "01");
    encoder.end(&mut out, 0);
    let mut builder = SegmentBuilder::new(0, &columns);
    decode(&mut FileListDecoder::new(&negotiated, columns), &mut builder, &out, 1).expect("valid");
    let last = builder.get(3).expect("four entries");
    assert_eq!((last.access_acl(), last.xattrs(), last.size()), (Some(0), Some(0), 1));
}
