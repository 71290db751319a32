//! The sender against the C rsync: this test plays the text phase of a daemon and serves one module.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use rsync_engine::scan::ScanRequest;
use rsync_engine::tree::LocalTree;
use rsync_engine::{
    Connection, Dir, EngineError, Link, Outgoing, ScannedLists, SendReport, SendSetup, ServerVoice, Session,
    send,
};
use rsync_proto::delta::{Compression, CompressionKind};
use rsync_proto::filter::{FilterNote, Filters, OpenFailure, RuleFile, RuleFiles};
use rsync_proto::flist::{Columns, NoNames};
use rsync_proto::options::{Append, FilesFrom, RemoveSource, TransferOptions};
use rsync_proto::session::{CompatFlags, Negotiated};
use rsync_proto::sum::{Checksum, ChecksumChoice};
use rsync_proto::wire::{put_varint, put_vstring, vstring};

struct NoFiles;

impl RuleFiles for NoFiles {
    fn read(&mut self, _: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        Err(OpenFailure { reason: "none".into() })
    }

    fn note(&mut self, _: FilterNote) {}
}

/// The options of the server's own command line, as far as these tests use them.
fn options(args: &[String]) -> TransferOptions {
    let mut options = TransferOptions { server: true, sender: true, ..TransferOptions::default() };
    for arg in args {
        let letters = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or_default();
        let letters = letters.split("e.").next().unwrap_or_default();
        for letter in letters.chars() {
            match letter {
                'r' => options.recurse = true,
                'l' => options.links = true,
                'o' => options.owner = true,
                'g' => options.group = true,
                'D' => {
                    options.devices = true;
                    options.specials = true;
                }
                't' => options.times = true,
                'p' => options.perms = true,
                'H' => options.hard_links = 1,
                'c' => options.checksum = true,
                'n' => options.dry_run = true,
                'R' => options.relative = true,
                'd' => options.dirs = true,
                _ => {}
            }
        }
        match arg.as_str() {
            "--files-from=-" => options.files_from = Some(FilesFrom::Local("-".into())),
            "--from0" => options.from0 = true,
            "--remove-source-files" => options.remove_source = RemoveSource::Files,
            "--append" => options.append = Append::Blind,
            "--inplace" => options.inplace = true,
            "--numeric-ids" => options.numeric_ids = true,
            _ => {}
        }
    }
    options
}

fn columns(options: &TransferOptions, negotiated: &Negotiated) -> Columns {
    Columns {
        uid: options.owner,
        gid: options.group,
        devices: options.devices,
        specials: options.specials,
        links: options.links,
        hard_links: options.hard_links > 0,
        checksum: options.checksum.then(|| negotiated.checksum.pre_transfer.len()),
        numeric_ids: options.numeric_ids,
        recurse: options.recurse,
        ..Columns::default()
    }
}

/// Reads the request of a client and agrees with it, as far as these tests need.
fn greet(stream: &TcpStream) -> (u8, Vec<String>) {
    (&*stream).write_all(b"@RSYNCD: 32.0 md5 md4\n").expect("greeting");
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("greeting");
    let version = line.trim_start_matches("@RSYNCD: ").split(['.', ' ', '\n']).next().expect("version");
    let protocol = version.parse::<u8>().expect("number").min(32);
    line.clear();
    reader.read_line(&mut line).expect("module");
    (&*stream).write_all(b"@RSYNCD: OK\n").expect("ok");
    let end = if protocol >= 30 { 0 } else { b'\n' };
    let mut args = Vec::new();
    loop {
        let mut arg = Vec::new();
        reader.read_until(end, &mut arg).expect("argument");
        arg.pop();
        if arg.is_empty() {
            return (protocol, args);
        }
        args.push(String::from_utf8(arg).expect("text"));
    }
}

fn serve(stream: &TcpStream, root: &Path) -> Result<SendReport, EngineError> {
    let (protocol, args) = greet(stream);
    let options = options(&args);
    let fd = || stream.try_clone().expect("clone").into();
    let mut connection = Connection::new(Link::from_fds(fd(), fd()).expect("link"));
    let letters = args.iter().find_map(|arg| Some(arg.split_once("e.")?.1)).unwrap_or_default();
    let mut flags = CompatFlags::SAFE_FILE_LIST | CompatFlags::CHECKSUM_SEED_FIX;
    for (letter, flag) in [
        ('i', CompatFlags::INC_RECURSE),
        ('v', CompatFlags::VARINT_FLIST_FLAGS),
        ('I', CompatFlags::INPLACE_PARTIAL_DIR),
        ('u', CompatFlags::ID0_NAMES),
        ('x', CompatFlags::AVOID_XATTR_OPTIMIZATION),
    ] {
        if letters.contains(letter) {
            flags |= flag;
        }
    }
    if !letters.contains('i') || !options.recurse {
        flags &= !CompatFlags::INC_RECURSE;
    }
    let mut negotiated = Negotiated::new(protocol, CompatFlags(flags));
    let compresses =
        args.iter().any(|arg| arg.starts_with('-') && !arg.starts_with("--") && arg.contains('z'));
    negotiated.compression =
        compresses.then(|| Compression::new(CompressionKind::Zlib, None).expect("compression"));
    if negotiated.is_modern() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, flags as i32);
        connection.write(&bytes)?;
    }
    if negotiated.varint_flist_flags() {
        let mut strings = Vec::new();
        put_vstring(&mut strings, b"xxh128").expect("short");
        if compresses {
            put_vstring(&mut strings, b"zstd").expect("short");
            negotiated.compression = Compression::new(CompressionKind::Zstd, None);
        }
        connection.write(&strings)?;
        connection.flush()?;
        for _ in 0..1 + usize::from(compresses) {
            connection.decode(|input| vstring(input, 255).map(drop))?;
        }
        negotiated.checksum = ChecksumChoice { transfer: Checksum::Xxh128, pre_transfer: Checksum::Xxh128 };
    }
    negotiated.seed = 12345;
    connection.write(&negotiated.seed.to_le_bytes())?;
    connection.flush()?;
    let outgoing = Outgoing::default();
    let voice = Arc::new(ServerVoice::new(&options, &negotiated, outgoing.clone()));
    let control = connection.control().clone();
    let columns = columns(&options, &negotiated);
    let mut session = Session::new(negotiated, options, true, voice, control);
    session.outgoing = outgoing;
    let session = Arc::new(session);
    let tree = Arc::new(LocalTree::confined(Dir::open(root).expect("root")));
    let setup = SendSetup { filters: Filters::new(), rule_files: &mut NoFiles, announced_timeout: None };
    send(connection, &session, setup, |agreed| {
        let request = ScanRequest {
            sources: vec![b"./".to_vec()],
            start_dir: b"/".to_vec(),
            module: Some(b"m".to_vec()),
            filters: agreed.filters,
            module_filters: None,
            columns,
            change_mode: None,
            attributes: None,
        };
        Ok(ScannedLists::new(Arc::clone(&session), tree, request, agreed.names, Box::new(NoNames)))
    })
}

/// Pulls `root` into `dest` with the C rsync.
fn pull(root: &Path, dest: &Path, args: &[&str]) -> (Output, Result<SendReport, EngineError>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let url = format!("rsync://{}/m/", listener.local_addr().expect("address"));
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (stream, _) = listener.accept().expect("client");
            serve(&stream, root)
        });
        let output = Command::new("/usr/bin/rsync")
            .args(["--timeout=20", "-a"])
            .args(args)
            .arg(&url)
            .arg(dest)
            .output()
            .expect("rsync");
        (output, server.join().expect("server"))
    })
}

fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

fn fill(root: &Path) {
    fs::create_dir_all(root.join("dir/deep/er")).expect("directory");
    fs::create_dir_all(root.join("empty")).expect("directory");
    fs::write(root.join("small"), b"hello\n").expect("file");
    fs::write(root.join("nothing"), b"").expect("file");
    fs::write(root.join("dir/big"), noise(700_001, 7)).expect("file");
    fs::write(root.join("dir/deep/er/text"), "many words ".repeat(30_000)).expect("file");
    fs::hard_link(root.join("small"), root.join("dir/same")).expect("link");
    symlink("small", root.join("link")).expect("symlink");
    fs::set_permissions(root.join("small"), fs::Permissions::from_mode(0o640)).expect("mode");
    for number in 0..300 {
        fs::write(root.join(format!("dir/deep/file{number}")), noise(number, 1)).expect("file");
    }
}

#[track_caller]
fn assert_same(root: &Path, dest: &Path) {
    let output = Command::new("/usr/bin/diff")
        .args(["-r", "--no-dereference"])
        .args([root, dest])
        .output()
        .expect("diff");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mode = |dir: &Path| fs::metadata(dir.join("small")).expect("file").permissions().mode();
    assert_eq!(mode(root), mode(dest));
}

#[track_caller]
fn pulls(args: &[&str]) {
    let place = tempfile::tempdir().expect("directory");
    let (root, dest) = (place.path().join("root"), place.path().join("dest"));
    fs::create_dir(&dest).expect("directory");
    fill(&root);
    let (output, result) = pull(&root, &dest, args);
    assert!(output.status.success() && result.is_ok(), "{args:?} {output:?} {result:?}");
    assert_same(&root, &dest);
    let mut big = fs::read(root.join("dir/big")).expect("file");
    big.splice(300_000..300_010, *b"something else");
    fs::write(dest.join("dir/big"), &big).expect("file");
    fs::write(dest.join("dir/deep/er/text"), "many words ".repeat(20_000)).expect("file");
    let (output, result) = pull(&root, &dest, &[args, &["--ignore-times", "--delete"]].concat());
    assert!(output.status.success() && result.is_ok(), "{args:?} {output:?} {result:?}");
    assert_same(&root, &dest);
}

#[test]
fn the_c_client_pulls_with_every_protocol() {
    for protocol in 27..=32 {
        let protocol = format!("--protocol={protocol}");
        pulls(&[&protocol]);
        pulls(&[&protocol, "--no-inc-recursive", "-H"]);
    }
}

#[test]
fn the_c_client_pulls_compressed() {
    for protocol in ["--protocol=29", "--protocol=30", "--protocol=32"] {
        pulls(&[protocol, "-z"]);
        pulls(&[protocol, "-z", "-c", "-H"]);
    }
}

#[test]
fn the_c_client_pulls_in_place() {
    pulls(&["--inplace"]);
    pulls(&["--inplace", "-W"]);
    pulls(&["--partial-dir=.part", "--delay-updates"]);
}

#[test]
fn excluded_names_do_not_come() {
    for protocol in ["--protocol=28", "--protocol=29", "--protocol=32"] {
        let place = tempfile::tempdir().expect("directory");
        let (root, dest) = (place.path().join("root"), place.path().join("dest"));
        fill(&root);
        let (output, result) = pull(&root, &dest, &[protocol, "--exclude=file*", "--exclude=/dir/big"]);
        assert!(output.status.success() && result.is_ok(), "{output:?} {result:?}");
        assert!(dest.join("dir/deep/er/text").exists());
        assert!(!dest.join("dir/big").exists() && !dest.join("dir/deep/file1").exists());
    }
}

#[test]
fn names_of_a_local_list_travel_framed_or_raw() {
    for protocol in ["--protocol=28", "--protocol=29", "--protocol=30", "--protocol=31"] {
        let place = tempfile::tempdir().expect("directory");
        let (root, dest) = (place.path().join("root"), place.path().join("dest"));
        fill(&root);
        let names = place.path().join("names");
        fs::write(&names, "small\ndir/deep/file7\n\nno-such\n").expect("file");
        let names = format!("--files-from={}", names.display());
        let (output, result) = pull(&root, &dest, &[protocol, &names]);
        assert_eq!(output.status.code(), Some(23), "{output:?}");
        assert!(result.is_ok(), "{result:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("link_stat \"/no-such\" (in m) failed"), "{stderr}");
        assert!(dest.join("small").exists() && dest.join("dir/deep/file7").exists());
        assert!(!dest.join("dir/big").exists());
    }
}

#[test]
fn sources_are_removed_once_they_arrived() {
    for protocol in ["--protocol=28", "--protocol=29", "--protocol=32"] {
        let place = tempfile::tempdir().expect("directory");
        let (root, dest) = (place.path().join("root"), place.path().join("dest"));
        fill(&root);
        let (output, result) = pull(&root, &dest, &[protocol, "--remove-source-files"]);
        assert!(output.status.success() && result.is_ok(), "{output:?} {result:?}");
        assert!(dest.join("dir/big").exists() && dest.join("link").is_symlink());
        assert!(root.join("dir/deep/er").exists());
        for gone in ["small", "dir/big", "link", "dir/deep/file299"] {
            assert!(!root.join(gone).is_symlink() && !root.join(gone).exists(), "{protocol} {gone}");
        }
    }
}

#[test]
fn the_c_client_appends() {
    for protocol in ["--protocol=29", "--protocol=32"] {
        let place = tempfile::tempdir().expect("directory");
        let (root, dest) = (place.path().join("root"), place.path().join("dest"));
        fill(&root);
        fs::create_dir_all(dest.join("dir")).expect("directory");
        fs::write(dest.join("dir/big"), &noise(700_001, 7)[..123_456]).expect("file");
        fs::write(dest.join("small"), b"he").expect("file");
        let (output, result) = pull(&root, &dest, &[protocol, "--append"]);
        assert!(output.status.success() && result.is_ok(), "{output:?} {result:?}");
        assert_same(&root, &dest);
        fs::write(dest.join("dir/big"), noise(123_456, 8)).expect("file");
        let (output, result) = pull(&root, &dest, &["--protocol=29", "--append"]);
        assert!(output.status.success() && result.is_ok(), "{output:?} {result:?}");
        assert_same(&root, &dest);
    }
}

#[test]
fn a_dry_run_transfers_nothing() {
    let place = tempfile::tempdir().expect("directory");
    let (root, dest) = (place.path().join("root"), place.path().join("dest"));
    fill(&root);
    let (output, result) = pull(&root, &dest, &["-n"]);
    assert!(output.status.success() && result.is_ok(), "{output:?} {result:?}");
    assert!(!dest.exists());
}
