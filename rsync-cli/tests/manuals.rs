//! The man pages and completions, tried in the programs that read them (`scripts/test` installs these).

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

#[allow(dead_code, clippy::print_stderr, reason = "the program around the texts is not used here")]
#[path = "../examples/manuals/main.rs"]
mod manuals;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

fn written() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, text) in manuals::files() {
        std::fs::write(place.path().join(name), text).unwrap();
    }
    place
}

/// Runs a program in the directory of the files; what it printed, and what it complained of.
fn run(place: &Path, words: &[&str]) -> (String, String) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .current_dir(place)
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", place)
        .env("MANWIDTH", "900")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", words[0]));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_man_page_is_read_without_a_warning_and_names_every_option() {
    let place = written();
    let (lint, _) = run(place.path(), &["mandoc", "-T", "lint", "-W", "warning", "rsync.1"]);
    assert_eq!(lint, "");
    let (page, warnings) = run(place.path(), &["man", "-l", "--warnings", "rsync.1"]);
    assert_eq!(warnings, "");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for doc in rsync_proto::options::option_docs() {
        let names =
            doc.aliases.iter().chain(&doc.negations).chain([&doc.long]).filter(|name| !name.is_empty());
        for name in names {
            assert!(page.contains(&format!("--{name}")), "--{name}");
        }
    }
    assert!(page.contains("23 some files/attrs were not transferred"));
    let left = page.split(' ').find(|word| word.starts_with('@') && word.ends_with('@'));
    assert_eq!(left, None, "a mark of the frame");
}

#[test]
fn the_pages_of_the_daemon_and_of_mirrors_are_read_without_a_complaint() {
    let place = written();
    for (page, words) in [
        ("rsyncd.8", ["--check-config", "--no-detach", "/etc/rsyncd.conf"]),
        ("rsyncd.conf.5", ["hosts allow", "metrics address", "max connections"]),
        ("rsync-mirror.1", ["75 somebody else holds a lock", "sync", "plan"]),
        ("rsync-mirror-sync.1", ["--max-delete", "--lock-file", "--publish"]),
        ("rsync-mirror-tunasync-worker.1", ["--config", "--pidfile", "worker.conf"]),
        ("rsync-mirror-tunasynctl-list.1", ["--all", "--format", "WORKER"]),
    ] {
        let (text, complaints) = run(place.path(), &["man", "-l", "--warnings", page]);
        assert_eq!(complaints, "", "{page}");
        for word in words {
            assert!(text.contains(word), "{page}: {word}");
        }
    }
}

#[test]
fn bash_completes() {
    let place = written();
    let complete = |line: &str, word: &str, before: &str, index: usize| {
        let script = format!(
            "compopt() {{ :; }}; source ./rsync.bash; COMP_WORDS=({line}); COMP_CWORD={index}; \
             _rsync rsync '{word}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let (found, errors) = run(place.path(), &["bash", "--norc", "-c", &script]);
        assert_eq!(errors, "");
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let deletes = complete("rsync --delete-b", "--delete-b", "rsync", 1);
    assert!(deletes.contains(&"--delete-before".to_owned()), "{deletes:?}");
    assert_eq!(complete("rsync --files-from rsync.f", "rsync.f", "--files-from", 2), ["rsync.fish"]);
}

#[test]
fn fish_completes() {
    let place = written();
    let complete = |line: &str| {
        let script = format!("set fish_complete_path .; complete -C '{line}'");
        let (found, errors) = run(place.path(), &["fish", "--no-config", "-c", &script]);
        assert_eq!(errors, "");
        found
    };
    assert_eq!(complete("rsync --delete-be"), "--delete-before\tdelete before the transfer\n");
    assert_eq!(complete("rsync --progress="), "--progress=bar\n");
    assert_eq!(complete("rsync --files-from rsync.f"), "rsync.fish\n");
}

/// Types `--delete-be`, a tab and `--nu`, a tab, in an interactive zsh.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=(. \$fpath); autoload -U compinit; compinit -u -D; print -r - REA''DY"
zpty -r shell line '*READY*'
zpty -w -n shell $'rsync --delete-be\t--nu\t'
zpty -r shell line '*before*numeric-ids*'
print -r -- "$line"
zpty -d shell
"#;

#[test]
fn zsh_completes() {
    let place = written();
    let (found, errors) = run(place.path(), &["timeout", "20", "zsh", "-f", "-c", ZSH]);
    assert_eq!(errors, "");
    assert!(found.contains("numeric-ids"), "{found:?}");
}
