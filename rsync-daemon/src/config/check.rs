//! What `rsyncd --check-config` tells: everything that is wrong, and what is in effect.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};
use rsync_engine::Dir;
use rsync_proto::meta::Chmod;
use rsync_proto::options::Refusals;
use rsync_proto::session::AuthDigest;

use super::load::{Loaded, Places};
use super::parameters::Row;
use super::rows::{GLOBAL_ROWS, MODULE_ROWS};
use super::{Config, ConfigError, Finding, Gravity, Module, Place};
use crate::access::misspelt_hosts;
use crate::auth::open_secrets;
use crate::files::{open_trusted, to_path};
use crate::http;
use crate::identity::{Identity, Own};
use crate::log::{Style, is_facility};
use crate::room::{Room, RoomPlan};
use crate::rules::HiddenRules;

/// What is wrong with a configuration, and which values its parameters have.
#[derive(Clone, Debug)]
pub struct ConfigReport {
    /// What is wrong: mistakes of the files in their order, then what the parameters of the whole daemon
    /// and those of each module name.
    pub findings: Vec<Finding>,
    /// The configuration as far as it was understood.
    pub config: Config,
}

impl ConfigReport {
    /// Whether there is an error, not just warnings.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.gravity == Gravity::Error)
    }

    /// Every parameter with its value in effect, in the form of the file.
    #[must_use]
    pub fn effective(&self) -> String {
        let mut text = String::new();
        section(&mut text, "global", GLOBAL_ROWS, &self.config.globals);
        for module in &self.config.modules {
            text.push('\n');
            section(&mut text, &module.name.to_string(), MODULE_ROWS, &module.settings);
        }
        text
    }
}

fn section<T: Clone>(text: &mut String, name: &str, rows: &[Row<T>], settings: &T) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "[{name}]");
    for row in rows {
        if let Some(value) = row.value(settings) {
            let _ = writeln!(text, "{}", format!("{} = {value}", row.names[0]).trim_end());
        }
    }
}

pub(super) fn check(loaded: Loaded) -> ConfigReport {
    let Loaded { config, errors, places } = loaded;
    let mut findings: Vec<Finding> = errors.iter().map(of_error).chain(config.notes.clone()).collect();
    findings.sort_by_key(|finding| match &finding.place {
        // A file that includes another is told first; within it the lines follow each other.
        Some(Place::Line(path, line)) => (path.clone(), *line),
        Some(Place::CommandLine) | None => (PathBuf::new(), 0),
    });
    let mut checker = Checker { places, findings };
    if let Err(error) = config.is_never_written() {
        checker.findings.push(of_error(&error));
    }
    checker.globals(&config);
    let room = match Room::enter(&RoomPlan::new(&config.globals)) {
        Ok(room) => room,
        Err(error) => {
            checker.tell(Gravity::Error, None, error.parameter(), error.to_string());
            Room::premises()
        }
    };
    let (modules, own) = (config.modules.clone(), room.own());
    let findings = checker.findings.clone();
    let checked = room.block(move || {
        for (index, module) in modules.iter().enumerate() {
            checker.module(index, module);
        }
        checker
    });
    let Ok(mut checker) = checked else { return ConfigReport { findings, config } };
    for (index, module) in config.modules.iter().enumerate() {
        checker.identity(index, module, own);
    }
    ConfigReport { findings: checker.findings, config }
}

fn of_error(error: &ConfigError) -> Finding {
    let (place, text) = match error {
        ConfigError::Grammar { place, text } => (Some(place.clone()), text.clone()),
        ConfigError::Unsupported { place, name, module } => (
            Some(place.clone()),
            format!("parameter \"{name}\" in section [{module}] is not supported by this daemon"),
        ),
        ConfigError::UnknownOverride { .. } => (Some(Place::CommandLine), error.to_string()),
        ConfigError::Unreadable { .. } | ConfigError::TooDeep { .. } | ConfigError::Writable { .. } => {
            (None, error.to_string())
        }
    };
    Finding { place, gravity: Gravity::Error, text }
}

struct Checker {
    places: Places,
    findings: Vec<Finding>,
}

/// A value that is known only when a client is there.
fn is_open(value: &[u8]) -> bool {
    value.contains_str("%RSYNC_")
}

fn known(value: Option<&BString>) -> Option<BString> {
    let value = value.filter(|value| !is_open(value))?;
    // What is too long is told when it is used.
    super::expand(value, &crate::visit::environment).ok()
}

impl Checker {
    fn tell(&mut self, gravity: Gravity, module: Option<usize>, parameter: &str, text: String) {
        self.findings.push(Finding { place: self.places.of(module, parameter), gravity, text });
    }

    fn globals(&mut self, config: &Config) {
        let globals = &config.globals;
        let has_proxies = globals.proxy_protocol_hosts.as_ref().is_some_and(|hosts| !hosts.trim().is_empty());
        if globals.proxy_protocol && !has_proxies {
            let text =
                "\"proxy protocol = true\" but \"proxy protocol hosts\" is unset: all connections will \
                        be rejected as untrusted proxy peers.  Set \"proxy protocol hosts\" to your trusted \
                        proxy's address."
                    .to_owned();
            self.tell(Gravity::Warning, None, "proxy protocol", text);
        }
        if !(0..=i32::from(u16::MAX)).contains(&globals.port) {
            self.tell(Gravity::Error, None, "port", format!("{} is no port", globals.port));
        }
        if !(0..=i32::from(u16::MAX)).contains(&globals.tls_port) {
            self.tell(Gravity::Error, None, "tls port", format!("{} is no port", globals.tls_port));
        }
        if let Some(Err(error)) =
            globals.metrics_address.as_ref().map(|text| http::address(&text.to_string()))
        {
            self.tell(Gravity::Error, None, "metrics address", error.to_string());
        }
        if let Err(error) = Style::named(globals.log_style.as_ref()) {
            self.tell(Gravity::Error, None, "log style", error.to_string());
        }
        match globals.tls_files().map(|files| files.map(|files| files.load())) {
            Err(error) => self.tell(Gravity::Error, None, "tls port", error.to_string()),
            Ok(Some(Err(error))) => self.tell(Gravity::Error, None, "tls certificate", error.to_string()),
            Ok(_) => {}
        }
        if let Some(file) = known(globals.motd_file.as_ref()) {
            self.file(Gravity::Warning, None, "motd file", &to_path(&file));
        }
        if let Some(file) = &globals.pid_file {
            self.directory_of(None, "pid file", &to_path(file));
        }
        if config.modules.is_empty() {
            let text = "there is no module".to_owned();
            self.findings.push(Finding { place: None, gravity: Gravity::Warning, text });
        }
    }

    fn module(&mut self, index: usize, module: &Module) {
        let (settings, name) = (&module.settings, &module.name);
        let at = Some(index);
        match &settings.path {
            None => self.tell(Gravity::Error, at, "path", format!("module {name} has no path")),
            Some(_) => {
                if let Some(found) = known(settings.path.as_ref())
                    && let Err(error) = Dir::open_trusted(&to_path(&found))
                {
                    self.tell(Gravity::Error, at, "path", format!("cannot open {found}: {error}"));
                }
            }
        }
        if let Err(error) = settings.charset() {
            self.tell(Gravity::Error, at, "charset", error.to_string());
        }
        self.rules(index, module);
        self.login(index, module);
        for (parameter, list) in
            [("hosts allow", &settings.hosts_allow), ("hosts deny", &settings.hosts_deny)]
        {
            for token in misspelt_hosts(&known(list.as_ref()).unwrap_or_default().to_string()) {
                let text = format!("\"{token}\" is no address and matches nobody");
                self.tell(Gravity::Warning, at, parameter, text);
            }
        }
        if let Some(changes) = &settings.outgoing_chmod
            && let Err(error) = Chmod::default().append(changes)
        {
            self.tell(Gravity::Error, at, "outgoing chmod", error.to_string());
        }
        let terms = settings.refuse_options.as_ref().map(ToString::to_string).unwrap_or_default();
        for term in Refusals::new(&terms, true).unmatched() {
            let text = format!("No match for refuse-options string \"{term}\"");
            self.tell(Gravity::Warning, at, "refuse options", text);
        }
        if !is_facility(settings.syslog_facility.as_ref()) {
            let text = format!("\"{}\" is no facility of the system log", settings.syslog_facility);
            self.tell(Gravity::Warning, at, "syslog facility", text);
        }
        if let Some(file) = known(settings.log_file.as_ref()) {
            self.directory_of(at, "log file", &to_path(&file));
        }
        if settings.max_connections > 0 && !is_open(&settings.lock_file) {
            self.directory_of(at, "lock file", &to_path(&settings.lock_file));
        }
    }

    /// Users and groups are those of the system, whatever `daemon chroot` says.
    fn identity(&mut self, index: usize, module: &Module, own: Own) {
        let (settings, at) = (&module.settings, Some(index));
        let (uid, gid) = (known(settings.uid.as_ref()), known(settings.gid.as_ref()));
        if uid.is_some() != settings.uid.is_some() || gid.is_some() != settings.gid.is_some() {
            return;
        }
        match Identity::resolve(uid.as_ref(), gid.as_ref(), own).map(|identity| identity.of(own)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let parameter = if error.call == "setuid" { "uid" } else { "gid" };
                let text = format!("module {} cannot be served: {error}", module.name);
                self.tell(Gravity::Error, at, parameter, text);
            }
            Err(refusal) => {
                let text = refusal.to_string();
                self.tell(Gravity::Error, at, if text.contains("gid") { "gid" } else { "uid" }, text);
            }
        }
    }

    fn rules(&mut self, index: usize, module: &Module) {
        let settings = &module.settings;
        let one = |parameter: &str, value: Option<BString>| {
            let mut rules = HiddenRules::default();
            *match parameter {
                "filter" => &mut rules.filter,
                "include from" => &mut rules.include_from,
                "include" => &mut rules.include,
                "exclude from" => &mut rules.exclude_from,
                _ => &mut rules.exclude,
            } = value;
            rules.read_files()
        };
        for (parameter, value) in [
            ("filter", &settings.filter),
            ("include from", &settings.include_from),
            ("include", &settings.include),
            ("exclude from", &settings.exclude_from),
            ("exclude", &settings.exclude),
        ] {
            if let Err(error) = one(parameter, known(value.as_ref())) {
                self.tell(Gravity::Error, Some(index), parameter, error.to_string());
            }
        }
    }

    fn login(&mut self, index: usize, module: &Module) {
        let (settings, at) = (&module.settings, Some(index));
        if let Some(floor) = &settings.auth_digest
            && AuthDigest::from_name(floor).is_none()
        {
            self.tell(Gravity::Error, at, "auth digest", format!("\"{floor}\" is no digest"));
        }
        if settings.auth_users.is_none() || settings.secrets_file.as_ref().is_some_and(|file| is_open(file)) {
            return;
        }
        let file = known(settings.secrets_file.as_ref()).map(|file| to_path(&file));
        if let Err(why) = open_secrets(file.as_deref(), settings.strict_modes) {
            let text = format!("nobody can log in to module {}: {why}", module.name);
            self.tell(Gravity::Error, at, "secrets file", text);
        }
    }

    fn file(&mut self, gravity: Gravity, module: Option<usize>, parameter: &str, file: &Path) {
        if let Err(error) = open_trusted(file) {
            self.tell(gravity, module, parameter, format!("cannot open {}: {error}", file.display()));
        }
    }

    /// Checks that the directory of a file that is to be made exists.
    fn directory_of(&mut self, module: Option<usize>, parameter: &str, file: &Path) {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent
            && let Err(error) = fs::read_dir(parent)
        {
            let text = format!("cannot make {}: {error}", file.display());
            self.tell(Gravity::Error, module, parameter, text);
        }
    }
}
