//! `--out-format` and `--log-file-format`: lines made of `%` escapes (spec 07 §16, 09 §8).

use super::event::{EntryFacts, Item, Role, Stage};
use super::itemize::{DELETING, itemize};
use super::list::permission_letters;
use super::number::{Human, Numbers, Zone, date_time};
use crate::phase::ItemFlags;

/// The format of `--itemize-changes`.
pub const ITEMIZE_FORMAT: &[u8] = b"%i %n%L";
/// The format of names alone (`-v`).
pub const NAME_FORMAT: &[u8] = b"%n%L";

/// A parsed line format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFormat {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    Escape(Escape),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Escape {
    letter: u8,
    /// How it was typed, for letters that mean nothing here.
    typed: Vec<u8>,
    human: Human,
    left: bool,
    width: usize,
}

/// The daemon's side of a line: the escapes `%m %P %u %h %a`.
#[derive(Clone, Copy, Debug)]
pub struct ModuleFacts<'a> {
    /// Module name (`%m`).
    pub name: &'a [u8],
    /// Module path (`%P`).
    pub path: &'a [u8],
    /// Authenticated user (`%u`).
    pub user: &'a [u8],
    /// Client host name (`%h`).
    pub host: &'a [u8],
    /// Client address (`%a`).
    pub address: &'a [u8],
}

/// What a line shows besides the item.
#[derive(Clone, Copy)]
pub struct LineContext<'a> {
    /// The role that writes the line: a sender says `send`, the others `recv` (`%o`).
    pub role: Role,
    /// Modification times are transferred.
    pub keeps_times: bool,
    /// Length of the whole-file digest in bytes, 1 for no checksum (`%C`).
    pub digest_len: usize,
    /// The present moment, seconds since 1970 (`%t`).
    pub now: i64,
    /// The local zone.
    pub zone: &'a dyn Zone,
    /// The process id (`%p`).
    pub pid: u32,
    /// Set in a daemon.
    pub module: Option<ModuleFacts<'a>>,
}

/// What a line is about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Item(&'a Item<'a>),
    Deletion { name: &'a [u8], is_dir: bool },
}

impl LineFormat {
    /// Parses a format; every text is one, escapes that mean nothing stay as typed.
    #[must_use]
    pub fn parse(format: &[u8]) -> Self {
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut rest = format;
        while let Some((&byte, after)) = rest.split_first() {
            match Escape::parse(rest) {
                Some((escape, tail)) if byte == b'%' => {
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Escape(escape));
                    rest = tail;
                }
                _ => {
                    text.push(byte);
                    rest = after;
                }
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Self { parts }
    }

    /// The format a client uses for items: the one asked for, else that of `-i`, else names from
    /// `--info=name` on, else none (spec 07 §16).
    #[must_use]
    pub fn effective(asked: Option<&[u8]>, itemize: u8, name_level: u8) -> Option<Self> {
        match asked {
            Some(format) => Some(Self::parse(format)),
            None if itemize > 0 => Some(Self::parse(ITEMIZE_FORMAT)),
            None if name_level > 0 => Some(Self::parse(NAME_FORMAT)),
            None => None,
        }
    }

    /// Whether the escape `letter` is used.
    #[must_use]
    pub fn uses(&self, letter: u8) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Escape(escape) if escape.letter == letter))
    }

    /// When the line of a transfer is due: after the data if it shows what the data tells.
    #[must_use]
    pub fn transfer_stage(&self) -> Stage {
        if [b'b', b'c', b'C'].into_iter().any(|letter| self.uses(letter)) {
            Stage::Done
        } else {
            Stage::Begins
        }
    }

    /// Whether the client prints an item that transfers nothing (spec 07 §16); transfers always are.
    #[must_use]
    pub fn shows_item(&self, item: &Item<'_>, itemize: u8, name_level: u8) -> bool {
        let flags = item.flags;
        if flags.contains(ItemFlags::TRANSFER) {
            return true;
        }
        let significant = flags.is_significant();
        let linked = item.xname.is_some_and(|name| !name.is_empty());
        let is_dir = item.entry.kind() == super::EntryKind::Dir;
        if self.uses(b'i') && (significant || linked || itemize > 1 || name_level > 1) {
            return true;
        }
        (significant && (flags.contains(ItemFlags::LOCAL_CHANGE) || is_dir)) || linked
    }

    /// Appends the line of an item, without a line feed and unescaped.
    pub fn render_item(&self, item: &Item<'_>, context: &LineContext<'_>, out: &mut Vec<u8>) {
        self.render(Subject::Item(item), context, out);
    }

    /// Appends the line of a deletion: by this format if it has `%i` or `%o`, else `deleting NAME`.
    pub fn render_deletion(&self, name: &[u8], is_dir: bool, context: &LineContext<'_>, out: &mut Vec<u8>) {
        if self.uses(b'i') || self.uses(b'o') {
            self.render(Subject::Deletion { name, is_dir }, context, out);
        } else {
            super::Message::Deleting(name, is_dir).render(out);
        }
    }

    fn render(&self, subject: Subject<'_>, context: &LineContext<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Escape(escape) => escape.render(subject, context, out),
            }
        }
    }
}

impl Escape {
    /// Reads `%`, apostrophes, a dash, digits, apostrophes and a letter off the front of `text`.
    fn parse(text: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = text.strip_prefix(b"%")?;
        let mut level = take_apostrophes(&mut rest);
        let left = rest.starts_with(b"-");
        if left {
            rest = &rest[1..];
        }
        let mut width = 0_usize;
        while let Some((digit @ b'0'..=b'9', tail)) = rest.split_first() {
            width = width.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
            rest = tail;
        }
        level += take_apostrophes(&mut rest);
        let (&letter, tail) = rest.split_first()?;
        let typed = text[..text.len() - tail.len()].to_vec();
        let human = Human::from_level(u8::try_from(level).unwrap_or(u8::MAX));
        Some((Self { letter, typed, human, left, width: width.min(Self::MAX_WIDTH) }, tail))
    }

    /// A line is no place for more padding than this.
    const MAX_WIDTH: usize = 500;

    fn render(&self, subject: Subject<'_>, context: &LineContext<'_>, out: &mut Vec<u8>) {
        if self.letter == b'L' {
            let (arrow, target) = link_of(subject);
            if !arrow.is_empty() || self.width > 0 {
                out.extend_from_slice(if arrow.is_empty() { b"    " } else { arrow });
                self.pad(target, out);
            }
            return;
        }
        match self.value(subject, context) {
            Some(value) => self.pad(&value, out),
            None => out.extend_from_slice(&self.typed),
        }
    }

    fn value(&self, subject: Subject<'_>, context: &LineContext<'_>) -> Option<Vec<u8>> {
        let entry = match subject {
            Subject::Item(item) => Some(&item.entry),
            Subject::Deletion { .. } => None,
        };
        let numbers = Numbers::new(self.human);
        let value = match self.letter {
            b'%' => b"%".to_vec(),
            b'i' => match subject {
                Subject::Item(item) => itemize(item, context.keeps_times).to_vec(),
                Subject::Deletion { .. } => DELETING.to_vec(),
            },
            b'n' => match subject {
                Subject::Item(item) => {
                    with_slash(item.entry.name, item.entry.kind() == super::EntryKind::Dir)
                }
                Subject::Deletion { name, is_dir } => with_slash(name, is_dir),
            },
            b'f' => match subject {
                Subject::Item(item) => long_name(&item.entry),
                Subject::Deletion { name, .. } => name.to_vec(),
            },
            b'o' => match (subject, context.role) {
                (Subject::Deletion { .. }, _) => b"del.".to_vec(),
                (_, Role::Sender) => b"send".to_vec(),
                _ => b"recv".to_vec(),
            },
            b'l' => numbers.bytes(entry.map_or(0, |entry| entry.size)).into_bytes(),
            b'b' => numbers.bytes(moved(subject, |item| item.data_bytes)).into_bytes(),
            b'c' => numbers.bytes(moved(subject, |item| item.sum_bytes)).into_bytes(),
            b'M' => date_time(entry.map_or(0, |entry| entry.mtime), context.zone, '-').into_bytes(),
            b't' => date_time(context.now, context.zone, ' ').into_bytes(),
            b'B' => permission_letters(entry.map_or(0, |entry| entry.mode)).to_vec(),
            b'U' => entry.map_or(0, |entry| entry.uid).to_string().into_bytes(),
            b'G' => match entry.map_or(Some(0), |entry| entry.gid) {
                Some(gid) => gid.to_string().into_bytes(),
                None => b"DEFAULT".to_vec(),
            },
            b'C' => digest_text(subject, context.digest_len),
            b'p' => context.pid.to_string().into_bytes(),
            b'm' => context.module.map_or(&b""[..], |module| module.name).to_vec(),
            b'P' => context.module?.path.to_vec(),
            b'u' => context.module?.user.to_vec(),
            b'h' => context.module?.host.to_vec(),
            b'a' => context.module?.address.to_vec(),
            _ => return None,
        };
        Some(value)
    }

    fn pad(&self, value: &[u8], out: &mut Vec<u8>) {
        let blanks = self.width.saturating_sub(value.len());
        if !self.left {
            out.extend(std::iter::repeat_n(b' ', blanks));
        }
        out.extend_from_slice(value);
        if self.left {
            out.extend(std::iter::repeat_n(b' ', blanks));
        }
    }
}

fn take_apostrophes(rest: &mut &[u8]) -> usize {
    let count = rest.iter().take_while(|&&byte| byte == b'\'').count();
    *rest = &rest[count..];
    count
}

fn with_slash(name: &[u8], is_dir: bool) -> Vec<u8> {
    let mut text = name.to_vec();
    if is_dir {
        text.push(b'/');
    }
    text
}

/// The directory as it was written, without its `.` components and the leading slash, and the name.
fn long_name(entry: &EntryFacts<'_>) -> Vec<u8> {
    let parts = entry.source_dir.split(|&byte| byte == b'/').filter(|part| !matches!(part, [] | [b'.']));
    parts.chain([entry.name]).collect::<Vec<_>>().join(&b'/')
}

fn moved(subject: Subject<'_>, count: impl Fn(&Item<'_>) -> u64) -> u64 {
    match subject {
        Subject::Item(item) if item.flags.contains(ItemFlags::TRANSFER) => count(item),
        _ => 0,
    }
}

fn digest_text(subject: Subject<'_>, digest_len: usize) -> Vec<u8> {
    let digest = match subject {
        Subject::Item(item) if digest_len > 1 => item.digest,
        _ => None,
    };
    match digest {
        Some(digest) => digest.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
        None => vec![b' '; digest_len * 2],
    }
}

fn link_of<'a>(subject: Subject<'a>) -> (&'static [u8], &'a [u8]) {
    match subject {
        Subject::Item(Item { xname: Some(leader), flags, .. })
            if !leader.is_empty() && !flags.contains(ItemFlags::TRANSFER) =>
        {
            (b" => ", leader)
        }
        Subject::Item(Item { entry: EntryFacts { target: Some(target), .. }, .. }) => (b" -> ", target),
        _ => (b"", b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Utc;
    use crate::text::testing::item;
    use bstr::BString;

    const CONTEXT: LineContext<'static> = LineContext {
        role: Role::Sender,
        keeps_times: true,
        digest_len: 16,
        now: 1_000_000_000,
        zone: &Utc,
        pid: 42,
        module: None,
    };

    fn line(format: &str, item: &Item<'_>) -> BString {
        let mut out = Vec::new();
        LineFormat::parse(format.as_bytes()).render_item(item, &CONTEXT, &mut out);
        out.into()
    }

    fn file(size: u64) -> Item<'static> {
        let mut item = item(0xa000, 0o100_640);
        item.entry.name = b"a";
        item.entry.size = size;
        item
    }

    #[test]
    fn the_basic_escapes_show_the_entry() {
        assert_eq!(
            line("%i|%n|%L|%l|%M|%B|%o|%%", &file(5)),
            ">f+++++++++|a||5|2001/09/09-01:46:40|rw-r-----|send|%"
        );
        let mut link = item(0x6002, 0o120_777);
        link.entry.name = b"l";
        link.entry.target = Some(b"a");
        assert_eq!(line("%i|%n|%L", &link), "cL+++++++++|l| -> a");
        let mut dir = item(0x6000, 0o040_755);
        dir.entry.name = b"sub";
        assert_eq!(line("%i|%n|%f|", &dir), "cd+++++++++|sub/|sub|");
        assert_eq!(line("%t %p", &dir), "2001/09/09 01:46:40 42");
    }

    #[test]
    fn widths_and_human_forms_apply_to_a_value() {
        assert_eq!(
            line("[%10n][%-10n][%l][%12l][%-12l][%'l][%''l][%'''l]", &file(1_234_567)),
            "[         a][a         ][1234567][     1234567][1234567     ][1,234,567][1.23M][1.18M]"
        );
        assert_eq!(line("[%'5l][%5'l][%5%]", &file(3)), "[    3][    3][    %]");
    }

    #[test]
    fn a_link_column_of_given_width_is_blank_for_others() {
        let mut linked = item(0x7000, 0o100_644);
        linked.entry.name = b"a";
        linked.xname = Some(b"b");
        assert_eq!(line("[%n][%L][%-12L]", &file(0)), "[a][][                ]");
        assert_eq!(line("[%n][%L][%-12L]", &linked), "[a][ => b][ => b           ]");
    }

    #[test]
    fn the_long_name_has_the_source_directory_and_no_leading_slash() {
        let mut long = file(0);
        long.entry.source_dir = b"s/x";
        assert_eq!(line("%f", &long), "s/x/a");
        long.entry.source_dir = b"/abs/";
        assert_eq!(line("%f", &long), "abs/a");
        long.entry.source_dir = b"./s/.//x/.";
        assert_eq!(line("%f", &long), "s/x/a");
        long.entry.name = b".";
        assert_eq!(line("%f", &long), "s/x/.");
        long.entry.source_dir = b"";
        assert_eq!(line("%f", &long), ".");
    }

    #[test]
    fn ids_without_meaning_have_defaults() {
        assert_eq!(line("%U %G [%u][%h][%m][%a]%q", &file(0)), "0 DEFAULT [%u][%h][][%a]%q");
    }

    #[test]
    fn unknown_escapes_stay_as_typed() {
        assert_eq!(line("%z%n%", &file(0)), "%za%");
        assert_eq!(line("[%-5z][%-3", &file(0)), "[%-5z][%-3");
        assert_eq!(line("", &file(0)), "");
    }

    #[test]
    fn a_digest_is_hex_or_as_many_blanks() {
        let mut sent = file(5);
        sent.digest = Some(b"\x5d\x41\x40\x2a");
        assert_eq!(line("%C %n", &sent), "5d41402a a");
        assert_eq!(line("%C %n", &file(5)), "                                 a");
        let mut out = Vec::new();
        let context = LineContext { digest_len: 1, ..CONTEXT };
        LineFormat::parse(b"%C %n").render_item(&sent, &context, &mut out);
        assert_eq!(BString::from(out), "   a");
    }

    #[test]
    fn byte_counts_are_of_transfers_only() {
        let mut sent = file(100);
        sent.data_bytes = 143;
        sent.sum_bytes = 16;
        assert_eq!(line("%n %b %c", &sent), "a 143 16");
        let mut dir = item(0x6000, 0o040_755);
        dir.data_bytes = 9;
        assert_eq!(line("%b", &dir), "0");
    }

    #[test]
    fn a_daemon_shows_its_module() {
        let module = ModuleFacts { name: b"m", path: b"/p", user: b"u", host: b"h", address: b"::1" };
        let context = LineContext { module: Some(module), role: Role::Receiver, ..CONTEXT };
        let mut out = Vec::new();
        LineFormat::parse(b"%o %h [%a] %m (%u) %P %l").render_item(&file(7), &context, &mut out);
        assert_eq!(BString::from(out), "recv h [::1] m (u) /p 7");
    }

    #[test]
    fn a_deletion_uses_the_format_only_if_it_shows_an_operation() {
        let deletion = |format: &str, is_dir| {
            let mut out = Vec::new();
            LineFormat::parse(format.as_bytes()).render_deletion(b"z", is_dir, &CONTEXT, &mut out);
            BString::from(out)
        };
        assert_eq!(deletion("%o %n", false), "del. z");
        assert_eq!(deletion("%i %n%L", true), "*deleting   z/");
        assert_eq!(deletion("%n", true), "deleting z/");
        assert_eq!(deletion("%o %f %l %b", false), "del. z 0 0");
        assert_eq!(
            deletion("%o|%n|%l|%M|%B|%U|%G|%C|", true),
            "del.|z/|0|1970/01/01-00:00:00|---------|0|0|                                |"
        );
    }

    #[test]
    fn a_format_that_shows_results_is_due_after_the_data() {
        assert_eq!(LineFormat::parse(b"%i %n%L").transfer_stage(), Stage::Begins);
        assert_eq!(LineFormat::parse(b"%n %b").transfer_stage(), Stage::Done);
        assert_eq!(LineFormat::parse(b"%%b").transfer_stage(), Stage::Begins);
    }

    #[test]
    fn names_alone_leave_out_attribute_changes_of_files() {
        let names = LineFormat::effective(None, 0, 1).unwrap();
        let shown = |flags, mode| names.shows_item(&item(flags, mode), 0, 1);
        assert!(!shown(0x0010, 0o100_644));
        assert!(shown(0x0010, 0o040_755));
        assert!(shown(0x6002, 0o120_777));
        assert!(shown(0x8000, 0o100_644));
        assert!(!shown(0x0000, 0o040_755));
        let items = LineFormat::effective(None, 1, 0).unwrap();
        assert!(items.shows_item(&item(0x0010, 0o100_644), 1, 0));
        assert!(!items.shows_item(&item(0x0000, 0o100_644), 1, 0));
        assert!(items.shows_item(&item(0x0000, 0o100_644), 2, 0));
        assert_eq!(LineFormat::effective(None, 0, 0), None);
    }
}
