//! Seed inputs, made from the recorded vectors and from this library's own encoders.

use rsync_proto::delta::{Compression, CompressionKind, TokenEncoder};
use rsync_proto::flist::{Entry, EntryFlags, FileListEncoder, Inode, NoNames};
use rsync_proto::session::{CompatFlags, Negotiated};
use rsync_proto::sum::{Checksum, SumHead, SumHeadSizing};
use rsync_proto::wire::{Ndx, NdxEncoder, put_varint, put_varlong};

use crate::lists::columns;

type Target = fn(&[u8]);
type Seeds = Vec<Vec<u8>>;

/// The function of a target.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    let targets: [(&str, Target); 15] = [
        ("config", crate::config),
        ("integers", crate::integers),
        ("frames", crate::frames),
        ("file_list", crate::file_list),
        ("acls", crate::acls),
        ("xattrs", crate::xattrs),
        ("filters", crate::filters),
        ("names", crate::names),
        ("tokens", crate::tokens),
        ("sums", crate::sums),
        ("items", crate::items),
        ("session", crate::session),
        ("setup", crate::setup),
        ("options", crate::options),
        ("texts", crate::texts),
    ];
    targets.into_iter().find(|(known, _)| *known == name).map(|(_, run)| run)
}

/// Every target with its seeds.
#[must_use]
pub fn all() -> Vec<(&'static str, Seeds)> {
    vec![
        ("config", configs()),
        ("integers", integers()),
        ("frames", frames()),
        ("file_list", file_lists()),
        ("acls", acls()),
        ("xattrs", xattrs()),
        ("filters", filters()),
        (
            "names",
            vec![
                b"\x06a\r\n\n#c\n;s\n/b\n../a\nd/e/g\n./dd/\nx[y]*\nnone\n".to_vec(),
                b"\x0fa/./b\0c\\d*\0".to_vec(),
            ],
        ),
        ("tokens", tokens()),
        ("sums", sums()),
        ("items", items()),
        ("session", session()),
        ("setup", setups()),
        ("options", options()),
        ("texts", texts()),
    ]
}

fn agreement(protocol: u8, compat: u16) -> Vec<u8> {
    let mut out = vec![protocol - 27];
    out.extend_from_slice(&compat.to_le_bytes());
    out
}

fn data_file(name: &str) -> String {
    let path = format!("{}/../docs/spec/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The JSON words of a column, roughly: what stands between quotes.
fn quoted(column: &str) -> Vec<String> {
    column.split('"').skip(1).step_by(2).map(|word| word.replace("\\\\", "\\")).collect()
}

fn integers() -> Seeds {
    let mut seeds = Vec::new();
    for value in [-1, 0, 127, 128, 65_535, i32::MAX, i32::MIN] {
        let mut out = vec![1];
        put_varint(&mut out, value);
        put_varlong(&mut out, i64::from(value) << 20, 3);
        seeds.push(out);
    }
    for modern in [0, 1] {
        let mut out = vec![modern];
        let mut encoder = NdxEncoder::new(modern == 1);
        for ndx in [Ndx::Item(0), Ndx::Item(1), Ndx::Item(300), Ndx::Done, Ndx::Item(70_000)] {
            encoder.encode(&mut out, ndx);
        }
        if modern == 1 {
            encoder.encode(&mut out, Ndx::SubList { dir: 3 });
            encoder.encode(&mut out, Ndx::FileListEof);
        }
        seeds.push(out);
    }
    seeds
}

fn frames() -> Seeds {
    let frame = |code: u8, payload: &[u8]| {
        let word = u32::from(code + 7) << 24 | payload.len() as u32;
        [&word.to_le_bytes()[..], payload].concat()
    };
    let stream = [
        frame(0, b"data"),
        frame(2, b"info\n"),
        frame(0, b""),
        frame(42, b""),
        frame(101, b"a/b"),
        frame(22, &1_i32.to_le_bytes()),
        frame(86, &23_i32.to_le_bytes()),
    ];
    (0..8_u16)
        .flat_map(|roles| [29, 30, 32].map(|protocol| (roles, protocol)))
        .map(|(roles, protocol)| {
            [agreement(protocol, 0x1ff), roles.to_le_bytes().to_vec(), stream.concat()].concat()
        })
        .collect()
}

fn entries() -> Vec<Entry> {
    let entry = |path: &str, mode: u32| Entry {
        path: path.into(),
        mode,
        size: 4096,
        mtime: 1_000_000_000,
        nsec: 5,
        uid: 1000,
        gid: 100,
        ..Entry::default()
    };
    let inode = Some(Inode { dev: 5, ino: 77, shared: true });
    let top = EntryFlags::TOP_DIR.with(EntryFlags::CONTENT_DIR);
    vec![
        Entry { flags: top, ..entry(".", 0o040_755) },
        Entry { inode, ..entry("alpha1", 0o100_644) },
        Entry { inode, ..entry("alpha2", 0o100_644) },
        Entry { target: b"alpha1".to_vec(), ..entry("link", 0o120_777) },
        entry("device", 0o060_600),
        entry("fifo", 0o010_600),
        Entry { flags: EntryFlags::CONTENT_DIR, ..entry("sub", 0o040_755) },
        entry("sub/alpha", 0o100_600),
        entry(&"n".repeat(300), 0o100_600),
    ]
}

fn file_lists() -> Seeds {
    let mut seeds = Vec::new();
    for (protocol, compat) in [(27, 0), (28, 0), (29, 0), (30, 0x1f), (31, 0x7f), (32, 0x1fe), (32, 0x1ff)] {
        for bits in [0_u16, 0x0813, 0x2037, 0x233f, 0xb73f] {
            let columns = columns(bits);
            let negotiated = Negotiated::new(protocol, CompatFlags(u32::from(compat)));
            let mut out = agreement(protocol, compat);
            out.extend_from_slice(&bits.to_le_bytes());
            let mut encoder = FileListEncoder::new(&negotiated, columns, Box::new(NoNames));
            encoder.begin(u32::from(negotiated.incremental_recursion()));
            for mut entry in entries() {
                entry.digest = vec![7; 16];
                encoder.put(&mut out, &entry);
            }
            encoder.end(&mut out, 1);
            seeds.push(out);
        }
    }
    seeds
}

/// Captures of spec 04 §9.1.
fn acls() -> Seeds {
    let literals = b"\x00\x1f\x07\x05\x07\x05\x01\x83\xe9\x1e\x00\x06\x06\x04\x02\x00\x10\x01\x83\xe9\x1e";
    let named = b"\x00\x10\x03\x21\x1b\x08www-data\x83\xe9\x1a\x64\x11\x05users\x01";
    let attribute = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x05\0\xe8\x03\0\0";
    let all: [&[u8]; 3] = [literals, named, attribute];
    all.into_iter().map(|bytes| [&[1, 0o50, 1], bytes].concat()).collect()
}

fn xattrs() -> Seeds {
    // A list with "user.a" of 3 bytes and "user.b", 40 bytes long, by its digest; then a reference.
    let mut out = vec![0, 2, 7, 3];
    out.extend_from_slice(b"user.a\0abc");
    out.extend_from_slice(&[7, 40]);
    out.extend_from_slice(b"user.b\0");
    out.extend_from_slice(&[9; 16]);
    out.push(1);
    vec![out, vec![1, 0x28, 5, 5, 0]]
}

fn filters() -> Seeds {
    let mut seeds = Vec::new();
    for line in data_file("filter-vectors.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [_, "match" | "wild" | "wire", _, args, subject, ..] = columns[..] else { continue };
        let rules: Vec<String> = quoted(args).into_iter().filter(|word| word.contains(' ')).collect();
        let received: Vec<u8> = rules
            .iter()
            .flat_map(|rule| [&(rule.len() as i32).to_le_bytes()[..], rule.as_bytes()].concat())
            .chain([0; 4])
            .collect();
        let head =
            |kind: u8| [vec![kind], agreement(32, 0), format!("{subject}\n- *.o\n").into_bytes()].concat();
        seeds.push([head(0), received].concat());
        seeds.push([head(0x30), rules.join("\n").into_bytes()].concat());
    }
    let first = seeds.len() / 200 + 1;
    seeds.into_iter().step_by(first).collect()
}

fn tokens() -> Seeds {
    let mut seeds = Vec::new();
    for (place, kind) in
        [0, 1, 2, 3, 4].into_iter().zip(CompressionKind::ALL.map(Some).into_iter().chain([None]))
    {
        let mut negotiated = Negotiated::new(31, CompatFlags(0x1ff));
        negotiated.compression = kind.and_then(|kind| Compression::new(kind, None));
        let Ok(mut encoder) = TokenEncoder::new(&negotiated) else { continue };
        let mut out = [agreement(31, 0x1ff), vec![place, 9, 0]].concat();
        for _ in 0..2 {
            encoder.start_file();
            let literal = b"some literal data, some literal data, ".repeat(9);
            let steps = [
                encoder.literal(&literal, &mut out),
                encoder.block(0, b"the same block", &mut out),
                encoder.block(1, b"the same block", &mut out),
                encoder.block(7, b"the same block", &mut out),
                encoder.end(&mut out),
            ];
            assert!(steps.iter().all(Result::is_ok));
        }
        seeds.push(out);
    }
    seeds
}

fn sums() -> Seeds {
    let sizing = SumHeadSizing { block_size: 0, max_block_len: 1 << 17, digest_len: 16, redo: false };
    let basis = b"basis ".repeat(500);
    let Some(head) = SumHead::for_basis(basis.len() as u64, &sizing) else { return Vec::new() };
    let mut out = agreement(31, 0x1ff);
    head.encode(&mut out);
    for block in basis.chunks(head.block_len as usize) {
        head.put_block_sums(Checksum::Md5, 0, block, &mut out);
    }
    vec![out]
}

fn items() -> Seeds {
    let flags = [0xa000_u16, 0x8804, 0x9800, 0x2000];
    flags
        .into_iter()
        .map(|flags| {
            [agreement(31, 0), flags.to_le_bytes().to_vec(), b"\x83\x05fuzzy\x10\x20\x30\x40".to_vec()]
                .concat()
        })
        .collect()
}

fn session() -> Seeds {
    [
        &b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n@RSYNCD: AUTHREQD Zm9v\n@RSYNCD: OK\n@RSYNCD: EXIT\n"[..],
        b"@RSYNCD: 31\n#early_input=5\nmodule\nuser response\n",
        b"#list\n@ERROR: Unknown module 'x'\nmodule         \tcomment\n",
        b"--server\0--sender\0-logDtpre.iLsfxCIvu\0.\0mod/a b\\*c mod/d\0\0",
        b"--server\n--sender\n-vlogDtpr\n.\nmod/\n\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 873\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x02\x10\0\x03\x69",
    ]
    .map(<[u8]>::to_vec)
    .into()
}

fn setups() -> Seeds {
    let lists = b"\x1exxh128 xxh3 xxh64 md5 md4 sha1\x15zstd lz4 zlibx zlib no";
    let mut seeds = Vec::new();
    for bits in [0, 3, 7, 0x0f, 0x1b, 0x1f] {
        let mut out = vec![bits];
        out.extend_from_slice(&[5]);
        out.extend_from_slice(&[32, 0, 0, 0, 0x81, 0xff]);
        out.extend_from_slice(lists);
        out.extend_from_slice(&[1, 2, 3, 4]);
        seeds.push(out);
    }
    seeds
}

fn options() -> Seeds {
    let mut seeds = vec![
        b"\0-avz\0--delete\0--exclude=*.o\0--chmod=Du+rwx,Fgo-w\0host:src/\0dst\0".to_vec(),
        b"\x01--server\0--sender\0-logDtpre.iLsfxCIvu\0.\0mod/x".to_vec(),
        b"\0-s\0--server\0.\0".to_vec(),
    ];
    for line in data_file("server-args.tsv").lines().filter(|line| !line.starts_with('#')) {
        for column in line.split('\t') {
            let words = quoted(column);
            if words.len() > 1 {
                seeds.push([vec![0], words.join("\0").into_bytes()].concat());
            }
        }
    }
    seeds.truncate(400);
    seeds
}

fn configs() -> Seeds {
    let file = b"port = 873\nuid = nobody # who\n[m]\n  path = /srv/%RSYNC_MODULE_NAME%\n  exclude = *.o \\\n   *.a\n\
        hosts allow = 10.0.0.0/8 ::1\nread only = yes\nmax connections = 5\nrefuse options = delete *-from\n[other mod]\n";
    vec![file.to_vec(), b"log format=%o\n[x]\npath=/\n".to_vec()]
}

fn texts() -> Seeds {
    [&b"100644 0,0 1000:100"[..], b"60600 8,1 0:0", b"%i %n%L %'''l %-10b %{x}\xff\xc3\xa4\n"]
        .map(<[u8]>::to_vec)
        .into()
}
