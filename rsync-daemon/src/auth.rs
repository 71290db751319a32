//! Users and passwords of a module (spec 09 §8).

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{Group, User, getgrouplist};
use rsync_proto::filter::Wildcard;
use rsync_proto::session::AuthDigest;
use zeroize::Zeroizing;

use crate::files::{CONFIG_LIMIT, open_trusted};

/// Longest line of a secrets file, in bytes.
const SECRET_LINE_LIMIT: usize = 1023;

/// What a client proved its password against.
pub(crate) struct Answer<'a> {
    pub(crate) user: &'a [u8],
    pub(crate) response: &'a [u8],
    pub(crate) digest: AuthDigest,
    pub(crate) challenge: &'a [u8],
}

/// Where passwords are.
pub(crate) enum Secrets {
    /// In a file, or why not.
    File(Result<File, String>),
    /// The user's, as the program that hosts the daemon knows it.
    Known(Option<Zeroizing<Vec<u8>>>),
}

/// One term of `auth users`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule<'a> {
    name: &'a [u8],
    suffix: Option<Suffix>,
}

/// What a term of `auth users` says behind its colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suffix {
    Deny,
    ReadOnly,
    ReadWrite,
}

impl Suffix {
    fn parse(text: &[u8]) -> Option<Self> {
        let begins =
            |with: &str| text.len() >= with.len() && text[..with.len()].eq_ignore_ascii_case(with.as_bytes());
        match text {
            _ if begins("d") => Some(Self::Deny),
            _ if begins("ro") => Some(Self::ReadOnly),
            _ if begins("rw") => Some(Self::ReadWrite),
            _ => None,
        }
    }
}

/// The first term of `auth users` that lets somebody write, whatever the module says.
pub(crate) fn writer(auth_users: &[u8]) -> Option<&[u8]> {
    let is_writer = |term: &&[u8]| rules(term).iter().any(|rule| rule.suffix == Some(Suffix::ReadWrite));
    names(auth_users).into_iter().find(is_writer)
}

/// Splits a list of names: at white space and commas, or only at commas if it begins with one.
pub(crate) fn names(list: &[u8]) -> Vec<&[u8]> {
    let commas_only = list.first() == Some(&b',');
    list.split(move |byte| *byte == b',' || (!commas_only && matches!(byte, b' ' | b'\t' | b'\r' | b'\n')))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .collect()
}

fn rules(list: &[u8]) -> Vec<Rule<'_>> {
    let rule = |term: &'_ [u8]| -> usize { term.iter().position(|&byte| byte == b':').unwrap_or(term.len()) };
    names(list)
        .into_iter()
        .map(|term| {
            let (name, option) = term.split_at(rule(term));
            Rule { name, suffix: Suffix::parse(option.get(1..).unwrap_or_default()) }
        })
        .collect()
}

/// Checks a client's answer against `auth users` and the secrets; answers what the rule adds.
///
/// # Errors
/// The reason for the log; the client learns only that it failed.
pub(crate) fn check(
    auth_users: &[u8],
    secrets: Secrets,
    answer: &Answer<'_>,
) -> Result<Option<Suffix>, String> {
    let user = answer.user;
    if user.first() == Some(&b'#') {
        return Err("invalid username".into());
    }
    let mut group = None;
    let rules = rules(auth_users);
    let rule = rules.iter().find(|rule| match rule.name.strip_prefix(b"@") {
        None => Wildcard::compile(rule.name).matches(user),
        Some(pattern) => {
            group = groups_of(user).into_iter().find(|name| Wildcard::compile(pattern).matches(name));
            group.is_some()
        }
    });
    let rule = rule.ok_or("no matching rule")?;
    if rule.suffix == Some(Suffix::Deny) {
        return Err("denied by rule".into());
    }
    let group = group.filter(|_| rule.name.starts_with(b"@"));
    match secrets {
        Secrets::File(file) => {
            let text = wiped_text(&file?).map_err(|_| "ignoring secrets file")?;
            check_secret(text.as_slice(), group.as_deref(), answer)?;
        }
        Secrets::Known(Some(password)) => {
            let verified = answer.digest.verifies(&password, answer.challenge, answer.response);
            if !verified {
                return Err("password mismatch".into());
            }
        }
        Secrets::Known(None) => return Err("secret not found".into()),
    }
    Ok(rule.suffix)
}

/// Opens a secrets file, if it is one to rely on.
///
/// # Errors
/// Why it is not, for the log.
pub(crate) fn open_secrets(path: Option<&Path>, strict_modes: bool) -> Result<File, String> {
    let file = open_trusted(path.ok_or("no secrets file")?).map_err(|_| "no secrets file")?;
    if strict_modes {
        check_mode(&file)?;
    }
    Ok(file)
}

const OTHER_ACCESSIBLE: &str = "secrets file must not be other-accessible (see strict modes option)";
const NOT_OWNED_BY_ROOT: &str = "secrets file must be owned by root when running as root (see strict modes)";

/// Whether a failure is the operator's: it has a line of its own in the log.
pub(crate) fn is_about_the_file(why: &str) -> bool {
    matches!(why, OTHER_ACCESSIBLE | NOT_OWNED_BY_ROOT)
}

fn check_mode(file: &File) -> Result<(), String> {
    let facts = file.metadata().map_err(|_| "ignoring secrets file")?;
    if facts.mode() & 0o6 != 0 {
        return Err(OTHER_ACCESSIBLE.into());
    }
    if rustix::process::geteuid().is_root() && facts.uid() != 0 {
        return Err(NOT_OWNED_BY_ROOT.into());
    }
    Ok(())
}

/// Tries the first line of the user and, where a group's rule applies, the first of the group.
fn check_secret(mut lines: impl BufRead, group: Option<&[u8]>, answer: &Answer<'_>) -> Result<(), String> {
    let mut wanted = [Some((false, answer.user)), group.map(|group| (true, group))];
    let mut found = false;
    while let Some(line) = next_line(&mut lines).map_err(|_| "ignoring secrets file")? {
        let (is_group, body) = line.strip_prefix(b"@").map_or((false, line.as_slice()), |body| (true, body));
        for slot in &mut wanted {
            let Some((for_group, name)) = *slot else { continue };
            let Some(password) = body.strip_prefix(name).and_then(|rest| rest.strip_prefix(b":")) else {
                continue;
            };
            if for_group != is_group {
                continue;
            }
            *slot = None;
            found = true;
            if answer.digest.verifies(password, answer.challenge, answer.response) {
                return Ok(());
            }
        }
    }
    Err(if found { "password mismatch" } else { "secret not found" }.into())
}

/// The whole file, in one piece of memory that is wiped.
fn wiped_text(file: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = file.metadata()?.len().min(CONFIG_LIMIT);
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0)));
    file.take(length).read_to_end(&mut text)?;
    Ok(text)
}

/// The next line without its ending; longer ones are cut.
fn next_line(lines: &mut impl BufRead) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(SECRET_LINE_LIMIT));
    if lines.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(line.len());
    line.truncate(end.min(SECRET_LINE_LIMIT));
    Ok(Some(line))
}

/// The names of a system user's groups.
fn groups_of(user: &[u8]) -> Vec<Vec<u8>> {
    let Some(name) = std::str::from_utf8(user).ok() else { return Vec::new() };
    let Ok(Some(account)) = User::from_name(name) else { return Vec::new() };
    let Ok(c_name) = std::ffi::CString::new(name) else { return Vec::new() };
    let ids = getgrouplist(&c_name, account.gid).unwrap_or_default();
    ids.into_iter()
        .filter_map(|id| Group::from_gid(id).ok().flatten())
        .map(|group| group.name.into_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn outcome(users: &str, file: &str, user: &str, password: &str) -> Result<(), String> {
        outcome_with_mode(users, file, user, password, 0o600, true)
    }

    fn outcome_with_mode(
        users: &str,
        file: &str,
        user: &str,
        password: &str,
        mode: u32,
        strict_modes: bool,
    ) -> Result<(), String> {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("secrets");
        fs::write(&path, file).expect("write");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("mode");
        let digest = AuthDigest::Sha512;
        let response = digest.response(password.as_bytes(), b"challenge");
        let answer =
            Answer { user: user.as_bytes(), response: response.as_bytes(), digest, challenge: b"challenge" };
        check(users.as_bytes(), Secrets::File(open_secrets(Some(&path), strict_modes)), &answer).map(drop)
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let file = "alice:secret\ncarol:\n# comment\nbob:with space \r\nalice:other\n";
        for (users, user, password, expected) in [
            ("alice, bob", "alice", "secret", Ok(())),
            ("alice bob", "alice", "other", Err("password mismatch")),
            ("alice bob", "bob", "with space ", Ok(())),
            ("carol", "carol", "", Ok(())),
            ("a*", "alice", "secret", Ok(())),
            ("alice:deny *", "alice", "secret", Err("denied by rule")),
            ("alice:DENY", "alice", "secret", Err("denied by rule")),
            ("alice:rw", "alice", "secret", Ok(())),
            ("bob", "alice", "secret", Err("no matching rule")),
            ("dave", "dave", "x", Err("secret not found")),
            ("*", "#x", "x", Err("invalid username")),
            ("ALICE", "alice", "secret", Err("no matching rule")),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(outcome(users, file, user, password), expected, "{users} {user}");
        }
    }

    #[test]
    fn a_group_has_a_line_of_its_own() {
        assert_eq!(outcome("@root", "@root:gp\n", "root", "gp"), Ok(()));
        assert_eq!(outcome("@root", "root:up\n@root:gp\n", "root", "up"), Ok(()));
        assert_eq!(outcome("root", "@root:gp\n", "root", "gp"), Err("secret not found".into()));
        assert_eq!(outcome("@nosuch", "@root:gp\n", "root", "gp"), Err("no matching rule".into()));
    }

    #[test]
    fn a_leading_comma_keeps_spaces_in_names() {
        assert_eq!(names(b"a b,c"), [b"a", b"b", b"c"]);
        assert_eq!(names(b",a b, c"), [&b"a b"[..], b"c"]);
        assert_eq!(outcome(", a b", "a b:x\n", "a b", "x"), Ok(()));
    }

    #[test]
    fn strict_modes_look_at_other_users_only() {
        let with_mode = |mode, strict| outcome_with_mode("a", "a:x\n", "a", "x", mode, strict);
        let text = "secrets file must not be other-accessible (see strict modes option)";
        assert_eq!(with_mode(0o604, true), Err(text.into()));
        assert_eq!(with_mode(0o641, true), Ok(()));
        assert_eq!(with_mode(0o666, false), Ok(()));
    }
}
