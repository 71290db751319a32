//! Uploads to `rsync --daemon`: the C client and ours, to the C daemon and to ours. What the C client does
//! to the C daemon is what the other three have to do, in every protocol.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::os::unix::fs::lchown;
use std::process::Command;

use rsync_e2e::daemon::Module;
use rsync_e2e::program::is_root;
use rsync_e2e::{Compare, Daemon, Side, Snapshot, Tree, Work, run};

/// What clients have: of everything something.
fn source() -> Tree {
    let tree = Tree::new()
        .file("small", "small\n")
        .random("large", 300_000, 1)
        .sparse("sparse", 1 << 20, &[(1 << 19, b"island")])
        .file("sub/file", "in sub")
        .dir("empty")
        .symlink("relative", "sub/file")
        .symlink("dangling", "no such target")
        .symlink("absolute", "/etc/passwd")
        .symlink("climbing", "../../../etc/passwd")
        .symlink("munged", "/rsyncd-munged/small")
        .hard_link("sub/second", "small")
        .hard_link("third", "small")
        .fifo("fifo")
        .socket("socket")
        .file("setuid", "s")
        .mode("setuid", 0o4755)
        .mode("small", 0o640)
        .mode("sub", 0o2750)
        .file(b"raw-\xff\n", "raw")
        .time("small", 1_234_567_890, 123_456_789)
        .time("sub/file", 86_400, 1)
        .time("relative", 1_111_111_111, 222_222_222)
        .xattr("small", "user.note", "kept")
        .acl(
            "sub/file",
            &[(1, 6, u32::MAX), (2, 4, 99), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)],
        );
    if is_root() {
        tree.char_device("null", 1, 3).block_device("loop", 7, 300).owner("sub/file", 1234, 2345)
    } else {
        tree
    }
}

/// What the module has already.
fn stale() -> Tree {
    Tree::new()
        .file("small", "SMALL\n")
        .file("large", vec![b'x'; 200_000])
        .file("extra/file", "not in the source")
        .symlink("relative", "elsewhere")
        .file("base/sub/file", "in sub")
        .time("base/sub/file", 86_400, 1)
        .dir("parts")
}

/// One way to upload.
struct Upload {
    module: &'static str,
    options: &'static str,
    protocols: &'static [u8],
}

const EVERY: &[u8] = &[27, 28, 29, 30, 31, 32];
const SOME: &[u8] = &[29, 31];
const MODERN: &[u8] = &[30, 32];

/// What one upload came to.
struct Seen {
    code: i32,
    errors: Vec<String>,
    left: Snapshot,
    source: Snapshot,
}

impl Upload {
    fn module(&self, name: &str, work: &Work) -> Module {
        let lines = self.module.lines().fold(Module::new(name, &work.join(name)), Module::line);
        lines.line("read only = no")
    }

    /// Every protocol from both clients to one daemon.
    fn to(&self, server: Side) -> Vec<(String, Seen)> {
        let work = Work::new();
        let uploads: Vec<(Side, u8, String)> = [Side::C, Side::Ours]
            .into_iter()
            .flat_map(|client| self.protocols.iter().map(move |&protocol| (client, protocol)))
            .map(|(client, protocol)| (client, protocol, format!("{client:?}{protocol}")))
            .collect();
        let modules: Vec<Module> = uploads.iter().map(|(_, _, name)| self.module(name, &work)).collect();
        let daemon = Daemon::uploading(server, "reverse lookup = no", &modules);
        let seen = uploads.into_iter().map(|(client, protocol, name)| {
            let from = format!("from-{name}");
            source().write(&work.join(&from));
            stale().write(&work.join(&name));
            if is_root() && self.module.contains("uid = nobody") {
                lchown(work.join(&name), Some(65534), Some(65534)).unwrap();
            }
            let outcome = run(Command::new(client.rsync())
                .arg(format!("--protocol={protocol}"))
                .args(self.options.split(' '))
                .arg(format!("{from}/"))
                .arg(daemon.url(&format!("{name}/")))
                .current_dir(work.path()));
            let place = work.path().display().to_string();
            let text = outcome.stderr.to_string().replace(&place, "PLACE").replace(&name, "NAME");
            // How many bytes came before the end is not part of it.
            let lines = text.lines().filter(|line| !line.contains("connection unexpectedly closed"));
            let mut errors: Vec<String> =
                lines.map(|line| line.split(") at ").next().unwrap_or_default().to_owned()).collect();
            errors.sort();
            let (left, source) = (Snapshot::take(&work.join(&name)), Snapshot::take(&work.join(&from)));
            (name, Seen { code: outcome.code, errors, left, source })
        });
        seen.collect()
    }

    #[track_caller]
    fn compare(&self) {
        let (theirs, ours) = (self.to(Side::C), self.to(Side::Ours));
        let (reference, mixed) = theirs.split_at(self.protocols.len());
        let others = [
            ("ours to C", mixed),
            ("C to ours", &ours[..self.protocols.len()]),
            ("ours to ours", &ours[self.protocols.len()..]),
        ];
        // Trees were made a moment apart, and times of directories are those of what happens in them.
        let compare = Compare { times: self.options.contains('a'), directory_times: false, ..Compare::ALL };
        for (who, others) in others {
            for ((name, expected), (_, seen)) in reference.iter().zip(others) {
                let what = format!("{who}, {name} with {} into {:?}", self.options, self.module);
                assert_eq!((seen.code, &seen.errors), (expected.code, &expected.errors), "{what}");
                for (left, expected) in [(&seen.left, &expected.left), (&seen.source, &expected.source)] {
                    let differences = left.differences(expected, compare);
                    assert!(differences.is_empty(), "{what}: {differences:#?}");
                }
            }
        }
    }
}

macro_rules! uploads {
    ($($name:ident: $module:expr, $options:expr, $protocols:expr;)*) => {
        $(#[test] fn $name() {
            Upload { module: $module, options: $options, protocols: $protocols }.compare();
        })*
    };
}

uploads! {
    everything: "", "-aH", EVERY;
    attributes: "", "-aHAX", MODERN;
    without_rights: "uid = nobody\ngid = nogroup", "-rlt", SOME;
    fake_super: "fake super = yes", "-aH", EVERY;
    fake_super_with_attributes: "fake super = yes", "-aHAX", MODERN;
    munged_links: "munge symlinks = yes", "-a", EVERY;
    links_as_they_are: "munge symlinks = no", "-a", SOME;
    incoming_modes: "incoming chmod = D2750,F640,Fu+s", "-a", EVERY;
    both_chmods: "incoming chmod = Fo=", "-a --chmod=Fg+w", SOME;
    read_only: "read only = yes", "-a", EVERY;
    compressed: "", "-az", EVERY;
    not_compressed: "dont compress = *", "-az", SOME;
    temporary_directory: "", "-a --temp-dir=/parts", SOME;
    temporary_directory_of_the_module: "temp dir = /parts", "-a --temp-dir=/nosuch", SOME;
    delayed: "", "-a --delay-updates", SOME;
    partial: "", "-a --partial-dir=.part", SOME;
    in_place: "", "-a --inplace", SOME;
    appended: "", "-a --append-verify", MODERN;
    sparse: "", "-aS", SOME;
    with_backups: "", "-a --backup --suffix=.old --delete", SOME;
    with_backups_elsewhere: "", "-a --backup --backup-dir=/kept --delete", SOME;
    deleting: "", "-a --delete", EVERY;
    deleting_late: "", "-a --delete-after", SOME;
    deleting_little: "", "-a --delete --max-delete=1", SOME;
    linked_to_others: "", "-a --link-dest=/base", SOME;
    copied_from_others: "", "-a --copy-dest=/base", SOME;
    unlike_others: "", "-a --compare-dest=/base", SOME;
    moved: "", "-a --remove-source-files", SOME;
    existing: "", "-a --existing", SOME;
    new_only: "", "-a --ignore-existing", SOME;
    numeric: "numeric ids = yes", "-a", SOME;
    hidden: "exclude = /extra/ *.o sub/file", "-a --delete", SOME;
    whole: "", "-aW", SOME;
    dry: "", "-an --delete", SOME;
    devices_only: "", "-rD", SOME;
    into_links: "", "-aK", SOME;
    safe_links: "", "-a --safe-links", SOME;
    chmod_refused: "refuse options = chmod perms", "-rt --chmod=F600", SOME;
}
