//! The last line of a failing process (spec 07 §17).

use super::event::Role;
use crate::exit::ExitCode;

/// The version that messages name: that of the C rsync whose texts they are.
pub const VERSION: &str = "3.5.0";

/// `rsync error: TEXT (code N) at FILE(LINE) [ROLE=VERSION]`, or `rsync warning: ...` for vanished
/// files; `None` for success. File and line are where the program noticed it.
#[must_use]
pub fn exit_line(code: ExitCode, role: Role, at: (&str, u32), version: &str) -> Option<String> {
    if code.is_ok() {
        return None;
    }
    let word = if code.is_warning() { "warning" } else { "error" };
    let (file, line) = at;
    let (text, role) = (code.text(), role.name());
    Some(format!("rsync {word}: {text} (code {code}) at {file}({line}) [{role}={version}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_a_warning_differ_in_one_word() {
        assert_eq!(
            exit_line(ExitCode::PARTIAL, Role::Generator, ("main.rs", 7), "3.5.0").unwrap(),
            "rsync error: some files/attrs were not transferred (see previous errors) (code 23) \
             at main.rs(7) [generator=3.5.0]"
        );
        assert_eq!(
            exit_line(ExitCode::VANISHED, Role::Sender, ("main.rs", 7), "3.5.0").unwrap(),
            "rsync warning: some files vanished before they could be transferred (code 24) \
             at main.rs(7) [sender=3.5.0]"
        );
        assert_eq!(exit_line(ExitCode::OK, Role::Sender, ("", 0), ""), None);
    }
}
