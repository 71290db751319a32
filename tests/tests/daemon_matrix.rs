//! The same configuration, given to the C daemon and to `rsync --daemon`, with the same clients: equal
//! results, messages and log lines. One row for each value of a parameter; each is run by root and by
//! nobody, and by old protocols.

use rsync_e2e::side_by_side::SideBySide;

/// Who runs the daemons, and what their clients speak.
#[derive(Clone, Copy)]
struct How {
    user: u32,
    protocol: u8,
}

const ROOT: u32 = 0;
const NOBODY: u32 = 65534;

/// What both sides do with a row.
#[track_caller]
fn compare(How { user, protocol }: How, globals: &str, module: &str, clients: &[&str]) {
    let plan = SideBySide::new(globals, module).protocol(protocol);
    let plan = if user == ROOT { plan } else { plan.of_user(user) };
    plan.run(clients);
}

const PULL: &str = "-a @/m/ got/";
const PUSH: &str = "-a tree/ @/m/up/";
/// Names that are not there, above and below a directory.
const MISSING: &[&str] =
    &["-a @/m/nosuch/x got/", "-a @/m/sub/nosuch got/", "-aR @/m/sub/nosuch @/m/sub/./nosuch got/"];

/// An older protocol for a row: each of them has its share of the rows.
fn older(row: &str) -> u8 {
    [27, 29, 30, 31][row.bytes().map(usize::from).sum::<usize>() % 4]
}

macro_rules! rows {
    ($($name:ident: $globals:expr, $module:expr, $clients:expr;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn by_root() {
                compare(How { user: ROOT, protocol: 32 }, $globals, $module, $clients);
            }

            #[test]
            fn by_nobody() {
                compare(How { user: NOBODY, protocol: older(stringify!($name)) }, $globals, $module, $clients);
            }
        })*
    };
}

rows! {
    nothing_special: "", "", &["@", PULL, PUSH];
    comment: "", "comment = All of it", &["@"];
    list_no: "", "list = no", &["@", PULL, "-a @/nosuch/ got/"];
    name: "", "name = other", &["@", PULL, "-a @/other/ got/"];
    motd_file: "motd file = DIR/motd", "", &["@", PULL];
    read_only_yes: "", "read only = yes", &[PULL, PUSH, "-an tree/ @/m/up/", "-a --remove-source-files @/m/file got/"];
    write_only_yes: "", "write only = yes", &[PULL, PUSH];
    use_chroot_no: "", "use chroot = no", &["-a tree/new @/m/no/such/name", "-a @/m/nosuch got/"];
    paths_of_a_sender: "", "use chroot = no", MISSING;
    path_missing: "", "path = DIR/nosuch", &[PULL];
    path_of_the_chroot_missing: "", "path = DIR/nosuch\nuse chroot = yes", &[PULL];
    numeric_ids_yes: "", "numeric ids = yes", &[PULL, PUSH];
    numeric_ids_no: "", "numeric ids = no", &[PULL, PUSH];
    outgoing_chmod: "", "outgoing chmod = D700,F600", &[PULL];
    incoming_chmod: "", "incoming chmod = D750,F640", &[PUSH];
    exclude: "", "exclude = *.o /sub/deep/", &[PULL, PUSH, "-a tree/new @/m/sub/deep/"];
    exclude_from: "", "exclude from = DIR/rules", &[PULL, "-a --delete tree/sub/ @/m/sub/"];
    include_and_exclude: "", "include = /sub/ /sub/one.o\nexclude = /sub/*", &[PULL];
    filter: "", "filter = - *.o", &[PULL];
    exclude_from_missing: "", "exclude from = DIR/nosuch", &[PULL];
    max_verbosity_0: "", "max verbosity = 0", &["-av @/m/ got/"];
    max_connections_none: "", "max connections = -1", &[PULL];
    max_connections_2: "", "max connections = 2", &[PULL];
    hosts_deny: "", "hosts deny = *", &[PULL, "@"];
    hosts_deny_unlisted: "", "hosts deny = *\nlist = no", &[PULL];
    hosts_allow: "", "hosts allow = 127.0.0.0/8", &[PULL];
    hosts_allow_others: "", "hosts allow = 10.0.0.0/8", &[PULL];
    hosts_allow_and_deny: "", "hosts allow = 10.1\nhosts deny = 192.168.0.0/255.255.0.0", &[PULL];
    hosts_deny_unknown_name: "", "hosts deny = nosuch.invalid", &[PULL];
    host_names_are_looked_up: "", "transfer logging = yes\nhosts allow = 10.0.0.1 nosuch.invalid localhost", &[PULL];
    host_names_deny: "", "hosts deny = localhost", &[PULL];
    host_names_are_not_looked_up: "", "forward lookup = no\nhosts allow = localhost", &[PULL];
    unknown_host_names_without_lookup: "", "forward lookup = no\nhosts deny = nosuch.invalid", &[PULL];
    reverse_lookup: "reverse lookup = yes", "transfer logging = yes\nhosts allow = local*", &[PULL];
    reverse_lookup_of_the_module: "", "reverse lookup = yes\ntransfer logging = yes\nhosts allow = loc*", &[PULL];
    reverse_lookup_before_the_module: "reverse lookup = yes", "reverse lookup = no\ntransfer logging = yes\nhosts allow = loc*", &[PULL];
    chmod_that_means_nothing: "", "incoming chmod = zzz\noutgoing chmod = yyy", &[PULL, PUSH];
    a_client_without_a_name: "", "reverse lookup = yes\ntransfer logging = yes\nhosts allow = *", &["-a --address=127.0.1.9 @/m/file got/"];
    misspelt_hosts: "", "hosts allow = 10.1.2.3.4 10.1.2.3/33 fd00::/129 fd00:::1 /8 . 127.0.0.0/008\nhosts deny = 127.0.0.1/255.255", &[PULL];
    misspelt_hosts_deny: "", "hosts deny = 127.0.0.1/ 127.0.0.1/x 127.0.0.1/-1 127.0.0.1/fd00:: 09.1 fe80::1%lo", &[PULL];
    netgroup_without_members: "", "hosts allow = @nosuch", &[PULL];
    netgroup_without_members_denies: "", "hosts deny = @nosuch", &[PULL];
    lock_file_missing: "", "max connections = 1\nlock file = /nosuch/lock", &[PULL];
    lock_file_is_a_directory: "", "max connections = 1\nlock file = DIR/m", &[PULL];
    lock_file_of_a_closed_module: "", "max connections = -3\nlock file = /nosuch/lock", &[PULL];
    auth_users: "", "auth users = alice\nsecrets file = DIR/secrets", &[PULL, PUSH];
    auth_users_others: "", "auth users = bob\nsecrets file = DIR/secrets", &[PULL];
    auth_users_deny: "", "auth users = alice:deny *\nsecrets file = DIR/secrets", &[PULL];
    auth_users_ro: "", "auth users = alice:ro\nsecrets file = DIR/secrets", &[PULL, PUSH];
    auth_users_rw: "", "auth users = alice:rw\nsecrets file = DIR/secrets\nread only = yes", &[PUSH];
    auth_without_secrets: "", "auth users = alice", &[PULL];
    auth_digest_unknown: "", "auth users = alice\nsecrets file = DIR/secrets\nauth digest = foo", &[PULL];
    auth_digest_met: "", "auth users = alice\nsecrets file = DIR/secrets\nauth digest = sha256", &[PULL];
    strict_modes: "", "auth users = alice\nsecrets file = DIR/rules", &[PULL];
    strict_modes_no: "", "auth users = alice\nsecrets file = DIR/rules\nstrict modes = no", &[PULL];
    refuse_options: "", "refuse options = checksum delete", &["-ac @/m/ got/", "-a --delete tree/ @/m/up/", PULL];
    refuse_all_but: "", "refuse options = * !a !v", &[PULL, "-az @/m/ got/"];
    transfer_logging: "", "transfer logging = yes", &[PULL, PUSH, "-a --delete tree/sub/ @/m/sub/", "-an tree/ @/m/other/"];
    log_format: "", "transfer logging = yes\nlog format = %o|%h|%a|%m|%u|%f|%l|%n|%P|%i|%B|%G|%U|%%|%-8l|%L|%Z", &[PULL, PUSH];
    log_format_without_operation: "", "transfer logging = yes\nlog format = %f", &["-a --delete tree/sub/ @/m/sub/"];
    timeout: "", "timeout = 77", &[PULL, PUSH];
    ignore_errors: "", "ignore errors = yes", &["-a --delete tree/ @/m/up/"];
    ignore_nonreadable: "", "ignore nonreadable = yes", &[PULL];
    open_noatime: "", "open noatime = yes", &[PULL];
    dont_compress: "", "dont compress = *", &["-az @/m/ got/"];
    temp_dir: "", "temp dir = /sub", &[PUSH];
    temp_dir_missing: "", "temp dir = /nosuch", &[PUSH];
    early_exec: "", "early exec = echo early $RSYNC_MODULE_NAME $RSYNC_REQUEST >> DIR/c/hooks", &[PULL];
    early_exec_fails: "", "early exec = exit 3", &[PULL];
    pre_xfer_exec: "", "pre-xfer exec = echo $RSYNC_REQUEST $RSYNC_ARG1 $RSYNC_USER_NAME $RSYNC_HOST_ADDR >> DIR/c/hooks", &[PULL, PUSH];
    pre_xfer_exec_fails: "", "pre-xfer exec = echo no way; exit 3", &[PULL, PUSH];
    pre_xfer_exec_fails_silently: "", "pre-xfer exec = exit 3", &[PULL];
    post_xfer_exec: "", "post-xfer exec = echo $RSYNC_EXIT_STATUS $RSYNC_RAW_STATUS $RSYNC_MODULE_NAME >> DIR/c/hooks", &[PULL, "-a @/m/nosuch got/"];
    variables: "", "exclude = %RSYNC_NOSUCH% %RSYNC_MODULE_NAME%.o", &[PULL];
    munge_symlinks_no: "", "munge symlinks = no", &[PULL];
    files_from_in_the_module: "", "", &["-a --files-from=:/list @/m/ got/", "-a --files-from=:/nosuch @/m/ got2/"];
    mkpath_and_relative: "", "transfer logging = yes", &["-a --mkpath tree/sub @/m/far/away/", "-aR tree/./sub/one.o @/m/rel/"];
    options_that_name_directories: "", "", &[
        "-a --backup --backup-dir=/kept tree/sub/ @/m/sub/",
        "-a --link-dest=/sub tree/sub/ @/m/linked/",
        "-a --link-dest=../sub tree/sub/ @/m/linked2/",
        "-a --partial-dir=/parts tree/ @/m/parted/",
        "-a --compare-dest=/nosuch tree/ @/m/compared/",
    ];
    paths_do_not_climb: "", "", &["-a tree/new @/m/../../../climbed", "-a --temp-dir=../../.. tree/new @/m/", "-a --backup-dir=../../out --backup tree/sub/ @/m/sub/"];
}

#[test]
fn use_chroot_yes() {
    // By root only: nobody cannot change its root, so that the C daemon serves nothing; ours does not need to.
    let clients: &[&str] = &[PULL, PUSH, "-a tree/new @/m/no/such/name", "-a @/m/nosuch got/"];
    for clients in [clients, MISSING] {
        compare(How { user: ROOT, protocol: 32 }, "", "use chroot = yes", clients);
    }
}
