//! The command line of `rsync --daemon` (spec 08 §1 item 10, the daemon table).

use bstr::BString;

use super::choice::AddressFamily;
use super::error::{OptionError, shown};
use super::parse::Command;
use super::value::{IntError, parse_int};

/// What `rsync --daemon` was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonLine {
    /// Serve standard input and output once (`--server`).
    pub server: bool,
    /// Configuration file.
    pub config: Option<BString>,
    /// `NAME=VALUE` overrides of global parameters.
    pub parameters: Vec<BString>,
    /// Address to listen on.
    pub address: Option<BString>,
    /// Port to listen on.
    pub port: Option<i32>,
    /// Address family.
    pub family: AddressFamily,
    /// KiB per second for all sessions.
    pub bwlimit: Option<i32>,
    /// Leave the terminal; `false` with `--no-detach`.
    pub detach: bool,
    /// Log file.
    pub log_file: Option<BString>,
    /// Format of transfer lines in it.
    pub log_file_format: Option<BString>,
    /// Socket options.
    pub sockopts: Option<BString>,
    /// Directory in modules for temporary files.
    pub temp_dir: Option<BString>,
    /// Newest version of the protocol to speak.
    pub protocol: Option<i32>,
    /// Count of `-v`.
    pub verbose: u32,
}

const HINT: &str = "(Type \"rsync --daemon --help\" for assistance with daemon mode.)";

fn rejected(text: impl std::fmt::Display) -> OptionError {
    OptionError::Daemon(format!("{text}\n{HINT}"))
}

/// Reads the whole line with the daemon's table.
pub(super) fn parse(words: &[BString]) -> Result<Command, OptionError> {
    let mut line = DaemonLine { detach: true, ..DaemonLine::default() };
    let mut daemon = false;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            break;
        }
        if word.len() < 2 || word[0] != b'-' {
            continue;
        }
        let mut options = Vec::new();
        if let Some(body) = word.strip_prefix(b"--") {
            let at = body.iter().position(|&byte| byte == b'=').unwrap_or(body.len());
            options.push((&body[..at], body.get(at + 1..)));
        } else {
            let mut letters = &word[1..];
            while let Some((letter, tail)) = letters.split_first() {
                let name =
                    long_name(*letter).ok_or_else(|| word_error(word, "unknown option (in daemon mode)"))?;
                let valued = matches!(name, b"dparam" | b"temp-dir") && !tail.is_empty();
                options.push((name, valued.then(|| tail.strip_prefix(b"=").unwrap_or(tail))));
                letters = if valued { &[] } else { tail };
            }
        }
        for (name, value) in options {
            let mut value = || {
                value
                    .or_else(|| rest.next().map(|next| next.as_slice()))
                    .ok_or_else(|| word_error(word, "missing argument"))
            };
            match name {
                b"help" => return Ok(Command::DaemonHelp),
                b"daemon" => daemon = true,
                b"server" => line.server = true,
                b"detach" => line.detach = true,
                b"no-detach" => line.detach = false,
                b"ipv4" => line.family = AddressFamily::V4,
                b"ipv6" => line.family = AddressFamily::V6,
                b"verbose" => line.verbose += 1,
                b"no-verbose" | b"no-v" => line.verbose = 0,
                b"config" => line.config = Some(value()?.into()),
                b"dparam" => {
                    let text = value()?;
                    if !text.contains(&b'=') {
                        return Err(rejected(format!("--dparam value is missing an '=': {}", shown(text))));
                    }
                    line.parameters.push(text.into());
                }
                b"address" => line.address = Some(value()?.into()),
                b"log-file" => line.log_file = Some(value()?.into()),
                b"log-file-format" => line.log_file_format = Some(value()?.into()),
                b"sockopts" => line.sockopts = Some(value()?.into()),
                b"temp-dir" => line.temp_dir = Some(value()?.into()),
                b"port" => line.port = Some(integer(value()?, word)?),
                b"bwlimit" => line.bwlimit = Some(integer(value()?, word)?),
                b"protocol" => line.protocol = Some(integer(value()?, word)?),
                _ => return Err(word_error(word, "unknown option (in daemon mode)")),
            }
        }
    }
    if !daemon {
        return Err(rejected("Daemon option(s) used without --daemon."));
    }
    Ok(Command::Daemon(Box::new(line)))
}

fn long_name(letter: u8) -> Option<&'static [u8]> {
    Some(match letter {
        b'h' => b"help",
        b'M' => b"dparam",
        b'4' => b"ipv4",
        b'6' => b"ipv6",
        b'T' => b"temp-dir",
        b'v' => b"verbose",
        _ => return None,
    })
}

fn word_error(word: &[u8], text: &str) -> OptionError {
    rejected(format!("rsync: {}: {text}", shown(word)))
}

fn integer(text: &[u8], word: &[u8]) -> Result<i32, OptionError> {
    parse_int(text).map_err(|error| match error {
        IntError::Invalid => word_error(word, "invalid numeric value"),
        IntError::Range => word_error(word, "number too large or too small"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Result<Command, OptionError> {
        parse(&words.iter().map(|&word| BString::from(word)).collect::<Vec<_>>())
    }

    #[test]
    fn the_daemon_table_is_read() {
        let words = ["--daemon", "--config=/c", "-vvM", "port=1", "--no-detach", "operand", "--port", "0x10"];
        let Ok(Command::Daemon(read)) = line(&words) else { panic!("not a daemon line") };
        assert_eq!(
            *read,
            DaemonLine {
                config: Some("/c".into()),
                parameters: vec!["port=1".into()],
                verbose: 2,
                port: Some(16),
                ..DaemonLine::default()
            }
        );
    }

    #[test]
    fn client_options_are_unknown_in_daemon_mode() {
        for (words, text) in [
            (&["--daemon", "-r"][..], "rsync: -r: unknown option (in daemon mode)"),
            (&["--config=x"], "Daemon option(s) used without --daemon."),
            (&["--daemon", "--dparam=foo"], "--dparam value is missing an '=': foo"),
        ] {
            let error = line(words).expect_err("must be refused");
            assert_eq!(error.message(), format!("{text}\n{HINT}"));
        }
    }
}
