//! The parameters of `rsyncd.conf`: their fields, defaults and types (spec 09 §3).

use bstr::{BString, ByteSlice};

use super::expand::{ExpansionOverflow, expand};

/// Parameters of the whole daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalSettings {
    /// Address to listen on; `None` is every address.
    pub address: Option<BString>,
    /// Port to listen on; 0 is 873.
    pub port: i32,
    /// Connections that may wait to be accepted; 0 is 5.
    pub listen_backlog: i32,
    /// Options of listening sockets.
    pub socket_options: Option<BString>,
    /// Where the process id is kept.
    pub pid_file: Option<BString>,
    /// Message of the day.
    pub motd_file: Option<BString>,
    /// Where the files of connections are.
    pub daemon_chroot: Option<BString>,
    /// User that serves connections.
    pub daemon_uid: Option<BString>,
    /// Group that serves connections.
    pub daemon_gid: Option<BString>,
    /// A PROXY header comes before the greeting.
    pub proxy_protocol: bool,
    /// Who may send one.
    pub proxy_protocol_hosts: Option<BString>,
    /// Port to listen on for clients that speak TLS; 0 is 874 if there is a certificate, else none.
    pub tls_port: i32,
    /// File of the certificate and the chain to its authority, in PEM form.
    pub tls_certificate: Option<BString>,
    /// File of the certificate's key, in PEM form.
    pub tls_key: Option<BString>,
    /// Address and port, of this machine only, for metrics and health over HTTP.
    pub metrics_address: Option<BString>,
    /// Form of the log's lines: `text` or `json`; `None` is text.
    pub log_style: Option<BString>,
}

/// Parameters of a module. Those of type [`Option`] that stay `None` fall back to the final global
/// value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent parameters")]
pub struct ModuleSettings {
    /// The directory that is served.
    pub path: Option<BString>,
    /// Text in the listing.
    pub comment: Option<BString>,
    /// Replaces the section's name.
    pub name: Option<BString>,
    /// Be as if the module's root were `/`.
    pub use_chroot: Option<bool>,
    /// Do not map names of owners.
    pub numeric_ids: Option<bool>,
    /// Symlinks are stored unusable.
    pub munge_symlinks: Option<bool>,
    /// Never change access times of files that are read.
    pub open_noatime: Option<bool>,
    /// Charset of the names of files: clients may have them converted (`--iconv`).
    pub charset: Option<BString>,
    /// Sessions at a time; 0 is unlimited, below 0 is none.
    pub max_connections: i32,
    /// Sessions at a time of one address, or of one IPv6 network of 64 bits; 0 is unlimited, below 0 is none.
    pub max_connections_per_address: i32,
    /// Where sessions are counted.
    pub lock_file: BString,
    /// Log of sessions; `None` is the system log.
    pub log_file: Option<BString>,
    /// Facility in the system log.
    pub syslog_facility: BString,
    /// Tag in the system log.
    pub syslog_tag: BString,
    /// Level of `-v` a client's output is limited to.
    pub max_verbosity: i32,
    /// Clients may not write.
    pub read_only: bool,
    /// Clients may not read.
    pub write_only: bool,
    /// The module is listed.
    pub list: bool,
    /// User that sessions read as.
    pub uid: Option<BString>,
    /// Groups that sessions read as.
    pub gid: Option<BString>,
    /// Owners, special modes and devices are kept in extended attributes.
    pub fake_super: bool,
    /// Filter rules.
    pub filter: Option<BString>,
    /// Files of include patterns.
    pub include_from: Option<BString>,
    /// Include patterns.
    pub include: Option<BString>,
    /// File of exclude patterns.
    pub exclude_from: Option<BString>,
    /// Exclude patterns.
    pub exclude: Option<BString>,
    /// Changes of permissions that are received.
    pub incoming_chmod: Option<BString>,
    /// Changes of permissions that are sent.
    pub outgoing_chmod: Option<BString>,
    /// Who may log in; `None` lets everybody in.
    pub auth_users: Option<BString>,
    /// Passwords.
    pub secrets_file: Option<BString>,
    /// Weakest digest for authentication.
    pub auth_digest: Option<BString>,
    /// The secrets must be hidden from other users.
    pub strict_modes: bool,
    /// Hosts that are let in.
    pub hosts_allow: Option<BString>,
    /// Hosts that are not.
    pub hosts_deny: Option<BString>,
    /// Clients' names are looked up.
    pub reverse_lookup: bool,
    /// Names in host lists are looked up.
    pub forward_lookup: bool,
    /// Delete in spite of read errors of the client.
    pub ignore_errors: bool,
    /// Leave out what cannot be read.
    pub ignore_nonreadable: bool,
    /// Log every file.
    pub transfer_logging: bool,
    /// Its line.
    pub log_format: BString,
    /// Seconds without I/O before a session ends; 0 is none.
    pub timeout: i32,
    /// Options that clients may not use.
    pub refuse_options: Option<BString>,
    /// Patterns of files that are not worth compressing: `*` keeps the effort low, others change nothing.
    pub dont_compress: BString,
    /// Where received files are before they take their places.
    pub temp_dir: Option<BString>,
    /// Command that knows users and groups.
    pub name_converter: Option<BString>,
    /// Command that is run when a client has logged in.
    pub early_exec: Option<BString>,
    /// Command that is run before a transfer.
    pub pre_xfer_exec: Option<BString>,
    /// Command that is run when a session is over.
    pub post_xfer_exec: Option<BString>,
}

impl Default for ModuleSettings {
    fn default() -> Self {
        Self {
            path: None,
            comment: None,
            name: None,
            use_chroot: None,
            numeric_ids: None,
            munge_symlinks: None,
            open_noatime: None,
            charset: None,
            max_connections: 0,
            max_connections_per_address: 0,
            lock_file: "/var/run/rsyncd.lock".into(),
            log_file: None,
            syslog_facility: "daemon".into(),
            syslog_tag: "rsyncd".into(),
            max_verbosity: 1,
            read_only: true,
            write_only: false,
            list: true,
            uid: None,
            gid: None,
            fake_super: false,
            filter: None,
            include_from: None,
            include: None,
            exclude_from: None,
            exclude: None,
            incoming_chmod: None,
            outgoing_chmod: None,
            auth_users: None,
            secrets_file: None,
            auth_digest: None,
            strict_modes: true,
            hosts_allow: None,
            hosts_deny: None,
            reverse_lookup: true,
            forward_lookup: true,
            ignore_errors: false,
            ignore_nonreadable: false,
            transfer_logging: false,
            log_format: "%o %h [%a] %m (%u) %f %l".into(),
            timeout: 0,
            refuse_options: None,
            dont_compress: BString::default(),
            temp_dir: None,
            name_converter: None,
            early_exec: None,
            pre_xfer_exec: None,
            post_xfer_exec: None,
        }
    }
}

/// How a value is read and where it goes.
pub(super) enum Kind<T: 'static> {
    /// Text; falls back to the final global value.
    Text(fn(&mut T) -> &mut Option<BString>),
    /// The same without slashes at its end.
    Path(fn(&mut T) -> &mut Option<BString>),
    /// The same for a text that goes to a shell, where values of `%NAME%` are put with care.
    Command(fn(&mut T) -> &mut Option<BString>),
    /// Text with a default, copied when a module begins.
    DefaultedText(fn(&mut T) -> &mut BString),
    Bool(fn(&mut T) -> &mut bool),
    /// A switch that may be unset.
    Bool3(fn(&mut T) -> &mut Option<bool>),
    Integer(fn(&mut T) -> &mut i32),
    /// Known, and not offered by this daemon: anything but an empty value or "no" is an error.
    Unsupported,
}

/// A parameter.
pub(super) struct Row<T: 'static> {
    /// As the manual spells it, then its synonyms.
    pub(super) names: &'static [&'static str],
    pub(super) kind: Kind<T>,
    /// What the manual says; code is in back quotes.
    pub(super) about: &'static str,
}

/// What assigning did not do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The old value stays; the text for the log.
    Bad(String),
    /// The parameter asks for what this daemon does not do.
    Unsupported(&'static str),
}

impl<T> Row<T> {
    /// The field of a text that falls back to the final global value.
    pub(super) fn optional_text(&self) -> Option<fn(&mut T) -> &mut Option<BString>> {
        match self.kind {
            Kind::Text(field) | Kind::Path(field) | Kind::Command(field) => Some(field),
            _ => None,
        }
    }

    /// Replaces `%NAME%` by what `lookup` knows.
    ///
    /// # Errors
    /// [`ExpansionOverflow`] when the value grows too long.
    pub(super) fn expand(
        &self,
        settings: &mut T,
        lookup: &dyn Fn(&str) -> Option<BString>,
    ) -> Result<(), ExpansionOverflow> {
        let text = match self.kind {
            Kind::Text(field) | Kind::Path(field) => field(settings).as_mut(),
            Kind::DefaultedText(field) => Some(field(settings)),
            _ => None,
        };
        if let Some(text) = text {
            *text = expand(text, lookup)?;
        }
        Ok(())
    }

    /// Reads `value` into `settings`.
    pub(super) fn assign(&self, settings: &mut T, value: &[u8]) -> Result<(), Problem> {
        let bad_bool = || {
            let value = value.as_bstr();
            Problem::Bad(format!("Badly formed boolean in configuration file: \"{value}\"."))
        };
        let text = || Some(BString::from(value)).filter(|value| !value.is_empty());
        match self.kind {
            Kind::Text(field) | Kind::Command(field) => *field(settings) = text(),
            Kind::Path(field) => {
                let end = value.iter().rposition(|&byte| byte != b'/').map_or(1, |last| last + 1);
                *field(settings) = text().map(|mut path| {
                    path.truncate(end);
                    path
                });
            }
            Kind::DefaultedText(field) => *field(settings) = value.into(),
            Kind::Bool(field) => *field(settings) = boolean(value).ok_or_else(bad_bool)?,
            Kind::Bool3(field) => match value.to_ascii_lowercase().as_slice() {
                b"unset" | b"-1" => *field(settings) = None,
                _ => *field(settings) = Some(boolean(value).ok_or_else(bad_bool)?),
            },
            Kind::Integer(field) => *field(settings) = integer(value),
            Kind::Unsupported if value.is_empty() || boolean(value) == Some(false) => {}
            Kind::Unsupported => return Err(Problem::Unsupported(self.names[0])),
        }
        Ok(())
    }
}

impl<T: Clone> Row<T> {
    /// What the parameter is in `settings`, as a value of the file; `None` where it has no effect.
    pub(super) fn value(&self, settings: &T) -> Option<BString> {
        // The fields are reached through references that could change them.
        let mut settings = settings.clone();
        let yes_or_no = |value| if value { "yes" } else { "no" }.into();
        Some(match self.kind {
            Kind::Text(field) | Kind::Path(field) | Kind::Command(field) => {
                field(&mut settings).clone().unwrap_or_default()
            }
            Kind::DefaultedText(field) => field(&mut settings).clone(),
            Kind::Bool(field) => yes_or_no(*field(&mut settings)),
            Kind::Bool3(field) => field(&mut settings).map_or_else(|| "unset".into(), yes_or_no),
            Kind::Integer(field) => field(&mut settings).to_string().into(),
            Kind::Unsupported => return None,
        })
    }
}

fn boolean(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"yes" | b"true" | b"1" => Some(true),
        b"no" | b"false" | b"0" => Some(false),
        _ => None,
    }
}

/// The leading digits, as C's `atoi`; 0 without any.
fn integer(value: &[u8]) -> i32 {
    let (negative, digits) = match value.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, value),
    };
    let number = digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_i32, |number, digit| number.saturating_mul(10).saturating_add(i32::from(digit - b'0')));
    if negative { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rows::{MODULE_ROWS, find};

    fn assigned(name: &str, value: &str) -> Result<ModuleSettings, Problem> {
        let mut settings = ModuleSettings::default();
        let row = find(MODULE_ROWS, name.as_bytes()).expect("known");
        row.assign(&mut settings, value.as_bytes()).map(|()| settings)
    }

    #[test]
    fn values_are_read_by_their_type() {
        assert_eq!(assigned("PATH", "/srv//").expect("path").path, Some("/srv".into()));
        assert_eq!(assigned("path", "/").expect("path").path, Some("/".into()));
        assert!(!assigned("ReadOnly", "No").expect("bool").read_only);
        assert_eq!(assigned("use chroot", "unset").expect("bool").use_chroot, None);
        assert_eq!(assigned("max connections", "5x").expect("integer").max_connections, 5);
        assert_eq!(assigned("max connections", "junk").expect("integer").max_connections, 0);
        assert_eq!(assigned("max connections", "-1").expect("integer").max_connections, -1);
        let bad = Problem::Bad("Badly formed boolean in configuration file: \"maybe\".".into());
        assert_eq!(assigned("list", "maybe"), Err(bad));
    }

    #[test]
    fn what_is_not_offered_is_an_error_only_when_it_is_asked_for() {
        assert_eq!(assigned("insecure links", "yes"), Err(Problem::Unsupported("insecure links")));
        assert!(assigned("insecure links", "no").is_ok());
        assert!(assigned("insecure links", "").is_ok());
    }
}
