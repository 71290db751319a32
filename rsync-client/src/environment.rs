//! What a client takes from its surroundings, so that nothing else reads variables.

use bstr::{BString, ByteSlice};
use rsync_proto::charset::locale_charset;

/// Values that a command line finds in environment variables; a library user fills what it needs.
#[derive(Clone, Default)]
pub struct ClientEnvironment {
    /// `[USER:PASS@]HOST:PORT` of an HTTP proxy for TCP connections.
    pub proxy: Option<BString>,
    /// Command to run instead of a TCP connection.
    pub connect_program: Option<BString>,
    /// The shell that runs it; `/bin/sh` if absent.
    pub shell: Option<BString>,
    /// Remote shell command where the options name none.
    pub rsh: Option<BString>,
    /// User name for daemons where the endpoint names none.
    pub user: Option<BString>,
    /// Password for daemons where no file is given.
    pub password: Option<BString>,
    /// Names of checksums in order of preference, as in `RSYNC_CHECKSUM_LIST`.
    pub checksum_list: Option<BString>,
    /// Names of compressions in order of preference, as in `RSYNC_COMPRESS_LIST`.
    pub compress_list: Option<BString>,
    /// Directory of the user's own `.cvsignore`.
    pub home: Option<BString>,
    /// More patterns for `-C`.
    pub cvs_ignore: Option<BString>,
    /// Name of the locale's charset, which `--iconv=.` stands for; UTF-8 if absent.
    pub charset: Option<BString>,
    /// How daemons behind `rsyncs://` are reached and verified.
    pub tls: TlsSettings,
}

/// Verification of daemons behind `rsyncs://`, and what this client shows them: the settings of
/// `rsync-ssl` (spec 08 §16). By default the system's roots must vouch for the host's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// A PEM file of authorities in place of the system's (`RSYNC_SSL_CA_CERT`); the empty path accepts
    /// any certificate.
    pub ca_cert: Option<BString>,
    /// A PEM file with the client's certificates, its own first (`RSYNC_SSL_CERT`).
    pub cert: Option<BString>,
    /// A PEM file with the client's key (`RSYNC_SSL_KEY`); absent, the file of certificates holds it.
    pub key: Option<BString>,
    /// A certificate is accepted under any name (`RSYNC_SSL_SKIP_HOSTNAME_CHECK=1`).
    pub skip_host_name: bool,
    /// Port where neither the endpoint nor an option has one (`RSYNC_SSL_PORT`), 874 without.
    pub port: Option<u16>,
}

impl ClientEnvironment {
    /// Takes what matters from environment variables: `get` answers the value of a name.
    #[must_use]
    pub fn from_variables(get: impl Fn(&str) -> Option<BString>) -> Self {
        let filled = |name| get(name).filter(|value| !value.is_empty());
        Self {
            proxy: filled("RSYNC_PROXY"),
            connect_program: filled("RSYNC_CONNECT_PROG"),
            shell: filled("RSYNC_SHELL"),
            rsh: filled("RSYNC_RSH"),
            user: get("USER").or_else(|| get("LOGNAME")),
            password: get("RSYNC_PASSWORD"),
            checksum_list: get("RSYNC_CHECKSUM_LIST"),
            compress_list: get("RSYNC_COMPRESS_LIST"),
            home: filled("HOME"),
            cvs_ignore: get("CVSIGNORE"),
            charset: Some(locale_charset(&get)),
            tls: TlsSettings {
                ca_cert: get("RSYNC_SSL_CA_CERT"),
                cert: filled("RSYNC_SSL_CERT"),
                key: filled("RSYNC_SSL_KEY"),
                skip_host_name: get("RSYNC_SSL_SKIP_HOSTNAME_CHECK").is_some_and(|value| value == "1"),
                port: filled("RSYNC_SSL_PORT").and_then(|port| port.to_str().ok()?.parse().ok()),
            },
        }
    }

    /// Takes what matters from the environment of this process.
    #[must_use]
    pub fn from_env() -> Self {
        use std::os::unix::ffi::OsStringExt;
        Self::from_variables(|name| std::env::var_os(name).map(|value| value.into_vec().into()))
    }
}

impl std::fmt::Debug for ClientEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientEnvironment")
            .field("connect_program", &self.connect_program)
            .field("rsh", &self.rsh)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_name_stands_in_only_for_a_missing_user() {
        let user = |variables: &[(&str, &str)]| {
            let get = |name: &str| {
                variables.iter().find(|variable| variable.0 == name).map(|variable| BString::from(variable.1))
            };
            ClientEnvironment::from_variables(get).user
        };
        assert_eq!(user(&[("LOGNAME", "al")]), Some("al".into()));
        assert_eq!(user(&[("LOGNAME", "al"), ("USER", "")]), Some("".into()));
    }

    #[test]
    fn an_empty_authority_is_a_setting_and_an_empty_certificate_is_none() {
        let get = |name: &str| name.starts_with("RSYNC_SSL_").then(BString::default);
        let expected = TlsSettings { ca_cert: Some("".into()), ..TlsSettings::default() };
        assert_eq!(ClientEnvironment::from_variables(get).tls, expected);
    }

    #[test]
    fn secrets_are_not_shown() {
        let environment = ClientEnvironment {
            password: Some("s3cret".into()),
            proxy: Some("al:s3cret@p:1".into()),
            ..ClientEnvironment::default()
        };
        assert!(!format!("{environment:?}").contains("s3cret"));
    }
}
