//! The manual page rsyncd.conf(5), from the rows that the parser reads.

use bstr::BString;

use super::parameters::{GlobalSettings, Kind, ModuleSettings, Row};
use super::rows::{GLOBAL_ROWS, MODULE_ROWS};

const HEAD: &str = r#".TH RSYNCD.CONF 5
.SH NAME
rsyncd.conf \- configuration of the rsync daemon
.SH DESCRIPTION
The file says which directories
.BR rsyncd (8)
serves as modules, to whom and how. It is the file of the C rsync's daemon, read the same way; every
connection reads it anew. When it becomes unusable, the last usable one stays in force, and the log says so.
.PP
The file consists of sections and parameters. A line
.B [name]
begins the section of a module; its parameters follow as
.B name = value
on lines of their own. Parameters before the first module, and those of a section
.BR [global] ,
concern the whole daemon, or are what modules have that say nothing else. Names of parameters ignore case
and white space. A line that begins with # or ; is a comment; a line that ends with a backslash is continued
by the next one. Values are not quoted.
.PP
.B &include
.I path
reads another file, or every
.I *.conf
of a directory, whose defaults stay its own;
.B &merge
.I path
reads a file, or every
.I *.inc
of a directory, as if it stood here.
.PP
.BI % NAME %
in a value stands for a variable of the environment, if it is set; for a client that is known,
.BR RSYNC_MODULE_NAME ,
.BR RSYNC_HOST_NAME ,
.BR RSYNC_HOST_ADDR ,
.B RSYNC_USER_NAME
and
.B RSYNC_MODULE_PATH
can be used too.
.PP
.B rsyncd \-\-check\-config
tells everything that is wrong with a file, and the values in effect.
"#;

const TAIL: &str = r#".SH EXAMPLE
.nf
log file = /var/log/rsyncd.log
max connections = 200
timeout = 600

[pub]
    path = /srv/pub
    comment = Public files
    uid = nobody
    gid = nogroup
.fi
.SH SEE ALSO
.BR rsyncd (8),
.BR rsync (1)
"#;

/// The manual page rsyncd.conf(5), in the `man` macros of troff.
#[must_use]
pub fn rsyncd_conf_manual() -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "PARAMETERS OF THE DAEMON", GLOBAL_ROWS, &GlobalSettings::default());
    section(&mut page, "PARAMETERS OF MODULES", MODULE_ROWS, &ModuleSettings::default());
    page + TAIL
}

fn section<T: Clone>(page: &mut String, title: &str, rows: &[Row<T>], defaults: &T) {
    page.push_str(&format!(".SH {title}\n"));
    for row in rows {
        let name = row.names[0];
        page.push_str(&format!(".TP\n.BR \"{}\" \" ({})\"\n", escaped(name), row.kind.name()));
        page.push_str(&format!("{}\n", marked(row.about)));
        let default = row.value(defaults).filter(|value: &BString| !value.is_empty());
        if let Some(default) = default {
            page.push_str(&format!("The default is\n.BR \"{}\" .\n", escaped(&default.to_string())));
        }
        if matches!(row.kind, Kind::Unsupported) {
            page.push_str("This daemon does not offer it, and refuses to use it.\n");
        }
        if let [_, synonyms @ ..] = row.names
            && !synonyms.is_empty()
        {
            page.push_str(&format!("Synonym:\n.BR \"{}\" .\n", escaped(&synonyms.join(", "))));
        }
    }
}

impl<T> Kind<T> {
    fn name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::DefaultedText(_) => "text",
            Self::Path(_) => "path",
            Self::Command(_) => "command",
            Self::Bool(_) => "yes or no",
            Self::Bool3(_) => "yes, no or unset",
            Self::Integer(_) => "number",
            Self::Unsupported => "not used",
        }
    }
}

/// Text without what troff would take for its own.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq")
}

/// The same, with what stands in back quotes in bold.
fn marked(text: &str) -> String {
    let mut out = String::new();
    for (index, piece) in escaped(text).split('`').enumerate() {
        if index > 0 {
            out.push_str(if index % 2 == 1 { "\\fB" } else { "\\fR" });
        }
        out.push_str(piece);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_described_with_its_default() {
        let page = rsyncd_conf_manual();
        for name in ["hosts allow", "proxy protocol hosts", "max connections"] {
            assert!(page.contains(&format!(".BR \"{name}\" ")), "{name}");
        }
        assert!(page.contains(".BR \"%o %h [%a] %m (%u) %f %l\" .\n"));
        assert_eq!(page.matches("\n.TP\n").count(), GLOBAL_ROWS.len() + MODULE_ROWS.len());
    }

    #[test]
    fn nothing_is_taken_for_a_request_of_troff() {
        assert_eq!(marked("a-b `c d` \\"), "a\\-b \\fBc d\\fR \\e");
    }
}
