//! Source arguments: the directory names are relative to, and the name in the transfer (spec 06 §9.1).

use bstr::BString;

/// One source argument or requested name, split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceArg {
    /// The directory that `name` is relative to; empty for the start directory.
    pub base: Vec<u8>,
    /// The path in the transfer: `.` for the contents of `base`. With `--relative` it may start with
    /// `/`, and `/.` is the root.
    pub name: Vec<u8>,
    /// How much of a directory was asked for.
    pub form: ArgForm,
    /// The name was written with a leading `./`, which also sends the entry `.`.
    pub sends_dot: bool,
}

/// What the end of an argument says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgForm {
    /// `dir/`, `dir/.`, `..`: the directory is the top of the transfer.
    DotDir,
    /// With `--relative`: a directory with its contents.
    SlashEnding,
    /// A file, or a directory under its own name.
    Plain,
}

impl ArgForm {
    /// Whether contents were asked for explicitly.
    #[must_use]
    pub fn wants_contents(self) -> bool {
        self != Self::Plain
    }
}

/// An argument that names nothing transferable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found \"..\" dir in relative path: {name}")]
pub struct DotDotInName {
    /// The part that would be sent.
    pub name: BString,
}

impl SourceArg {
    /// Splits `arg`; `relative` is `--relative`.
    ///
    /// # Errors
    /// [`DotDotInName`] when the part that `--relative` would send climbs (exit 1).
    pub fn split(arg: &[u8], relative: bool) -> Result<Self, DotDotInName> {
        if relative { Self::split_relative(arg) } else { Ok(Self::split_plain(arg)) }
    }

    fn split_plain(arg: &[u8]) -> Self {
        let (dir, last) = split_at_last_slash(arg);
        let (base, name, form) = match last {
            b"" | b"." => (dir.to_vec(), &b"."[..], ArgForm::DotDir),
            b".." => (arg.to_vec(), &b"."[..], ArgForm::DotDir),
            _ => (dir.to_vec(), last, ArgForm::Plain),
        };
        Self { base, name: name.to_vec(), form, sends_dot: false }
    }

    fn split_relative(arg: &[u8]) -> Result<Self, DotDotInName> {
        let (base, rest) = match arg.windows(3).position(|three| three == b"/./") {
            Some(0) => (&b"/"[..], strip_slashes(&arg[3..])),
            Some(at) => (&arg[..at], strip_slashes(&arg[at + 3..])),
            None => (&b""[..], arg),
        };
        let parts: Vec<&[u8]> = rest.split(|&byte| byte == b'/').collect();
        if parts.contains(&&b".."[..]) {
            return Err(DotDotInName { name: rest.into() });
        }
        let ends_in_directory = matches!(parts.last(), Some(&(b"" | b".")));
        let kept: Vec<&[u8]> = parts.into_iter().filter(|part| !matches!(*part, b"" | b".")).collect();
        let absolute = rest.first() == Some(&b'/');
        let mut name = if absolute { vec![b'/'] } else { Vec::new() };
        name.extend_from_slice(&kept.join(&b'/'));
        let form = match (kept.is_empty(), ends_in_directory) {
            (true, _) => {
                name.push(b'.');
                ArgForm::DotDir
            }
            (false, true) => ArgForm::SlashEnding,
            (false, false) => ArgForm::Plain,
        };
        let sends_dot = rest.starts_with(b"./") && form != ArgForm::DotDir;
        Ok(Self { base: base.to_vec(), name, form, sends_dot })
    }

    /// The directories above [`name`](Self::name) in the transfer, topmost first.
    pub fn parents(&self) -> impl Iterator<Item = &[u8]> {
        parents(&self.name)
    }
}

/// The proper parents of `path`, topmost first; of an absolute path they start with `/`.
pub(super) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(move |(end, _)| &path[..end])
}

/// The directory part, `/` itself included, and what follows it.
fn split_at_last_slash(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        None => (b"", path),
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
    }
}

fn strip_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    &path[slashes..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(arg: &str, relative: bool) -> (String, String, ArgForm) {
        let SourceArg { base, name, form, .. } = SourceArg::split(arg.as_bytes(), relative).unwrap();
        (String::from_utf8(base).unwrap(), String::from_utf8(name).unwrap(), form)
    }

    #[test]
    fn without_relative_the_part_after_the_last_slash_names_the_transfer() {
        use ArgForm::{DotDir, Plain};
        for (arg, base, name, form) in [
            ("a", "", "a", Plain),
            ("/h/me", "/h", "me", Plain),
            ("/h/me/", "/h/me", ".", DotDir),
            ("/h/me/.", "/h/me", ".", DotDir),
            ("a/..", "a/..", ".", DotDir),
            ("", "", ".", DotDir),
            (".", "", ".", DotDir),
            ("..", "..", ".", DotDir),
            ("/", "/", ".", DotDir),
            ("/x", "/", "x", Plain),
        ] {
            assert_eq!(split(arg, false), (base.into(), name.into(), form), "{arg}");
        }
    }

    #[test]
    fn with_relative_the_whole_path_or_what_follows_dot_names_it() {
        use ArgForm::{DotDir, Plain, SlashEnding};
        for (arg, base, name, form) in [
            ("/h/me", "", "/h/me", Plain),
            ("/h/./me", "/h", "me", Plain),
            ("/./h", "/", "h", Plain),
            ("s/./sub/./x", "s", "sub/x", Plain),
            ("a//b/", "", "a/b", SlashEnding),
            ("a/b/.", "", "a/b", SlashEnding),
            ("a/./", "a", ".", DotDir),
            ("/", "", "/.", DotDir),
            (".", "", ".", DotDir),
            ("./x", "", "x", Plain),
        ] {
            assert_eq!(split(arg, true), (base.into(), name.into(), form), "{arg}");
        }
        assert!(SourceArg::split(b"./x", true).unwrap().sends_dot);
        assert!(SourceArg::split(b"a/./../b", true).is_err());
        let absolute = SourceArg::split(b"/a/b/c", true).unwrap();
        assert_eq!(absolute.parents().collect::<Vec<_>>(), [&b"/a"[..], b"/a/b"]);
    }
}
