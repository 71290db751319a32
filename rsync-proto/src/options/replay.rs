//! The shell script beside a batch file, which applies it with the options it was written with
//! (spec 08 §12.2).
//!
//! Everything in it comes from a command line and from rule files: every word is quoted, and no rule
//! can end the here-document that holds the rules.

use bstr::{BString, ByteSlice};

use super::choice::Batch;
use super::operands::Operand;
use super::rows::ROWS;
use super::table::{find_long, find_short};
use crate::exit::ExitCode;
use crate::filter::Filters;
use crate::session::Negotiated;

/// Ends the here-document.
const END: &[u8] = b"#E#";
/// Options that name rules or lists, by the beginning of their long names.
const SELECTING: [&[u8]; 4] = [b"files-from", b"filter", b"include", b"exclude"];

/// Why the script cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayScriptError {
    /// A rule would be two lines.
    #[error("cannot write a filter rule containing a newline to the batch replay script")]
    NewlineInRule,
}

impl ReplayScriptError {
    /// The exit code the C rsync ends with.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        ExitCode::SYNTAX
    }
}

/// What a replay script is made of.
#[derive(Clone, Copy, Debug)]
pub struct ReplayScript<'a> {
    /// The words of the command, the program's name first.
    pub words: &'a [BString],
    /// Where the transfer went; the host is left out.
    pub destination: &'a [u8],
    /// The rules in force, of files and options alike.
    pub filters: &'a Filters,
    /// Rules end in NUL (`--from0`).
    pub from0: bool,
    /// What the session agreed on.
    pub negotiated: &'a Negotiated,
}

impl Batch {
    /// The name of the script that belongs to a batch file.
    #[must_use]
    pub fn script_name(file: &[u8]) -> BString {
        [file, b".sh"].concat().into()
    }
}

impl ReplayScript<'_> {
    /// The text of the script, one command.
    ///
    /// # Errors
    /// [`ReplayScriptError::NewlineInRule`].
    pub fn render(&self) -> Result<Vec<u8>, ReplayScriptError> {
        let rules = self.filters.lines();
        if rules.iter().any(|rule| rule.contains(&b'\n')) {
            return Err(ReplayScriptError::NewlineInRule);
        }
        let mut out = Vec::new();
        let (program, words) = self
            .words
            .split_first()
            .map_or((&b"rsync"[..], &[][..]), |(first, rest)| (first.as_bytes(), rest));
        quote(program, &mut out);
        if !rules.is_empty() {
            let reads =
                if self.negotiated.has_modern_filters() { "filter='._-'" } else { "exclude-from='-'" };
            out.extend_from_slice(b" --");
            out.extend_from_slice(reads.as_bytes());
        }
        put_words(words, &mut out);
        out.extend_from_slice(b" ${1:-");
        let path = match Operand::parse(self.destination) {
            Ok(Operand::Remote(_, path)) => path,
            Ok(Operand::Local(_)) | Err(_) => self.destination.into(),
        };
        quote(&path, &mut out);
        out.push(b'}');
        if !rules.is_empty() {
            out.extend_from_slice(b" <<'#E#'\n");
            for rule in rules {
                out.extend_from_slice(&rule);
                out.push(if self.from0 { 0 } else { b'\n' });
            }
            if self.from0 {
                out.extend_from_slice(b";\n");
            }
            out.extend_from_slice(END);
        }
        out.push(b'\n');
        Ok(out)
    }
}

/// Appends the options among `words`, without those that the rules replace.
fn put_words(words: &[BString], out: &mut Vec<u8>) {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            out.extend_from_slice(b" '--'");
            return;
        }
        if word.len() < 2 || word[0] != b'-' {
            continue;
        }
        match word.strip_prefix(b"--") {
            Some(body) => put_long(body, &mut rest, out),
            None => put_bundle(word, &mut rest, out),
        }
    }
}

fn put_long<'w>(body: &[u8], rest: &mut impl Iterator<Item = &'w BString>, out: &mut Vec<u8>) {
    let (name, value) = match body.split_once_str("=") {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let takes_value = find_long(name).is_some_and(|row| ROWS[row].takes_value());
    let next = if takes_value && value.is_none() { rest.next() } else { None };
    if SELECTING.iter().any(|beginning| name.starts_with(beginning)) {
        return;
    }
    let name = if matches!(name, b"write-batch" | b"only-write-batch") { b"read-batch" } else { name };
    match value {
        Some(value) => {
            out.extend_from_slice(b" --");
            out.extend_from_slice(name);
            out.push(b'=');
            quote(value, out);
        }
        None if name == b"read-batch" => out.extend_from_slice(b" --read-batch"),
        None => {
            out.push(b' ');
            quote(&[b"--", name].concat(), out);
        }
    }
    if let Some(next) = next {
        out.push(b' ');
        quote(next, out);
    }
}

fn put_bundle<'w>(word: &[u8], rest: &mut impl Iterator<Item = &'w BString>, out: &mut Vec<u8>) {
    let letters = &word[1..];
    let valued =
        letters.iter().position(|&letter| find_short(letter).is_some_and(|row| ROWS[row].takes_value()));
    let next = valued.filter(|&at| at + 1 == letters.len()).and_then(|_| rest.next());
    if letters == b"f" {
        return;
    }
    out.push(b' ');
    quote(word, out);
    if let Some(next) = next {
        out.push(b' ');
        quote(next, out);
    }
}

/// Appends `word` in single quotes.
fn quote(word: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    out.extend_from_slice(&word.replace("'", "'\\''"));
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::NoFiles;
    use crate::session::CompatFlags;

    fn script(words: &[&str], rules: &[&str], from0: bool, protocol: u8) -> String {
        let words: Vec<BString> = words.iter().map(|word| BString::from(*word)).collect();
        let mut filters = Filters::new();
        for rule in rules {
            filters.add_filter(rule.as_bytes(), &mut NoFiles).expect("valid");
        }
        let negotiated = Negotiated::new(protocol, CompatFlags::default());
        let destination = words.last().cloned().unwrap_or_default();
        let script = ReplayScript {
            words: &words,
            destination: &destination,
            filters: &filters,
            from0,
            negotiated: &negotiated,
        };
        script.render().expect("written").to_str_lossy().into_owned()
    }

    #[test]
    fn the_script_is_that_of_the_specification() {
        let words = ["rsync", "-a", "--delete", "-F", "--exclude=*.o", "--write-batch=it's", "s/", "dx/"];
        let rules = ["- *.o", "+ a b/", ": /.rsync-filter"];
        assert_eq!(
            script(&words, &rules, false, 32),
            "'rsync' --filter='._-' '-a' '--delete' '-F' --read-batch='it'\\''s' ${1:-'dx/'} <<'#E#'\n\
             - *.o\n+ a b/\n: /.rsync-filter\n#E#\n"
        );
    }

    #[test]
    fn values_that_look_like_operands_stay_and_rules_go_with_theirs() {
        let words = [
            "rsync",
            "-T",
            "s",
            "-f",
            "- x",
            "-fP y",
            "-af",
            "R z",
            "--include",
            "z",
            "--files-from=l",
            "-e",
            "ssh -p 1",
            "--only-write-batch",
            "b",
            "--temp-dir=/t",
            "s",
            "--",
            "-q",
            "h:d e",
        ];
        assert_eq!(
            script(&words, &[], false, 32),
            "'rsync' '-T' 's' '-fP y' '-af' 'R z' '-e' 'ssh -p 1' --read-batch 'b' --temp-dir='/t' '--' ${1:-'d e'}\n"
        );
    }

    #[test]
    fn rules_may_end_in_nul_and_go_to_old_programs() {
        let words = ["/bin/rsync", "-a0", "--write-batch=b", "s", "d"];
        assert_eq!(
            script(&words, &["- a", "P b"], true, 28),
            "'/bin/rsync' --exclude-from='-' '-a0' --read-batch='b' ${1:-'d'} <<'#E#'\n- a\0-r b\0;\n#E#\n"
        );
    }

    #[test]
    fn no_rule_ends_the_document_and_none_has_two_lines() {
        let text = script(&["rsync", "s", "d"], &["- #E#", "+ $(reboot)"], false, 32);
        assert_eq!(text.lines().filter(|line| *line == "#E#").count(), 1);
        let mut filters = Filters::new();
        filters.add_filter(b"- a\n#E#", &mut NoFiles).expect("valid");
        let negotiated = Negotiated::new(32, CompatFlags::default());
        let script = ReplayScript {
            words: &[],
            destination: b"d",
            filters: &filters,
            from0: true,
            negotiated: &negotiated,
        };
        assert_eq!(script.render(), Err(ReplayScriptError::NewlineInRule));
    }
}
