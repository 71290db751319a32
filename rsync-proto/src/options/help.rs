//! `--help`, `--version` and the tables of `--info=help` and `--debug=help` (spec 08 §7, §3).

use std::fmt::Write;

use super::rows::ROWS;
use super::verbosity::{DEBUG_BY_VERBOSITY, Debug, INFO_BY_VERBOSITY, Info};

/// What a build can do, for the version text.
#[derive(Clone, Copy, Debug)]
pub struct VersionFacts<'a> {
    /// Version of the C rsync whose behaviour is offered; scripts read it.
    pub version: &'a str,
    /// Newest protocol.
    pub protocol: u8,
    /// Who made this program, behind `Copyright `.
    pub copyright: &'a str,
    /// Where it lives.
    pub url: &'a str,
    /// Its licence.
    pub license: &'a str,
    /// Capabilities: name and whether it is there.
    pub capabilities: &'a [(&'a str, bool)],
    /// Speed-ups: name and whether it is there.
    pub optimizations: &'a [(&'a str, bool)],
    /// Checksum names, best first.
    pub checksums: &'a [&'a str],
    /// Compression names, best first.
    pub compressions: &'a [&'a str],
    /// Digests of daemon passwords, best first.
    pub digests: &'a [&'a str],
}

/// The version text.
#[must_use]
pub fn version(facts: &VersionFacts<'_>) -> String {
    let mut text = format!("rsync  version {}  protocol version {}\n", facts.version, facts.protocol);
    let _ = writeln!(text, "Copyright {}\nWeb site: {}", facts.copyright, facts.url);
    for (title, items) in [("Capabilities", facts.capabilities), ("Optimizations", facts.optimizations)] {
        let _ = writeln!(text, "{title}:");
        let named = |&(name, on): &(&str, bool)| if on { name.to_owned() } else { format!("no {name}") };
        wrap(&mut text, items.iter().map(named));
    }
    for (title, names) in [
        ("Checksum list", facts.checksums),
        ("Compress list", facts.compressions),
        ("Daemon auth list", facts.digests),
    ] {
        let names: Vec<String> = names
            .iter()
            .map(|&name| if name == "xxh64" { "xxh64 (xxhash)".to_owned() } else { name.to_owned() })
            .collect();
        let _ = writeln!(text, "{title}:\n    {}", names.join(" "));
    }
    let _ = writeln!(
        text,
        "\nrsync comes with ABSOLUTELY NO WARRANTY.  This is free software, and you\n\
         are welcome to redistribute it under certain conditions.  See the licence\n\
         ({}) for details.",
        facts.license
    );
    text
}

/// Items joined by `, `, indented by 4, in lines below 79 columns.
fn wrap(text: &mut String, items: impl Iterator<Item = String>) {
    let mut column = 0;
    let mut items = items.peekable();
    while let Some(item) = items.next() {
        let comma = if items.peek().is_some() { "," } else { "" };
        let width = item.len() + comma.len();
        if column == 0 {
            text.push_str("   ");
            column = 3;
        } else if column + 1 + width >= 79 {
            text.push_str("\n   ");
            column = 3;
        }
        let _ = write!(text, " {item}{comma}");
        column += 1 + width;
    }
    text.push('\n');
}

/// The version as JSON.
#[must_use]
pub fn version_json(facts: &VersionFacts<'_>) -> String {
    let list = |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let flags = |items: &[(&str, bool)]| {
        items.iter().map(|(name, on)| json_capability(name, *on)).collect::<Vec<_>>().join(
            ",
    ",
        )
    };
    format!(
        "{{\n  \"program\": \"rsync\",\n  \"version\": \"{}\",\n  \"protocol\": \"{}.0\",\n  \"copyright\": \"{}\",\n  \
         \"url\": \"{}\",\n  \"capabilities\": {{\n    {}\n  }},\n  \"optimizations\": {{\n    {}\n  }},\n  \
         \"checksum_list\": [\n    {}\n  ],\n  \"compress_list\": [\n    {}\n  ],\n  \"daemon_auth_list\": [\n    {}\n  ],\n  \
         \"license\": \"{}\",\n  \"caveat\": \"rsync comes with ABSOLUTELY NO WARRANTY\"\n}}\n",
        facts.version,
        facts.protocol,
        facts.copyright,
        facts.url,
        flags(facts.capabilities),
        flags(facts.optimizations),
        list(facts.checksums),
        list(facts.compressions),
        list(facts.digests),
        facts.license,
    )
}

fn json_capability(name: &str, on: bool) -> String {
    if let Some((bits, what)) = name.split_once("-bit ") {
        let what = what.strip_suffix('s').unwrap_or(what).replace(' ', "_");
        return format!("\"{what}_bits\": {bits}");
    }
    match name.strip_prefix("optional ") {
        Some(name) => format!("\"{}\": \"optional\"", name.replace('-', "_")),
        None => format!("\"{}\": {on}", name.replace(['-', ' '], "_")),
    }
}

/// The help text behind the version text.
#[must_use]
pub fn help(facts: &VersionFacts<'_>) -> String {
    let mut text = version(facts);
    text.push_str(
        "\nrsync copies files to and from other machines and sends only what differs\n\
         from the files that are already there.\n\n\
         Usage: rsync [OPTION]... SRC [SRC]... DEST\n  \
         or   rsync [OPTION]... SRC [SRC]... [USER@]HOST:DEST\n  \
         or   rsync [OPTION]... SRC [SRC]... [USER@]HOST::DEST\n  \
         or   rsync [OPTION]... SRC [SRC]... rsync://[USER@]HOST[:PORT]/DEST\n  \
         or   rsync [OPTION]... [USER@]HOST:SRC [DEST]\n  \
         or   rsync [OPTION]... [USER@]HOST::SRC [DEST]\n  \
         or   rsync [OPTION]... rsync://[USER@]HOST[:PORT]/SRC [DEST]\n\
         A single ':' means a remote shell, '::' and 'rsync://' mean a daemon, whose\n\
         paths begin with the name of a module.\n\nOptions\n",
    );
    for row in ROWS.iter().filter(|row| !row.label.is_empty()) {
        let _ = writeln!(text, "{:<24} {}", row.label, row.help);
        match (row.name, row.short) {
            ("archive", _) => {
                let _ = writeln!(text, "{:<24} turn off an implied OPTION (e.g. --no-D)", "--no-OPTION");
            }
            ("", b'F') => {
                let _ = writeln!(text, "{:<24} repeated: --filter='- .rsync-filter'", "");
            }
            _ => {}
        }
    }
    let _ = write!(
        text,
        "\nUse \"rsync --daemon --help\" to see the daemon-mode command-line options.\n\
         Please see the rsync(1) and rsyncd.conf(5) manpages for full documentation.\n\
         See {} for updates, bug reports, and answers\n",
        facts.url
    );
    text
}

/// The help text of daemon mode.
#[must_use]
pub fn daemon_help(facts: &VersionFacts<'_>) -> String {
    let mut text = version(facts);
    text.push_str(
        "\nUsage: rsync --daemon [OPTION]...\n\
         --daemon                 run as a daemon\n\
         --address=ADDRESS        listen on this address\n\
         --bwlimit=RATE           limit the bandwidth\n\
         --config=FILE            use this configuration file\n\
         --dparam=OVERRIDE, -M    override a global parameter\n\
         --no-detach              stay in the foreground\n\
         --port=PORT              listen on this port\n\
         --log-file=FILE          override the \"log file\" parameter\n\
         --log-file-format=FMT    override the \"log format\" parameter\n\
         --sockopts=OPTIONS       TCP options\n\
         --verbose, -v            say more\n\
         --ipv4, -4               prefer IPv4\n\
         --ipv6, -6               prefer IPv6\n\
         --help, -h               show this help (with --daemon)\n\n\
         Without --daemon, none of the daemon options means anything.  See also the\n\
         rsyncd.conf(5) manpage.\n",
    );
    text
}

/// The table of `--info=help`.
#[must_use]
pub fn info_help() -> String {
    let words = Info::ALL.iter().map(|word| (word.name(), word.help()));
    let levels = INFO_BY_VERBOSITY
        .iter()
        .map(|added| added.iter().map(|&(word, level)| (word.name(), level)).collect());
    words_help("info", words, std::iter::once(vec![(Info::Nonreg.name(), 1)]).chain(levels))
}

/// The table of `--debug=help`.
#[must_use]
pub fn debug_help() -> String {
    let words = Debug::ALL.iter().map(|word| (word.name(), word.help()));
    let levels = DEBUG_BY_VERBOSITY
        .iter()
        .map(|added| added.iter().map(|&(word, level)| (word.name(), level)).collect());
    words_help("debug", words, std::iter::once(Vec::new()).chain(levels))
}

fn words_help(
    option: &str,
    words: impl Iterator<Item = (&'static str, &'static str)>,
    levels: impl Iterator<Item = Vec<(&'static str, u8)>>,
) -> String {
    let mut text =
        "Use OPT or OPT1 for level 1 output, OPT2 for level 2, etc.; OPT0 silences.\n\n".to_owned();
    for (name, help) in words {
        let _ = writeln!(text, "{name:<10} {help}");
    }
    let _ = write!(
        text,
        "\n{:<10} Every word of --{option} (e.g. all4)\n{:<10} No word of --{option} (same as all0)\n{:<10} Show this table\n\n\
         Options added at each level of verbosity:\n",
        "ALL", "NONE", "HELP"
    );
    for (verbosity, added) in levels.enumerate().filter(|(_, added)| !added.is_empty()) {
        let items: Vec<String> = added
            .iter()
            .map(|&(name, level)| if level == 1 { name.to_owned() } else { format!("{name}{level}") })
            .collect();
        let _ = writeln!(text, "{verbosity}) {}", items.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: VersionFacts<'_> = VersionFacts {
        version: "3.5.0",
        protocol: 32,
        copyright: "(C) somebody",
        url: "https://example.org/",
        license: "MIT",
        capabilities: &[
            ("64-bit long ints", true),
            ("symlinks", true),
            ("hardlink-specials", true),
            ("crtimes", false),
        ],
        optimizations: &[("SIMD-roll", false)],
        checksums: &["xxh64", "md5"],
        compressions: &["zlib"],
        digests: &["md5"],
    };

    #[test]
    fn every_documented_option_has_one_help_line() {
        let text = help(&FACTS);
        for line in text.lines() {
            assert!(line.len() < 80, "{line}");
        }
        let lines =
            text.lines().skip_while(|line| *line != "Options").filter(|line| line.starts_with('-')).count();
        let ours = ROWS.iter().filter(|row| row.ours && !row.label.is_empty()).count();
        assert_eq!(lines, 154 + ours);
    }

    #[test]
    fn the_verbosity_tables_list_what_each_level_adds() {
        assert!(info_help().ends_with(
            "0) NONREG\n1) COPY,DEL,FLIST,MISC,NAME,STATS,SYMSAFE\n2) BACKUP,MISC2,MOUNT,NAME2,REMOVE,SKIP\n"
        ));
        assert!(debug_help().ends_with("4) CMD2,DEL3,DELTASUM3,EXIT2,FLIST3,ICONV2,OWN2,PROTO,TIME2\n5) CHDIR,DELTASUM4,FLIST4,FUZZY2,HASH,HLINK\n"));
    }

    #[test]
    fn the_version_says_what_is_missing() {
        let text = version(&FACTS);
        assert!(text.starts_with("rsync  version 3.5.0  protocol version 32\n"));
        assert!(text.contains("    64-bit long ints, symlinks, hardlink-specials, no crtimes\n"));
        assert!(version_json(&FACTS).contains("\"long_int_bits\": 64,\n    \"symlinks\": true"));
    }
}
