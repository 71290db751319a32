//! The option matrix of interoperability, and the trees it is run on.

use crate::program::is_root;
use crate::tree::{Tree, random};

/// The protocols both sides speak.
pub const PROTOCOLS: [u8; 6] = [27, 28, 29, 30, 31, 32];

/// Bytes of the largest file of [`source`], beyond every buffer of either side.
pub const LARGE: usize = 1_200_000;

/// The options that fix a protocol and incremental recursion; `None` where the latter does not exist.
#[must_use]
pub fn session_options(protocol: u8, incremental: bool) -> Option<Vec<String>> {
    if incremental && protocol < 30 {
        return None;
    }
    let recursion = if incremental { "--inc-recursive" } else { "--no-inc-recursive" };
    Some(vec![format!("--protocol={protocol}"), recursion.to_owned()])
}

/// A source with one of everything an unprivileged user can make.
#[must_use]
pub fn source() -> Tree {
    let tree = Tree::new()
        .file("empty", "")
        .file("small", "hello\n")
        .random("exact-block", 700, 1)
        .random("medium", 100_003, 2)
        .random("large", LARGE, 3)
        .sparse("sparse", 2 << 20, &[(1 << 20, b"island")])
        .file("sub/file", "in sub")
        .file("sub/deeper/file", "deeper")
        .file("sub-file", "sorts next to sub")
        .dir("empty-dir")
        .symlink("link", "small")
        .symlink("sub/dangling", "../no such target")
        .hard_link("sub/hard-b", "small")
        .hard_link("hard-c", "small")
        .fifo("fifo")
        .socket("sub/socket")
        .file("name with\nnewline", "newline")
        .file(b"raw-\xff\xfe-bytes", "raw")
        .file([b'n'; 255], "long name")
        .file(" leading blank", "blank")
        .file("-dash", "dash")
        .file("script", "#!/bin/sh\n")
        .mode("script", 0o755)
        .mode("small", 0o640)
        .file("read-only", "ro")
        .mode("read-only", 0o444)
        .mode("sub", 0o750)
        .file("setuid", "s")
        .mode("setuid", 0o4755)
        .time("medium", 1_234_567_890, 123_456_789)
        .time("sub/file", 86_400, 1)
        .time("link", 1_111_111_111, 222_222_222)
        .many("many", 110)
        .deep("deep", 12);
    if is_root() {
        tree.char_device("null", 1, 3)
            .block_device("loop", 7, 300)
            .owner("sub/file", 1234, 2345)
            .owner("link", 1, 2)
            .owner("sub", 65534, 65534)
    } else {
        tree
    }
}

/// A destination that is partly up to date with [`source`], partly stale, and partly in the way.
#[must_use]
pub fn stale_destination() -> Tree {
    let mut medium = random(100_003, 2);
    medium[50_000] ^= 1;
    let mut large = random(LARGE, 3);
    large.splice(400_000..400_100, b"an insertion".iter().copied());
    Tree::new()
        .file("medium", medium)
        .file("large", large)
        .file("small", "HELLO\n")
        .file("sub/file", "in sub")
        .file("extra", "not in the source")
        .file("sub/extra", "not in the source")
        .file("extra-dir/inner/file", "not in the source")
        .symlink("link", "elsewhere")
        .file("empty-dir-not", "x")
        .dir("sub/deeper")
        .mode("sub/deeper", 0o700)
        .file("many/file-000003", "stale")
        .file("many/zzz", "extra")
}

/// A source with extended attributes, and ACLs if the file system has them.
#[must_use]
pub fn attribute_source() -> Tree {
    let long: Vec<u8> = random(200, 9);
    Tree::new()
        .file("plain", "no attributes")
        .file("one", "1")
        .xattr("one", "user.short", "v")
        .file("two", "2")
        .xattr("two", "user.short", "v")
        .xattr("two", "user.long", long.clone())
        .file("sub/three", "3")
        .xattr("sub/three", "user.long", long)
        .xattr("sub", "user.dir", "d")
        .file("acl", "acl")
        .acl("acl", &[(1, 6, u32::MAX), (2, 4, 99), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)])
        .dir("default")
        .acl(
            "default",
            &[(1, 7, u32::MAX), (4, 5, u32::MAX), (8, 5, 77), (16, 5, u32::MAX), (32, 0, u32::MAX)],
        )
}
