use std::collections::BTreeMap;

use super::*;

/// Files in memory; a directory is a path that others have as their parent.
struct Memory(BTreeMap<PathBuf, &'static str>);

impl Sources for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn expand_directory(&self, path: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
        if self.0.contains_key(path) {
            return Ok(vec![path.into()]);
        }
        let inside =
            |file: &&PathBuf| file.parent() == Some(path) && file.extension().is_some_and(|e| e == extension);
        Ok(self.0.keys().filter(inside).cloned().collect())
    }
}

fn load(files: &[(&'static str, &'static str)], overrides: &[&str]) -> Result<Config, ConfigError> {
    let files = files.iter().map(|&(path, text)| (PathBuf::from(path), text)).collect();
    let overrides: Vec<BString> = overrides.iter().map(|&text| text.into()).collect();
    let loaded = load::load(Path::new("c"), &overrides, &Memory(files));
    loaded.errors.into_iter().next().map_or(Ok(loaded.config), Err)
}

fn config(text: &'static str) -> Config {
    load(&[("c", text)], &[]).expect("config")
}

#[test]
fn modules_take_the_defaults_of_their_beginning() {
    let config =
        config("list = no\n[a]\npath = /a\n[global]\nlist = yes\n[b]\npath=/b\n[A]\ncomment = again\n");
    let names: Vec<_> = config.modules.iter().map(|module| module.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.modules.iter().map(|module| module.settings.list).collect::<Vec<_>>(), [false, true]);
    assert_eq!(config.modules[0].settings.comment, Some("again".into()));
}

#[test]
fn unset_texts_fall_back_to_the_final_global_value() {
    let config = config("[a]\npath = /a\n[b]\npath=/b\nhosts deny = x\n[global]\nhosts deny = *\n");
    assert_eq!(config.modules[0].settings.hosts_deny, Some("*".into()));
    assert_eq!(config.modules[1].settings.hosts_deny, Some("x".into()));
}

#[test]
fn clients_find_modules_by_their_exact_names() {
    let config = config("[my mod]\npath=/a\n[x]\nname = y\npath=/b\n");
    assert!(config.module(b"my mod").is_some());
    assert!(config.module(b"mymod").is_none());
    assert!(config.module(b"MY MOD").is_none());
    assert!(config.module(b"x").is_none() && config.module(b"y").is_some());
}

#[test]
fn an_include_cannot_change_defaults_but_a_merge_can() {
    let files = [
        ("c", "&include inc\n&merge mer\n[m]\npath=/m\n"),
        ("inc/a.conf", "timeout = 7\n[one]\npath=/1\n"),
        ("inc/b.conf", "[two]\npath=/2\n"),
        ("inc/c.other", "[three]\n"),
        ("mer", "max connections = 3\n"),
    ];
    let config = load(&files, &[]).expect("config");
    let facts: Vec<_> = config
        .modules
        .iter()
        .map(|module| (module.name.to_string(), module.settings.timeout, module.settings.max_connections))
        .collect();
    assert_eq!(facts, [("one".to_owned(), 7, 0), ("two".to_owned(), 0, 0), ("m".to_owned(), 0, 3)]);
}

#[test]
fn after_an_include_the_scope_is_global() {
    let files = [("c", "[m]\npath=/m\n&include i\ncomment = global\n[n]\npath=/n"), ("i", "")];
    let config = load(&files, &[]).expect("config");
    assert_eq!(config.modules[0].settings.comment, Some("global".into()));
}

#[test]
fn the_command_line_overrides_the_first_globals() {
    let text = [("c", "port = 1\n[m]\npath=/m\n[global]\ntimeout = 9\n")];
    let config = load(&text, &["PORT= 2", "timeout=4"]).expect("config");
    assert_eq!((config.globals.port, config.modules[0].settings.timeout), (2, 4));
    assert_eq!(config.defaults.timeout, 9);
    let error = load(&text, &["foo=1"]).expect_err("unknown");
    assert_eq!(error.to_string(), "Unknown parameter \"foo\"");
}

#[test]
fn strange_lines_are_noted_and_ignored() {
    let config = config("foo = 1\nlist = maybe\n[m]\nport = 1\nbroken\npath=/m\n");
    let notes: Vec<_> = config.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(
        notes,
        [
            "Unknown Parameter encountered: \"foo\"",
            "IGNORING unknown parameter \"foo\"",
            "Badly formed boolean in configuration file: \"maybe\".",
            "Global parameter port found in module section!",
            "params.c:Parameter() - Ignoring badly formed line in config file: broken",
        ]
    );
}

#[test]
fn unsupported_and_endless_configurations_are_errors() {
    let error = load(&[("c", "[m]\ninsecure links = yes\n")], &[]).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "c:2: parameter \"insecure links\" in section [m] is not supported by this daemon"
    );
    assert!(matches!(load(&[("c", "&include c\n")], &[]), Err(ConfigError::TooDeep { .. })));
    assert!(matches!(load(&[("c", "&foo c\n")], &[]), Err(ConfigError::Grammar { .. })));
}

fn findings(text: &'static str) -> Vec<String> {
    let files = [(PathBuf::from("c"), text)].into_iter().collect();
    let report = check::check(load::load(Path::new("c"), &[], &Memory(files)));
    report.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_check_finds_everything_with_its_place() {
    let found = findings(
        "foo = 1\nlist = maybe\nproxy protocol = yes\n[bad\n[m]\ncomment = x\ncharset = x\n\
         path = /nonexistent\nuid = no such\nauth users = a\nauth digest = rot13\nhosts deny = 10.0.0.300\n\
         outgoing chmod = zzz\nrefuse options = c nosuch\nexclude from = /nonexistent/file\nsyslog facility = x\n\
         log file = /nonexistent/log\n[n]\n",
    );
    for expected in [
        "c:1: warning: Unknown Parameter encountered: \"foo\"",
        "c:2: warning: Badly formed boolean in configuration file: \"maybe\".",
        "c:3: warning: \"proxy protocol = true\" but",
        "c:4: error: params.c:Section() - Badly formed line in config file: bad",
        "c:7: error: iconv_open(\"UTF-8\", \"x\") failed",
        "c:8: error: cannot open /nonexistent: ",
        "c:9: error: invalid uid no such",
        "c:11: error: \"rot13\" is no digest",
        "c:12: warning: \"10.0.0.300\" is no address",
        "c:13: error: ",
        "c:14: warning: No match for refuse-options string \"nosuch\"",
        "c:15: error: ",
        "c:16: warning: \"x\" is no facility",
        "c:17: error: cannot make /nonexistent/log: ",
        "c:5: error: nobody can log in to module m: no secrets file",
        "c:18: error: module n has no path",
    ] {
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn a_sound_configuration_has_no_findings_and_its_values_are_read_back() {
    let text = "timeout = 5\n[m]\npath = /\nuid = %RSYNC_USER_NAME%\nhosts allow = 10.0.0.0/8 *.org @x\n";
    let files = [(PathBuf::from("c"), text)].into_iter().collect();
    let report = check::check(load::load(Path::new("c"), &[], &Memory(files)));
    assert_eq!(report.findings, []);
    let effective: &'static str = report.effective().leak();
    for line in [
        "[global]\n",
        "\n[m]\npath = /\n",
        "\ntimeout = 5\n",
        "\nread only = yes\n",
        "\nuse chroot = unset\n",
    ] {
        assert!(effective.contains(line), "{line}: {effective}");
    }
    let again = config(effective);
    assert_eq!(again.modules, report.config.modules);
    assert_eq!(again.globals, report.config.globals);
}
