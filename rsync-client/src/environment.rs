//! What a client takes from its surroundings, so that nothing else reads variables.

use bstr::BString;

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
    fn secrets_are_not_shown() {
        let environment = ClientEnvironment {
            password: Some("s3cret".into()),
            proxy: Some("al:s3cret@p:1".into()),
            ..ClientEnvironment::default()
        };
        assert!(!format!("{environment:?}").contains("s3cret"));
    }
}
