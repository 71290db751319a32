//! One row for each parameter: the parser, the checks and the manual read them (spec 09 §3).

use super::grammar::folded;
use super::parameters::{GlobalSettings, Kind, ModuleSettings, Row};

/// A row for each parameter of the whole daemon.
pub(super) static GLOBAL_ROWS: &[Row<GlobalSettings>] = &[
    Row {
        names: &["address", "bind address"],
        kind: Kind::Text(|s| &mut s.address),
        about: "The addresses or names to listen on, separated by commas or spaces; every address without it.",
    },
    Row {
        names: &["port", "rsync port"],
        kind: Kind::Integer(|s| &mut s.port),
        about: "The TCP port to listen on; 0 is 873.",
    },
    Row {
        names: &["listen backlog"],
        kind: Kind::Integer(|s| &mut s.listen_backlog),
        about: "How many connections may wait to be accepted; 0 is 5.",
    },
    Row {
        names: &["socket options"],
        kind: Kind::Text(|s| &mut s.socket_options),
        about: "Options of the listening sockets, such as `SO_SNDBUF=65536`, separated by commas or spaces.",
    },
    Row {
        names: &["pid file"],
        kind: Kind::Text(|s| &mut s.pid_file),
        about: "Where the process id is kept, locked as long as the daemon lives.",
    },
    Row {
        names: &["motd file"],
        kind: Kind::Text(|s| &mut s.motd_file),
        about: "A message of the day, sent to every client after the greeting.",
    },
    Row {
        names: &["daemon chroot"],
        kind: Kind::Path(|s| &mut s.daemon_chroot),
        about: "A directory that is the root of the file system for whatever is done for a client: paths of modules, secrets, lock files and logs of modules begin there, and commands run in it. This configuration, the daemon's own log, its pid file and its certificate stay outside.",
    },
    Row {
        names: &["daemon uid"],
        kind: Kind::Text(|s| &mut s.daemon_uid),
        about: "The user that touches files and runs commands for clients, a name or a number. Modules that want another `uid`, or a `gid`, cannot be served then. The process that listens stays who it is, to read this file and the certificate again.",
    },
    Row {
        names: &["daemon gid"],
        kind: Kind::Text(|s| &mut s.daemon_gid),
        about: "The group that does, a name or a number.",
    },
    Row {
        names: &["proxy protocol"],
        kind: Kind::Bool(|s| &mut s.proxy_protocol),
        about: "Every connection begins with a header of the PROXY protocol, version 1 or 2, that names the client.",
    },
    Row {
        names: &["proxy protocol hosts"],
        kind: Kind::Text(|s| &mut s.proxy_protocol_hosts),
        about: "The proxies that are trusted to send one, as in `hosts allow`; nobody is without it.",
    },
    Row {
        names: &["metrics address"],
        kind: Kind::Text(|s| &mut s.metrics_address),
        about: "Address and port, such as `127.0.0.1:9873`, where `/metrics` has numbers for Prometheus and \
                `/health` says whether clients are taken. It must be an address of this machine only. The C \
                rsync's daemon does not know it.",
    },
    Row {
        names: &["log style"],
        kind: Kind::Text(|s| &mut s.log_style),
        about: "`text` for lines as the C rsync's daemon writes them, which is the default, or `json` for \
                one JSON object a line. It concerns all logs but the system log. The C rsync's daemon does \
                not know it.",
    },
    Row {
        names: &["tls port"],
        kind: Kind::Integer(|s| &mut s.tls_port),
        about: "The TCP port to listen on for clients that speak TLS, as `rsyncs://` URLs and rsync-ssl do; \
                0 is 874 if there is a certificate. The C rsync's daemon does not know it.",
    },
    Row {
        names: &["tls certificate"],
        kind: Kind::Path(|s| &mut s.tls_certificate),
        about: "The daemon's certificate, with the chain to its authority, in PEM form. It is read again when \
                it changes. The C rsync's daemon does not know it.",
    },
    Row {
        names: &["tls key"],
        kind: Kind::Path(|s| &mut s.tls_key),
        about: "The certificate's key in PEM form. The C rsync's daemon does not know it.",
    },
];

/// A row for each parameter of a module.
pub(super) static MODULE_ROWS: &[Row<ModuleSettings>] = &[
    Row {
        names: &["path"],
        kind: Kind::Path(|s| &mut s.path),
        about: "The directory that is served. Required.",
    },
    Row {
        names: &["comment"],
        kind: Kind::Text(|s| &mut s.comment),
        about: "A text shown beside the module's name in the listing.",
    },
    Row {
        names: &["name"],
        kind: Kind::Text(|s| &mut s.name),
        about: "The name that clients use, instead of the section's.",
    },
    Row {
        names: &["use chroot"],
        kind: Kind::Bool3(|s| &mut s.use_chroot),
        about: "Whether the directory appears to be the root of the file system. This daemon confines every session to the directory in any case; the parameter decides what a `/./` within the path and links mean.",
    },
    Row {
        names: &["numeric ids"],
        kind: Kind::Bool3(|s| &mut s.numeric_ids),
        about: "Whether the names of users and groups are not sent; unset is yes within a chroot.",
    },
    Row {
        names: &["munge symlinks"],
        kind: Kind::Bool3(|s| &mut s.munge_symlinks),
        about: "Whether symbolic links are stored in a form that leads nowhere; unset is yes without a chroot.",
    },
    Row {
        names: &["insecure links"],
        kind: Kind::Unsupported,
        about: "Whether links of untrusted owners are followed, and links out of the module.",
    },
    Row {
        names: &["open noatime"],
        kind: Kind::Bool3(|s| &mut s.open_noatime),
        about: "Whether reading a file leaves its access time alone; unset leaves it to the client.",
    },
    Row {
        names: &["name converter"],
        kind: Kind::Command(|s| &mut s.name_converter),
        about: "A command that knows users and groups, instead of the system. It runs as long as a session; it is asked `uid NUMBER`, `gid NUMBER`, `usr NAME` or `grp NAME`, a line each, and answers with a line that has the name or the number, or nothing if there is none.",
    },
    Row {
        names: &["charset"],
        kind: Kind::Text(|s| &mut s.charset),
        about: "The character set of the module's file names, such as `UTF-8` or `ISO-8859-1`; `.` is the one of the daemon's locale. Clients may then use `--iconv`, which is refused without it.",
    },
    Row {
        names: &["max connections"],
        kind: Kind::Integer(|s| &mut s.max_connections),
        about: "How many sessions the module may have at a time, counted in the lock file; 0 is any number, a negative number is none.",
    },
    Row {
        names: &["max connections per address"],
        kind: Kind::Integer(|s| &mut s.max_connections_per_address),
        about: "How many sessions one address, or one IPv6 network of 64 bits, may have in the module at a \
                time, counted by this daemon alone; 0 is any number, a negative number is none. The C rsync's \
                daemon does not know it.",
    },
    Row {
        names: &["lock file"],
        kind: Kind::DefaultedText(|s| &mut s.lock_file),
        about: "The file whose locks count sessions. Modules and daemons with the same file share its slots, the C daemon included.",
    },
    Row {
        names: &["log file"],
        kind: Kind::Text(|s| &mut s.log_file),
        about: "The file to log to; without it the system log.",
    },
    Row {
        names: &["syslog facility"],
        kind: Kind::DefaultedText(|s| &mut s.syslog_facility),
        about: "The facility of the system log.",
    },
    Row {
        names: &["syslog tag"],
        kind: Kind::DefaultedText(|s| &mut s.syslog_tag),
        about: "The tag of lines in the system log.",
    },
    Row {
        names: &["max verbosity"],
        kind: Kind::Integer(|s| &mut s.max_verbosity),
        about: "The level of `-v` that a client's output is limited to.",
    },
    Row {
        names: &["read only"],
        kind: Kind::Bool(|s| &mut s.read_only),
        about: "Whether clients may not write.",
    },
    Row {
        names: &["write only"],
        kind: Kind::Bool(|s| &mut s.write_only),
        about: "Whether clients may not read.",
    },
    Row { names: &["list"], kind: Kind::Bool(|s| &mut s.list), about: "Whether the module is listed." },
    Row {
        names: &["uid"],
        kind: Kind::Text(|s| &mut s.uid),
        about: "The user that sessions act as, a name or a number; unset is `nobody` for a daemon of root.",
    },
    Row {
        names: &["gid"],
        kind: Kind::Text(|s| &mut s.gid),
        about: "The groups that sessions act as, the first is the primary one; `*` is all groups of the user. Unset is `nogroup` for a daemon of root.",
    },
    Row {
        names: &["fake super"],
        kind: Kind::Bool(|s| &mut s.fake_super),
        about: "Whether owners and modes are kept in extended attributes.",
    },
    Row {
        names: &["filter"],
        kind: Kind::Text(|s| &mut s.filter),
        about: "Filter rules that hide files from clients.",
    },
    Row {
        names: &["include from"],
        kind: Kind::Text(|s| &mut s.include_from),
        about: "A file with include patterns.",
    },
    Row {
        names: &["include"],
        kind: Kind::Text(|s| &mut s.include),
        about: "Include patterns, separated by spaces.",
    },
    Row {
        names: &["exclude from"],
        kind: Kind::Text(|s| &mut s.exclude_from),
        about: "A file with exclude patterns.",
    },
    Row {
        names: &["exclude"],
        kind: Kind::Text(|s| &mut s.exclude),
        about: "Exclude patterns, separated by spaces.",
    },
    Row {
        names: &["incoming chmod"],
        kind: Kind::Text(|s| &mut s.incoming_chmod),
        about: "Changes of the permissions of files that clients send.",
    },
    Row {
        names: &["outgoing chmod"],
        kind: Kind::Text(|s| &mut s.outgoing_chmod),
        about: "Changes of the permissions that clients are shown.",
    },
    Row {
        names: &["auth users"],
        kind: Kind::Text(|s| &mut s.auth_users),
        about: "Who may log in: names, patterns and `@group`s, each with `:deny`, `:ro` or `:rw` behind it if wanted. Everybody is let in without it.",
    },
    Row {
        names: &["secrets file"],
        kind: Kind::Text(|s| &mut s.secrets_file),
        about: "The passwords, one `user:password` or `@group:password` a line.",
    },
    Row {
        names: &["auth digest"],
        kind: Kind::Text(|s| &mut s.auth_digest),
        about: "The weakest digest that a login may use: `md4`, `md5`, `sha1`, `sha256` or `sha512`.",
    },
    Row {
        names: &["strict modes"],
        kind: Kind::Bool(|s| &mut s.strict_modes),
        about: "Whether the secrets must be hidden from other users.",
    },
    Row {
        names: &["hosts allow"],
        kind: Kind::Text(|s| &mut s.hosts_allow),
        about: "The hosts that are let in: names, patterns, addresses, networks.",
    },
    Row { names: &["hosts deny"], kind: Kind::Text(|s| &mut s.hosts_deny), about: "The hosts that are not." },
    Row {
        names: &["reverse lookup"],
        kind: Kind::Bool(|s| &mut s.reverse_lookup),
        about: "Whether the names of clients are looked up.",
    },
    Row {
        names: &["forward lookup"],
        kind: Kind::Bool(|s| &mut s.forward_lookup),
        about: "Whether names in lists of hosts are looked up.",
    },
    Row {
        names: &["ignore errors"],
        kind: Kind::Bool(|s| &mut s.ignore_errors),
        about: "Whether files are deleted although the client could not read all of its own.",
    },
    Row {
        names: &["ignore nonreadable"],
        kind: Kind::Bool(|s| &mut s.ignore_nonreadable),
        about: "Whether files that cannot be read are left out.",
    },
    Row {
        names: &["transfer logging"],
        kind: Kind::Bool(|s| &mut s.transfer_logging),
        about: "Whether every file is logged.",
    },
    Row {
        names: &["log format"],
        kind: Kind::DefaultedText(|s| &mut s.log_format),
        about: "The line of each file in the log.",
    },
    Row {
        names: &["timeout"],
        kind: Kind::Integer(|s| &mut s.timeout),
        about: "Seconds without input or output after which a session ends; 0 is never.",
    },
    Row {
        names: &["refuse options"],
        kind: Kind::Text(|s| &mut s.refuse_options),
        about: "Options that clients may not use: names and patterns, separated by spaces; `!` allows again.",
    },
    Row {
        names: &["dont compress"],
        kind: Kind::DefaultedText(|s| &mut s.dont_compress),
        about: "Patterns of files that are not worth compressing. `*` compresses everything that is sent as little as possible; other patterns change nothing, as with the C daemon.",
    },
    Row {
        names: &["early exec"],
        kind: Kind::Command(|s| &mut s.early_exec),
        about: "A command that is run after a client has logged in.",
    },
    Row {
        names: &["pre-xfer exec"],
        kind: Kind::Command(|s| &mut s.pre_xfer_exec),
        about: "A command that is run before a transfer.",
    },
    Row {
        names: &["post-xfer exec"],
        kind: Kind::Command(|s| &mut s.post_xfer_exec),
        about: "A command that is run after a transfer.",
    },
    Row {
        names: &["temp dir"],
        kind: Kind::Path(|s| &mut s.temp_dir),
        about: "Where files are written before they take their places.",
    },
];

/// The row of a name, in any case and with any white space.
pub(super) fn find<T>(rows: &'static [Row<T>], name: &[u8]) -> Option<&'static Row<T>> {
    let name = folded(name);
    rows.iter().find(|row| row.names.iter().any(|known| folded(known.as_bytes()) == name))
}
