//! Order, duplicates, numbering, live lists.

use std::sync::Arc;

use super::*;

fn built(start: u32, entries: &[Entry], finish: Finish) -> Segment {
    let mut builder = SegmentBuilder::new(start, &Columns::default());
    for entry in entries {
        builder.push(entry).expect("room");
    }
    builder.finish(finish)
}

fn paths(segment: &Segment) -> String {
    let path = |entry: EntryRef<'_>| {
        let slash = if entry.is_dir() && entry.name() != b"." { "/" } else { "" };
        String::from_utf8(entry.path()).expect("ascii") + slash
    };
    segment.iter().map(path).collect::<Vec<_>>().join(" ")
}

/// A tree from `name` and `name/` words.
fn tree(words: &str) -> Vec<Entry> {
    let made = |word: &str| match word.strip_suffix('/') {
        Some(path) => dir(path),
        None if word == "." => dir("."),
        None => file(word, 1),
    };
    words.split_whitespace().map(made).collect()
}

const BY_COMPONENT: &str = ". .dot foo-y foo.txt foo0 zz é .hid/ .hid/m A/ A/b foo!/ foo!/k foo-x/ foo-x/r foo.d/ \
    foo.d/q foo/ foo/x foo/y.z foo/zlast foo/sub/ foo/sub/q z/ z/1";

#[test]
fn lists_sort_as_in_the_examples() {
    let mut entries = tree(BY_COMPONENT);
    let finish = Finish { clean: true, ..Finish::default() };
    for turn in 0..entries.len() {
        entries.rotate_left(turn);
        assert_eq!(paths(&built(0, &entries, finish)), BY_COMPONENT);
    }
    let by_path = Finish { order: Order::ByPath, ..finish };
    assert_eq!(
        paths(&built(0, &entries, by_path)),
        ". .dot .hid/ .hid/m A/ A/b foo/ foo!/ foo!/k foo-x/ foo-x/r foo-y foo.d/ foo.d/q foo.txt foo/sub/ \
         foo/sub/q foo/x foo/y.z foo/zlast foo0 z/ z/1 zz é"
    );
}

#[test]
fn comparing_and_sorting_agree() {
    let segment = built(0, &tree(BY_COMPONENT), Finish::default());
    for (place, entry) in segment.iter().enumerate() {
        for (other_place, other) in segment.iter().enumerate() {
            let order = Order::ByComponent.compare(entry.key(), other.key());
            assert_eq!(order, place.cmp(&other_place), "{entry:?} {other:?}");
        }
        assert_eq!(segment.find(entry.key()).expect("listed").place(), place);
    }
}

#[test]
fn a_leading_slash_is_a_first_component() {
    let entries = [file("x", 1), dir("tmp"), dir("/tmp"), dir("/."), file("/tmp/q", 1)];
    let segment = built(0, &entries, Finish { clean: true, ..Finish::default() });
    assert_eq!(paths(&segment), "x . tmp/ tmp/q tmp/");
    assert!(segment.iter().all(EntryRef::is_active));
}

#[test]
fn the_first_of_equal_names_stays() {
    let entries = [file("a", 1), file("b", 2), file("a", 3), dir("mix"), file("mix", 4)];
    for order in [Order::ByComponent, Order::ByPath] {
        let segment = built(0, &entries, Finish { order, clean: true, ..Finish::default() });
        assert_eq!(segment.len(), 5);
        let active: Vec<_> = segment.iter().filter(|entry| entry.is_active()).collect();
        let mut found: Vec<_> = active.iter().map(|entry| (entry.path(), entry.size())).collect();
        found.sort();
        assert_eq!(found, [(b"a".to_vec(), 1), (b"b".to_vec(), 2), (b"mix".to_vec(), 4096)], "{order:?}");
    }
}

#[test]
fn equal_directories_are_merged() {
    let implied = Entry { flags: EntryFlags::IMPLIED_DIR, ..dir("d") };
    let segment = built(0, &[implied.clone(), top(dir("d"))], Finish { clean: true, ..Finish::default() });
    let kept = segment.get(0).expect("two");
    assert_eq!(kept.flags(), EntryFlags::TOP_DIR.with(EntryFlags::CONTENT_DIR));
    assert!(kept.is_active() && !segment.get(1).expect("two").is_active());
    let segment = built(0, &[implied.clone(), implied], Finish { clean: true, ..Finish::default() });
    assert_eq!(segment.get(0).expect("two").flags(), EntryFlags::IMPLIED_DIR);
}

#[test]
fn directories_with_nothing_in_them_can_be_pruned() {
    let mut segment = built(0, &tree(". a/ a/b/ a/b/f c/ c/d/ e/"), Finish::default());
    segment.prune_empty_dirs(|entry| entry.path() == b"e");
    let kept: Vec<_> = segment.iter().filter(|entry| entry.is_active()).map(EntryRef::path).collect();
    assert_eq!(kept, [&b"."[..], b"a", b"a/b", b"a/b/f", b"e"]);
}

#[test]
fn with_iconv_indexes_follow_the_wire() {
    let finish = Finish { number_by_wire: true, number_directories: true, ..Finish::default() };
    let segment = built(10, &tree("z b/ a d/"), finish);
    assert_eq!(paths(&segment), "a z b/ d/");
    let indexes: Vec<_> = segment.iter().map(EntryRef::index).collect();
    assert_eq!(indexes, [12, 10, 11, 13]);
    for entry in segment.iter() {
        assert_eq!(segment.by_index(entry.index()).expect("listed").place(), entry.place());
    }
    assert!(segment.by_index(9).is_none() && segment.by_index(14).is_none());
}

/// The lists of spec 03 §12.5.
fn incremental() -> FileList {
    let finish = Finish { clean: true, number_directories: true, ..Finish::default() };
    let mut files = FileList::new(true);
    files.append(Arc::new(built(1, &tree(". z/ a/"), finish))).expect("room");
    for (index, start, words) in [
        (-102, 5, "a/b/ a/top"),
        (-104, 8, "a/b/c/ a/b/d/"),
        (-105, 11, "a/b/c/f"),
        (-106, 13, "a/b/d/g"),
        (-103, 15, "z/zz"),
    ] {
        let head = files.announce(index).expect("known directory");
        assert_eq!(head.start, start);
        let mut builder = SegmentBuilder::announced(head, &Columns::default());
        for entry in tree(words) {
            builder.push(&entry).expect("room");
        }
        files.append(Arc::new(builder.finish(finish))).expect("room");
    }
    files.complete();
    files
}

#[test]
fn indexes_name_entries_and_the_gaps_their_directory() {
    let files = incremental();
    let path = |index| files.get(index).map(|entry| String::from_utf8(entry.path()).expect("ascii"));
    let expected = [
        (0, "."),
        (1, "."),
        (2, "a"),
        (3, "z"),
        (4, "a"),
        (5, "a/top"),
        (6, "a/b"),
        (7, "a/b"),
        (8, "a/b/c"),
        (10, "a/b/c"),
        (11, "a/b/c/f"),
        (12, "a/b/d"),
        (14, "z"),
        (15, "z/zz"),
    ];
    for (index, name) in expected {
        assert_eq!(path(index).as_deref(), Some(name), "{index}");
    }
    assert_eq!(path(16), None);
    assert_eq!(files.range(), Some((0, 15)));
    assert_eq!(files.next_start(), 17);
}

#[test]
fn released_lists_take_their_indexes_with_them() {
    let mut files = incremental();
    files.release();
    assert!(files.get(2).is_none());
    assert_eq!(files.get(4).expect("the directory outlives its list").path(), b"a");
    files.release();
    assert!(files.get(4).is_none() && files.get(5).is_none());
    assert_eq!(files.get(7).expect("a/b").path(), b"a/b");
}

#[test]
fn hostile_announcements_are_refused_in_the_words_of_the_c_rsync() {
    let mut files = incremental();
    let mut words = |index| files.announce(index).expect_err("refused").to_string();
    assert_eq!(words(-110), "Invalid dir index: -110 (-101 - -106)");
    assert_eq!(words(-50), "Invalid dir index: -50 (-101 - -106)");
    assert_eq!(words(-103), "rsync: refusing malicious duplicate flist for dir 2");
    while files.release().is_some() {}
    assert_eq!(
        files.announce(-101).expect_err("too late").to_string(),
        "rsync: refusing sub-flist after final flist was freed"
    );
    let finish = Finish { clean: true, number_directories: true, ..Finish::default() };
    let mut files = FileList::new(true);
    files.append(Arc::new(built(1, &tree(". sub/ sub/"), finish))).expect("room");
    assert_eq!(
        files.announce(-103).expect_err("dropped").to_string(),
        "rsync: refusing flist for cleared dir_ndx 2"
    );
}

#[test]
fn an_empty_list_takes_one_index() {
    let mut files = FileList::new(true);
    files.append(Arc::new(built(1, &[], Finish::default()))).expect("room");
    assert_eq!(files.next_start(), 2);
    assert!(files.get(0).is_none() && files.get(1).is_none());
}

#[test]
fn owners_and_modes_are_mapped_at_once() {
    let mut builder = SegmentBuilder::new(0, &Columns::default());
    for number in 0..10 {
        builder.push(&Entry { uid: number % 2, gid: 7, ..file(&number.to_string(), 1) }).expect("room");
    }
    let mut calls = 0;
    builder.map_owners(|uid, gid| {
        calls += 1;
        (uid + 100, gid + 100, uid == 1)
    });
    builder.map_modes(|mode| mode & !0o044);
    assert_eq!(calls, 2, "once per distinct owner");
    let segment = builder.finish(Finish::default());
    let odd = segment.get(3).expect("ten");
    assert_eq!((odd.uid(), odd.gid(), odd.mode()), (101, 107, 0o100_600));
    assert!(
        odd.flags().has(EntryFlags::SKIP_GROUP)
            && !segment.get(2).expect("ten").flags().has(EntryFlags::SKIP_GROUP)
    );
}

#[test]
fn an_entry_costs_at_most_38_bytes_beside_its_name() {
    let columns = Columns { hard_links: true, uid: true, gid: true, links: true, ..Columns::default() };
    let mut builder = SegmentBuilder::new(0, &columns);
    let count = 20_000;
    let mut names = 0;
    for number in 0..count {
        let name = format!("file-{number}");
        names += name.len();
        let path = format!("dir-{}/{name}", number / 100);
        let group = (number % 3 == 0).then_some(number);
        builder.push(&Entry { uid: number % 5, group, ..file(&path, 1) }).expect("room");
    }
    let segment = builder.finish(Finish { clean: true, ..Finish::default() });
    let fixed = segment.memory() - names;
    assert!(fixed <= 38 * count as usize, "{} bytes per entry", fixed as f64 / f64::from(count));
}
