//! Which operands are remote, and what that makes of a transfer (spec 01 §1.1, 08 §8).

use bstr::{BString, ByteSlice};

use super::choice::{Batch, FilesFrom};
use super::error::{OptionError, shown};
use super::model::TransferOptions;

/// How a remote side is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteKind {
    /// `host:path`, through a remote shell.
    Shell,
    /// `host::module`, `rsync://host/module` or `rsyncs://host/module`: a daemon.
    Daemon,
}

/// A remote side, without its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// How to reach it.
    pub kind: RemoteKind,
    /// The text in front of the last `@`, if there is one.
    pub user: Option<BString>,
    /// Name or address, without brackets; may be empty.
    pub host: BString,
    /// Port of a URL, 0 if it was `:` or `:0`.
    pub port: Option<u16>,
    /// The connection to the daemon is protected by TLS: `rsyncs://`, which the C rsync does not know.
    pub tls: bool,
}

impl Remote {
    fn same_machine(&self, other: &Self) -> bool {
        (other.host.is_empty() && other.user.is_none())
            || (self.user == other.user && self.host == other.host)
    }
}

/// One operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A path of this machine.
    Local(BString),
    /// A path, or a module and a path, of another one.
    Remote(Remote, BString),
}

/// What the operands ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    /// Both sides are here.
    Local {
        /// What to copy.
        sources: Vec<BString>,
        /// Where to; `None` lists the sources.
        destination: Option<BString>,
    },
    /// From here to a remote side.
    Push {
        /// What to copy.
        sources: Vec<BString>,
        /// Where to.
        remote: Remote,
        /// The path there.
        destination: BString,
    },
    /// From a remote side to here.
    Pull {
        /// Where from.
        remote: Remote,
        /// The paths there.
        sources: Vec<BString>,
        /// Where to; `None` lists the sources.
        destination: Option<BString>,
    },
    /// From a batch file to here.
    Replay {
        /// The file; `-` is standard input.
        batch: BString,
        /// Where to.
        destination: BString,
    },
}

impl Operand {
    /// Tells a local path from a remote one.
    ///
    /// # Errors
    /// A URL that cannot be read; the C rsync takes it for a remote shell's host (spec 08 §17).
    pub fn parse(text: &[u8]) -> Result<Self, OptionError> {
        for (scheme, tls) in [("rsync://", false), ("rsyncs://", true)] {
            let start = text.get(..scheme.len());
            if start.is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes())) {
                return parse_url(&text[scheme.len()..], tls)
                    .ok_or_else(|| OptionError::plain(format!("malformed rsync URL: {}", shown(text))));
            }
        }
        Ok(parse_colon(text).unwrap_or_else(|| Self::Local(text.into())))
    }
}

fn parse_url(text: &[u8], tls: bool) -> Option<Operand> {
    let end = text.find_byte(b'/').unwrap_or(text.len());
    let (user, host, rest) = split_host(&text[..end])?;
    let port = match rest {
        b"" => None,
        [b':'] => Some(0),
        [b':', digits @ ..] => Some(digits.to_str().ok()?.parse().ok().filter(|_| digits[0] != b'+')?),
        _ => return None,
    };
    let path = text.get(end + 1..).unwrap_or_default();
    Some(Operand::Remote(Remote { kind: RemoteKind::Daemon, user, host, port, tls }, path.into()))
}

fn parse_colon(text: &[u8]) -> Option<Operand> {
    let slash = text.find_byte(b'/').unwrap_or(text.len());
    let (user, host, rest) = split_host(&text[..slash])?;
    let path = &text[slash - rest.len()..];
    let path = path.strip_prefix(b":")?;
    let (kind, path) = match path.strip_prefix(b":") {
        Some(path) => (RemoteKind::Daemon, path),
        None => (RemoteKind::Shell, path),
    };
    Some(Operand::Remote(Remote { kind, user, host, port: None, tls: false }, path.into()))
}

/// User, host and what follows from the first colon behind the host.
fn split_host(text: &[u8]) -> Option<(Option<BString>, BString, &[u8])> {
    let colon = |text: &[u8]| {
        let bracket_end = if text.starts_with(b"[") { text.find_byte(b']').unwrap_or(0) } else { 0 };
        text[bracket_end..].find_byte(b':').map_or(text.len(), |at| at + bracket_end)
    };
    let mut user = None;
    let mut start = 0;
    while let Some(at) = text[start..start + colon(&text[start..])].find_byte(b'@') {
        start += at + 1;
        user = Some(BString::from(&text[..start - 1]));
    }
    let (host, rest) = text[start..].split_at(colon(&text[start..]));
    let host = match host {
        [b'[', inner @ .., b']'] if !inner.is_empty() => inner,
        host if host.contains(&b'[') => return None,
        host => host,
    };
    Some((user, host.into(), rest))
}

/// Sorts the operands of a command line.
///
/// # Errors
/// Combinations that rsync refuses, in its words.
pub fn endpoints(operands: &[BString], options: &TransferOptions) -> Result<Endpoints, OptionError> {
    let (first, rest) = operands.split_first().ok_or(OptionError::Usage)?;
    if let Some(Batch::Read(batch)) = &options.batch {
        return replay(batch, rest.last().unwrap_or(first), options);
    }
    let found = match Operand::parse(first)? {
        Operand::Remote(remote, path) => pull(remote, path, rest, options)?,
        Operand::Local(_) => push_or_local(operands, options)?,
    };
    check(&found, options)?;
    Ok(found)
}

/// A batch is its own source; operands before the last say nothing.
fn replay(batch: &BString, last: &BString, options: &TransferOptions) -> Result<Endpoints, OptionError> {
    let destination = match Operand::parse(last)? {
        Operand::Remote(..) => {
            return Err(OptionError::plain("remote destination is not allowed with --read-batch"));
        }
        Operand::Local(path) if path.is_empty() && options.old_args == 0 => {
            return Err(OptionError::plain(EMPTY_DESTINATION));
        }
        Operand::Local(path) if path.is_empty() => ".".into(),
        Operand::Local(path) => path,
    };
    let found = Endpoints::Replay { batch: batch.clone(), destination };
    check(&found, options)?;
    Ok(found)
}

const EMPTY_DESTINATION: &str = "Empty destination arg specified (use \".\" or see --old-args).";

fn pull(
    remote: Remote,
    path: BString,
    rest: &[BString],
    options: &TransferOptions,
) -> Result<Endpoints, OptionError> {
    let (others, destination) = match rest.split_last() {
        None => (rest, None),
        Some((last, _)) if last.starts_with(b":") => (rest, None),
        Some((last, others)) => {
            if matches!(Operand::parse(last)?, Operand::Remote(..)) {
                return Err(OptionError::plain("The source and destination cannot both be remote."));
            }
            if last.is_empty() && options.old_args == 0 {
                return Err(OptionError::plain(EMPTY_DESTINATION));
            }
            (others, Some(last.clone()))
        }
    };
    let mut sources = vec![path];
    for text in others {
        let Operand::Remote(other, path) = Operand::parse(text)? else {
            return Err(OptionError::plain(format!(
                "Unexpected local arg: {}\nIf arg is a remote file/dir, prefix it with a colon (:).",
                shown(text)
            )));
        };
        if !remote.same_machine(&other) {
            return Err(OptionError::plain("All source args must come from the same machine."));
        }
        if remote.kind != other.kind || (remote.tls != other.tls && !other.host.is_empty()) {
            return Err(OptionError::plain("All source args must use the same hostspec format."));
        }
        if other.port.is_some() && other.port != remote.port {
            return Err(OptionError::plain("All source args must use the same port number."));
        }
        sources.push(path);
    }
    Ok(Endpoints::Pull { remote, sources, destination })
}

fn push_or_local(operands: &[BString], options: &TransferOptions) -> Result<Endpoints, OptionError> {
    let (sources, last) = match operands.split_last() {
        Some((last, sources)) if !sources.is_empty() => (sources, Some(last)),
        _ => (operands, None),
    };
    for text in sources {
        if text.is_empty() {
            return Err(OptionError::plain("Empty source arg specified."));
        }
        if matches!(Operand::parse(text)?, Operand::Remote(..)) {
            return Err(OptionError::plain(format!("Unexpected remote arg: {}", shown(text))));
        }
    }
    let sources = sources.to_vec();
    let Some(last) = last else { return Ok(Endpoints::Local { sources, destination: None }) };
    match Operand::parse(last)? {
        Operand::Remote(remote, destination) => Ok(Endpoints::Push { sources, remote, destination }),
        Operand::Local(path) if path.is_empty() && options.old_args == 0 => {
            Err(OptionError::plain(EMPTY_DESTINATION))
        }
        Operand::Local(path) if path.is_empty() => {
            Ok(Endpoints::Local { sources, destination: Some(".".into()) })
        }
        Operand::Local(path) => Ok(Endpoints::Local { sources, destination: Some(path) }),
    }
}

/// Options that do not fit the endpoints (spec 08 §8 items 3 to 5).
fn check(found: &Endpoints, options: &TransferOptions) -> Result<(), OptionError> {
    let (remote, paths) = match found {
        Endpoints::Local { .. } | Endpoints::Replay { .. } => (None, &[][..]),
        Endpoints::Push { remote, destination, .. } => (Some(remote), std::slice::from_ref(destination)),
        Endpoints::Pull { remote, sources, .. } => (Some(remote), sources.as_slice()),
    };
    if let Some(FilesFrom::Remote { host, .. }) = &options.files_from {
        let Some(remote) = remote else {
            return Err(OptionError::plain("--files-from cannot be remote when the transfer is local"));
        };
        let (user, name, _) = split_host(host).unwrap_or((None, host.clone(), b""));
        if !host.is_empty() && (name != remote.host || user != remote.user) {
            return Err(OptionError::plain("--files-from hostname is not the same as the transfer hostname"));
        }
    }
    let daemon = remote.filter(|remote| remote.kind == RemoteKind::Daemon);
    if options.password_file.is_some() && daemon.is_none() {
        let text = "The --password-file option may only be used when accessing an rsync daemon.";
        return Err(OptionError::plain(text));
    }
    if options.contimeout != 0 && (daemon.is_none() || options.rsh.is_some()) {
        let text = "The --contimeout option may only be used when connecting to an rsync daemon.";
        return Err(OptionError::plain(text));
    }
    if options.rsh.is_some() && remote.is_some_and(|remote| remote.tls) {
        let text = "rsyncs:// is a connection of its own and cannot go through a remote shell: leave --rsh out, \
                    or use rsync://.";
        return Err(OptionError::plain(text));
    }
    let through_shell = options.rsh.is_some() || daemon.is_none();
    if remote.is_some_and(|remote| through_shell && remote.host.starts_with(b"-")) {
        return Err(OptionError::plain("Invalid remote host: hostnames may not start with '-'."));
    }
    if daemon.is_some() && paths.first().is_some_and(|path| path.starts_with(b"/")) {
        let tail = if options.rsh.is_some() { "" } else { " not a /" };
        return Err(OptionError::ModulePath(format!(
            "ERROR: The remote path must start with a module name{tail}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_operand(text: &str) -> String {
        match Operand::parse(text.as_bytes()) {
            Ok(Operand::Local(path)) => format!("local {path}"),
            Ok(Operand::Remote(remote, path)) => {
                let user = remote.user.map_or("-".to_owned(), |user| user.to_string());
                let tls = if remote.tls { " TLS" } else { "" };
                format!("{:?}{tls} {user} {} {:?} {path}", remote.kind, remote.host, remote.port)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn operands_are_told_apart() {
        for (text, expected) in [
            ("a/b:c", "local a/b:c"),
            ("plain", "local plain"),
            ("h:p", "Shell - h None p"),
            (":p", "Shell -  None p"),
            ("h:", "Shell - h None "),
            ("h::m/p", "Daemon - h None m/p"),
            ("::m", "Daemon -  None m"),
            ("u@v@h:p", "Shell u@v h None p"),
            ("@h:p", "Shell  h None p"),
            ("h:a@b:c", "Shell - h None a@b:c"),
            ("[::1]:p", "Shell - ::1 None p"),
            ("u@[fe80::1%eth0]::m", "Daemon u fe80::1%eth0 None m"),
            ("[]:p", "local []:p"),
            ("rsync://[::1]:999/m", "Daemon - ::1 Some(999) m"),
            ("RSYNC://u@h/m/p", "Daemon u h None m/p"),
            ("rsyncs://u@h:8874/m/p", "Daemon TLS u h Some(8874) m/p"),
            ("rsyncs://h:x/m", "malformed rsync URL: rsyncs://h:x/m"),
            ("rsync://h", "Daemon - h None "),
            ("rsync://h:/m", "Daemon - h Some(0) m"),
            ("rsync://h//abs", "Daemon - h None /abs"),
            ("rsync://h:abc/x", "malformed rsync URL: rsync://h:abc/x"),
        ] {
            assert_eq!(shown_operand(text), expected, "{text}");
        }
    }

    fn refused(operands: &[&str], options: &TransferOptions) -> String {
        let operands: Vec<BString> = operands.iter().map(|&text| text.into()).collect();
        endpoints(&operands, options).map_or_else(|error| error.to_string(), |found| format!("{found:?}"))
    }

    #[test]
    fn bad_combinations_are_refused_in_the_words_of_rsync() {
        let plain = TransferOptions::default();
        for (operands, expected) in [
            (&["h:a", ":b", "joe@h:c", "d"][..], "All source args must come from the same machine."),
            (
                &["a:x", "y", "d"],
                "Unexpected local arg: y\nIf arg is a remote file/dir, prefix it with a colon (:).",
            ),
            (&["s", "b:y", "h:d"], "Unexpected remote arg: b:y"),
            (&["a:x", "b:y"], "The source and destination cannot both be remote."),
            (&["a:x", "a::y", "d"], "All source args must use the same hostspec format."),
            (&["rsyncs://a/x", "rsync://a/y", "d"], "All source args must use the same hostspec format."),
            (&["rsync://a:1/x", "rsync://a:2/y", "d"], "All source args must use the same port number."),
            (&["", "h:d"], "Empty source arg specified."),
            (&["h:s", ""], "Empty destination arg specified (use \".\" or see --old-args)."),
            (&["s", ""], "Empty destination arg specified (use \".\" or see --old-args)."),
            (&["s", "u@-h:x"], "Invalid remote host: hostnames may not start with '-'."),
            (&["rsync://h//abs", "d"], "ERROR: The remote path must start with a module name not a /"),
        ] {
            assert_eq!(refused(operands, &plain), expected, "{operands:?}");
        }
        let options = TransferOptions { rsh: Some("ssh".into()), ..TransferOptions::default() };
        assert!(
            refused(&["rsyncs://h/m", "d"], &options).starts_with("rsyncs:// is a connection of its own")
        );
        let options = TransferOptions { password_file: Some("f".into()), ..TransferOptions::default() };
        let expected = "The --password-file option may only be used when accessing an rsync daemon.";
        assert_eq!(refused(&["h:a", "d"], &options), expected);
    }

    #[test]
    fn a_last_operand_with_a_colon_makes_a_listing() {
        let operands: Vec<BString> = ["host:src/", ":two"].map(BString::from).into();
        let found = endpoints(&operands, &TransferOptions::default());
        let Ok(Endpoints::Pull { sources, destination: None, .. }) = found else { panic!("{found:?}") };
        assert_eq!(sources, ["src/", "two"].map(BString::from));
    }
}
