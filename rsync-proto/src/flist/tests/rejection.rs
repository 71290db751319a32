//! Every row of spec 03 §10 and §8.7, and the list vectors of spec 10 §7.

use super::*;
use crate::exit::ExitCode;

fn decoded(protocol: u8, compat: u32, columns: &Columns, bytes: &str) -> Result<i32, FileListError> {
    let negotiated = session(protocol, compat);
    let start = negotiated.incremental_recursion().into();
    let mut decoder = FileListDecoder::new(&negotiated, columns.clone());
    decode(&mut decoder, &mut SegmentBuilder::new(start, columns), &hex(bytes), 1)
}

fn refused(bytes: &str) -> (String, ExitCode) {
    let columns = Columns { links: true, ..Columns::default() };
    // 0x6e: what the server of spec 10 §7 answers to `-e.LsfxCIu`.
    let error = decoded(30, 0x16e, &columns, bytes).expect_err(bytes);
    (error.to_string(), error.exit_code())
}

#[test]
fn malformed_entries_are_refused_in_the_words_of_the_c_rsync() {
    let cases = [
        (
            "01 01 2e 000500 6500f153 a4810000",
            "ERROR: rejecting non-directory transfer-root entry: .",
            ExitCode::PROTOCOL,
        ),
        (
            "01 07 2e2e2f6576696c 000500 6500f153 a4810000",
            "ABORTING due to unsafe pathname from sender: ../evil",
            ExitCode::UNSUPPORTED,
        ),
        (
            "01 06 612f2e2e2f62 000500 6500f153 a4810000",
            "ABORTING due to unsafe pathname from sender: a/../b",
            ExitCode::UNSUPPORTED,
        ),
        (
            "01 06 2f6574632f78 000500 6500f153 a4810000",
            "ABORTING due to unsafe pathname from sender: /etc/x",
            ExitCode::UNSUPPORTED,
        ),
        ("01 01 7a 000500 6500f153 00000000", "invalid file mode 00 for z", ExitCode::PROTOCOL),
        ("01 01 7a 000500 6500f153 a4f10000", "invalid file mode 0170644 for z", ExitCode::PROTOCOL),
        ("01 01 7a 000500 6500f153 a4010000", "invalid file mode 0644 for z", ExitCode::PROTOCOL),
        (
            "01 01 7a feffffffffffffffff 6500f153",
            "Offset underflow: file-length is negative",
            ExitCode::UNSUPPORTED,
        ),
        (
            "05 02 01 68 00 0500 6500f153 a4810000",
            "hard-link reference out of range: 0 (0)",
            ExitCode::PROTOCOL,
        ),
        ("01 02 736c 000500 6500f153 ffa10000 c00020", "overflow: linkname_len=8192", ExitCode::MEMORY),
        (
            "02 01 2e 000500 6500f153",
            "ERROR: rejecting non-directory transfer-root entry: .",
            ExitCode::PROTOCOL,
        ),
        ("02 01 7a 000500 6500f153", "invalid file mode 00 for z", ExitCode::PROTOCOL),
        ("60 00 9000", "overflow: xflags=0x60 l1=0 l2=4096 lastname=", ExitCode::MEMORY),
        ("40 f0ffffffff", "overflow: xflags=0x40 l1=0 l2=-1 lastname=", ExitCode::MEMORY),
    ];
    for (bytes, words, code) in cases {
        assert_eq!(refused(bytes), (words.to_owned(), code), "{bytes}");
    }
}

#[test]
fn what_the_c_rsync_lets_pass_silently_is_refused_too() {
    let columns = Columns { links: true, ..Columns::default() };
    let error = |bytes: &str| decoded(30, 0x16e, &columns, bytes).expect_err(bytes);
    let dot = "19 01 2e 000010 ed410000".replace("19", "99");
    let after_dot = |bytes: &str| format!("{dot} {bytes}");
    assert!(matches!(error(&after_dot("20 05 01 61")), FileListError::PrefixTooLong { prefix: 5, .. }));
    assert!(matches!(error("01 02 6100 000500"), FileListError::NulByte { .. }));
    assert!(matches!(error("01 00 000500"), FileListError::EmptyName));
    assert!(matches!(error("01 01 73 000100 6500f153 ffa10000 01 00"), FileListError::NulByte { .. }));
}

#[test]
fn nanoseconds_have_a_range() {
    let error =
        decoded(31, 0x16e, &Columns::default(), "0520 01 7a 000500 6500f153 f000ca9a3b").expect_err("10^9");
    assert_eq!(error.to_string(), "wire value modtime_nsec out of range: 1000000000 not in [0,999999999]");
    assert_eq!(error.exit_code(), ExitCode::PROTOCOL);
}

#[test]
fn overlong_integers_are_a_stream_error() {
    let error = decoded(32, NON_INC, &Columns::default(), "f8").expect_err("varint");
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("Overflow in read_varint()", ExitCode::STREAM)
    );
    let error = decoded(30, 0x16e, &Columns::default(), "01 01 7a 000500 fc").expect_err("varlong");
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("Overflow in read_varlong()", ExitCode::STREAM)
    );
}

#[test]
fn an_end_with_errors_needs_a_safe_list() {
    let error = decoded(30, 0, &Columns::default(), "0410").expect_err("not agreed");
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("Invalid flist flag: 1004", ExitCode::PROTOCOL)
    );
}

#[test]
fn errors_of_the_peer_are_masked() {
    assert_eq!(decoded(32, NON_INC, &Columns::default(), "00 80ff"), Ok(7));
    assert_eq!(decoded(29, 0, &Columns::default(), "00 ffffffff"), Ok(7));
}

#[test]
fn a_missing_argument_needs_its_option() {
    let columns = Columns { delete_missing_args: true, ..Columns::default() };
    assert_eq!(decoded(30, 0x16e, &columns, "83 01 7a 000000 00"), Ok(0));
}

#[test]
fn hard_link_references_must_name_links() {
    let columns = Columns { hard_links: true, ..Columns::default() };
    let plain = "01 01 61 000500 6500f153 a4810000";
    let error = decoded(30, 0x16e, &columns, &format!("{plain} 0602 01 62 00")).expect_err("not linked");
    assert_eq!(error, FileListError::LinkToUnlinked { index: 0 });
    let dir = "01 01 61 000500 6500f153 ed410000";
    let error = decoded(30, 0x16e, &columns, &format!("{dir} 0602 01 62 00")).expect_err("a directory");
    assert_eq!(error, FileListError::LinkToUnlinked { index: 0 });
    let error = decoded(30, 0x16e, &columns, &format!("{plain} 0602 01 62 01")).expect_err("itself");
    assert_eq!(error.to_string(), "hard-link reference out of range: 1 (1)");
    assert_eq!(error.exit_code(), ExitCode::PROTOCOL);
    let error =
        decoded(31, INC_PLAIN, &columns, "0502 01 62 00 000500 6500f153 a4810000").expect_err("no group");
    assert_eq!(error.to_string(), "hard-link gnum 0 precedes flist start 1");
}

#[test]
fn a_link_flag_without_the_option_is_inert() {
    let negotiated = session(30, 0x16e);
    let columns = Columns::default();
    let mut builder = SegmentBuilder::new(0, &columns);
    let bytes = hex("0512 01 61 000500 6500f153 a4810000 9e02 01 62 00 00");
    decode(&mut FileListDecoder::new(&negotiated, columns), &mut builder, &bytes, 1).expect("legal");
    let segment = builder.finish(Finish::default());
    assert!(segment.iter().all(|entry| entry.link().is_none() && entry.size() == 5));
}

#[test]
fn incremental_lists_hold_the_content_of_their_directory() {
    let error = decoded(32, INC, &Columns::default(), "01 03 612f62 000500 6500f153 a4810000 00 00")
        .expect_err("a/b");
    assert_eq!(error.to_string(), "ABORTING due to invalid path from sender: a/b");
    let columns = Columns::default();
    for (bytes, words) in [
        ("01 01 78 000500 6500f153 a4810000 00 00", "ABORTING due to invalid path from sender: /x"),
        (
            "01 05 612f622f63 000500 6500f153 a4810000 00 00",
            "ABORTING due to invalid path from sender: a/b/c",
        ),
    ] {
        let head = ListHead { start: 3, parent: 1, dir: b"a".into() };
        let mut builder = SegmentBuilder::announced(head, &columns);
        let mut decoder = FileListDecoder::new(&session(32, INC), columns.clone());
        let error = decode(&mut decoder, &mut builder, &hex(bytes), 1).expect_err(words);
        assert_eq!((error.to_string().as_str(), error.exit_code()), (words, ExitCode::UNSUPPORTED));
    }
}

#[test]
fn parents_must_be_listed() {
    let mut builder = SegmentBuilder::new(0, &Columns::default());
    builder.push(&file("no/such/p", 5)).expect("room");
    let error = builder.finish(Finish::default()).check_parents().expect_err("orphan");
    assert_eq!(error.to_string(), "ABORTING due to invalid path from sender: no/such/p");
    assert_eq!(error.exit_code(), ExitCode::PROTOCOL);
    let mut builder = SegmentBuilder::new(0, &Columns::default());
    for entry in [file("a", 5), file("a/b", 1)] {
        builder.push(&entry).expect("room");
    }
    assert!(builder.finish(Finish::default()).check_parents().is_err(), "the parent is a file");
    let mut builder = SegmentBuilder::new(0, &Columns::default());
    for entry in [dir("a"), file("a/b", 1), entry("x/gone", 0, 0, 0)] {
        builder.push(&entry).expect("room");
    }
    assert_eq!(builder.finish(Finish::default()).check_parents(), Ok(()));
}

#[test]
fn memory_is_limited() {
    let mut builder = SegmentBuilder::new(0, &Columns::default()).max_alloc(1000);
    let result = (0..1000).try_for_each(|number| builder.push(&file(&number.to_string(), 1)).map(|_| ()));
    let error = result.expect_err("more than 1000 bytes");
    assert_eq!(
        (error.to_string().as_str(), error.exit_code()),
        ("exceeded --max-alloc=1000 setting", ExitCode::MEMORY)
    );
}
