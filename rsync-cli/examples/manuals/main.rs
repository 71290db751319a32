//! Writes the man pages `rsync.1`, `rsyncd.8` and `rsyncd.conf.5`, and completions for bash, zsh and fish:
//! `cargo run -p rsync-cli --example manuals -- DIR`.

#[allow(dead_code, reason = "a page is made of the description alone")]
#[path = "../../src/rsyncd/arguments.rs"]
mod arguments;
mod completions;
mod page;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use arguments::Arguments;
use clap::CommandFactory;
use clap_mangen::Man;

/// The files that go into the directory.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    vec![
        ("rsync.1", page::rsync()),
        ("rsyncd.8", rsyncd()),
        ("rsyncd.conf.5", rsync_daemon::rsyncd_conf_manual()),
        ("rsync.bash", completions::bash()),
        ("_rsync", completions::zsh()),
        ("rsync.fish", completions::fish()),
    ]
}

/// The page of the daemon, from what reads its command line.
fn rsyncd() -> String {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(Arguments::command()).section("8").render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}

#[expect(clippy::print_stderr, reason = "this is a command")]
fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let [directory] = words.as_slice() else {
        eprintln!("usage: manuals DIR");
        return ExitCode::from(1);
    };
    for (name, text) in files() {
        let path = Path::new(directory).join(name);
        let written = fs::create_dir_all(directory).and_then(|()| fs::write(&path, text));
        if let Err(error) = written {
            eprintln!("manuals: cannot write {}: {error}", path.display());
            return ExitCode::from(1);
        }
    }
    ExitCode::SUCCESS
}
