//! Writes the man pages `rsync.1`, `rsyncd.8`, `rsyncd.conf.5` and those of `rsync-mirror` and its
//! subcommands, and completions for bash, zsh and fish:
//! `cargo run -p rsync-cli --example manuals -- DIR`.

#[allow(dead_code, reason = "a page is made of the description alone")]
#[path = "../../src/rsyncd/arguments.rs"]
mod arguments;
mod completions;
#[allow(dead_code, reason = "pages are made of the description alone")]
#[path = "../../src/rsync_mirror/arguments.rs"]
mod mirror;
mod page;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use arguments::Arguments;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

/// The files that go into the directory.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut files = vec![
        ("rsync.1".to_owned(), page::rsync()),
        ("rsyncd.8".to_owned(), rsyncd()),
        ("rsyncd.conf.5".to_owned(), rsync_daemon::rsyncd_conf_manual()),
        ("rsync.bash".to_owned(), completions::bash()),
        ("_rsync".to_owned(), completions::zsh()),
        ("rsync.fish".to_owned(), completions::fish()),
    ];
    let shells = [
        (Shell::Bash, "rsync-mirror.bash"),
        (Shell::Zsh, "_rsync-mirror"),
        (Shell::Fish, "rsync-mirror.fish"),
    ];
    for (shell, name) in shells {
        let mut text = Vec::new();
        generate(shell, &mut mirror::Arguments::command(), "rsync-mirror", &mut text);
        files.push((name.to_owned(), String::from_utf8_lossy(&text).into_owned()));
    }
    files.extend(mirror_pages());
    files
}

/// The pages of `rsync-mirror` and of each subcommand, those within others too.
fn mirror_pages() -> Vec<(String, String)> {
    let mut command = mirror::Arguments::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, "rsync-mirror", &mut pages);
    pages
}

fn add_pages(command: &Command, title: &str, pages: &mut Vec<(String, String)>) {
    pages.push((format!("{title}.1"), section_1(command.clone(), title)));
    for part in command.get_subcommands() {
        add_pages(part, &format!("{title}-{}", part.get_name()), pages);
    }
}

fn section_1(command: Command, title: &str) -> String {
    let mut page = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command).title(title).section("1").render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
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
