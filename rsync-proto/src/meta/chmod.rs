//! `--chmod`: parsing and applying (spec 04 §5.4).

use bstr::BString;

use crate::exit::ExitCode;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;

/// The items of one or more `--chmod` options, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chmod {
    items: Vec<Item>,
}

/// An argument of `--chmod` that cannot be parsed (exit 1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid argument passed to --chmod ({text})")]
pub struct ChmodError {
    /// The whole argument.
    pub text: BString,
}

impl ChmodError {
    /// The status rsync ends with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::SYNTAX
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    /// Only directories (`Some(true)`) or only everything else.
    dirs: Option<bool>,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Octal(u32),
    Change { who: u32, operator: u8, perms: Perms },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Perms {
    /// `rwx`, once.
    bits: u32,
    /// `X`.
    execute_if_any: bool,
    /// `s` and `t`.
    setid: bool,
    sticky: bool,
    /// The class whose bits are copied: how far its bits are shifted.
    copy: Option<u32>,
}

impl Chmod {
    /// Appends the items of `text`.
    ///
    /// # Errors
    /// [`ChmodError`]; nothing is appended then.
    pub fn append(&mut self, text: &[u8]) -> Result<(), ChmodError> {
        let items: Option<Vec<Item>> = text.split(|&byte| byte == b',').map(parse_item).collect();
        self.items.extend(items.ok_or_else(|| ChmodError { text: text.into() })?);
        Ok(())
    }

    /// Whether there is nothing to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The mode (type bits kept) after all items; symlinks and mode 0 stay as they are.
    ///
    /// `umask` bounds items that name no class.
    #[must_use]
    pub fn apply(&self, mode: u32, umask: u32) -> u32 {
        const TYPE: u32 = 0o170_000;
        let is_dir = mode & TYPE == 0o040_000;
        if mode == 0 || mode & TYPE == 0o120_000 {
            return mode;
        }
        let original = mode & 0o7777;
        let relevant = self.items.iter().filter(|item| item.dirs.is_none_or(|dirs| dirs == is_dir));
        let after = relevant.fold(original, |now, item| match item.action {
            Action::Octal(bits) => bits,
            Action::Change { who, operator, perms } => {
                let executable = is_dir || original & EXECUTE != 0;
                change(now, who, operator, perms, executable, umask)
            }
        });
        mode & TYPE | after
    }
}

/// `who` has the `rwx` bits of every class named, or is 0 if none was.
fn change(now: u32, who: u32, operator: u8, perms: Perms, executable: bool, umask: u32) -> u32 {
    let classes = if who == 0 { 0o777 } else { who };
    let bits = match perms.copy {
        Some(shift) => now >> shift & 7,
        None => perms.bits | u32::from(perms.execute_if_any && executable),
    };
    let mut bits = (bits * EXECUTE) & classes;
    if who == 0 {
        bits &= !umask;
    }
    let user = if classes & 0o700 != 0 { SETUID } else { 0 };
    let group = if classes & 0o070 != 0 { SETGID } else { 0 };
    let setid = match who {
        0 => SETUID,
        _ if user | group == 0 => SETUID,
        _ => user | group,
    };
    let special = if perms.setid { setid } else { 0 } | if perms.sticky { STICKY } else { 0 };
    let bits = bits | special;
    match operator {
        b'+' => now | bits,
        b'-' => now & !bits,
        _ => {
            let copied = user | group | if classes & 0o007 != 0 { STICKY } else { 0 };
            let cleared = if perms.copy.is_some() { copied } else { special_cleared(perms, setid) };
            now & !(classes | cleared) | bits
        }
    }
}

/// What `=` clears of the special bits when `s` or `t` is named.
fn special_cleared(perms: Perms, setid: u32) -> u32 {
    if perms.setid || perms.sticky { setid } else { 0 }
}

fn parse_item(text: &[u8]) -> Option<Item> {
    let mut dirs = None;
    let mut who = 0;
    let mut rest = text;
    loop {
        let (&letter, after) = rest.split_first()?;
        match letter {
            b'D' | b'F' => {
                let only_dirs = letter == b'D';
                if dirs.is_some_and(|dirs| dirs != only_dirs) {
                    return None;
                }
                dirs = Some(only_dirs);
            }
            b'u' => who |= 0o700,
            b'g' => who |= 0o070,
            b'o' => who |= 0o007,
            b'a' => who |= 0o777,
            b'0'..=b'7' if who == 0 => return Some(Item { dirs, action: Action::Octal(octal(rest)?) }),
            b'+' | b'-' | b'=' => {
                let perms = parse_perms(after)?;
                return Some(Item { dirs, action: Action::Change { who, operator: letter, perms } });
            }
            _ => return None,
        }
        rest = after;
    }
}

fn octal(digits: &[u8]) -> Option<u32> {
    let value = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
    (value <= 0o7777).then_some(value)
}

fn parse_perms(text: &[u8]) -> Option<Perms> {
    let mut perms = Perms::default();
    match text {
        b"u" => perms.copy = Some(6),
        b"g" => perms.copy = Some(3),
        b"o" => perms.copy = Some(0),
        _ => {
            for letter in text {
                match letter {
                    b'r' => perms.bits |= 4,
                    b'w' => perms.bits |= 2,
                    b'x' => perms.bits |= 1,
                    b'X' => perms.execute_if_any = true,
                    b's' => perms.setid = true,
                    b't' => perms.sticky = true,
                    _ => return None,
                }
            }
        }
    }
    Some(perms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, mode: u32, umask: u32) -> u32 {
        let mut chmod = Chmod::default();
        chmod.append(text.as_bytes()).expect(text);
        chmod.apply(0o100_000 | mode, umask) & 0o7777
    }

    #[test]
    fn items_act_as_captured_from_the_c_rsync() {
        let with_umask_022 = [
            ("a+s", 0o6640),
            ("+s", 0o4640),
            ("o+s", 0o4640),
            ("u=s", 0o4040),
            ("g=s", 0o2600),
            ("=r", 0o444),
            ("+w", 0o640),
            ("g=u", 0o660),
            ("u=g,g=u", 0o440),
            ("ugo=rwX", 0o666),
            ("u+rX", 0o640),
        ];
        for (text, mode) in with_umask_022 {
            assert_eq!(applied(text, 0o640, 0o022), mode, "{text}");
        }
        let with_umask_027 = [
            ("g=u", 0o4774),
            ("o=u", 0o6757),
            ("u=o", 0o2454),
            ("=u", 0o750),
            ("+u", 0o6754),
            ("g-u", 0o6704),
            ("g=", 0o6704),
            ("a=", 0o6000),
        ];
        for (text, mode) in with_umask_027 {
            assert_eq!(applied(text, 0o6754, 0o027), mode, "{text}");
        }
    }

    #[test]
    fn items_may_be_for_directories_or_for_the_rest() {
        let mut chmod = Chmod::default();
        chmod.append(b"D755,F644").expect("valid");
        chmod.append(b"Dg+s").expect("valid");
        assert_eq!(chmod.apply(0o040_700, 0), 0o042_755);
        assert_eq!(chmod.apply(0o100_600, 0), 0o100_644);
        assert_eq!(chmod.apply(0o120_777, 0), 0o120_777);
        assert_eq!(chmod.apply(0, 0), 0);
    }

    #[test]
    fn bad_arguments_are_refused() {
        for text in ["", "u", "u+r,", "u+r-w", "DF+r", "u755", "8", "10000", "u=gx", "u+q", "+"] {
            let mut chmod = Chmod::default();
            let result = chmod.append(text.as_bytes());
            if text == "+" {
                assert!(result.is_ok(), "an operator without permissions is legal");
                continue;
            }
            let error = result.expect_err(text);
            assert_eq!(error.to_string(), format!("Invalid argument passed to --chmod ({text})"));
        }
    }
}
