//! `worker.conf`: every key of tunasync's worker, with its place for messages (spec 11 §3.4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact as friendly;
use rsync_daemon::TlsFiles;
use serde::Deserialize;
use toml::Spanned;

use super::convert::convert;
use crate::Secret;
use crate::config::source::{Findings, Texts};
use crate::config::{Config, ConfigError, Finding};
use crate::health::Checks;
use crate::job::{Guard, Publish, Trace};

/// A worker, as its configuration describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerConfig {
    /// Its jobs and where it remembers them.
    pub site: Config,
    /// How it speaks with managers.
    pub worker: WorkerSettings,
    /// What has no effect, or is unknown.
    pub warnings: Vec<Finding>,
}

/// How a worker speaks with managers.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerSettings {
    /// What it is called.
    pub name: String,
    /// Where managers are.
    pub managers: Vec<String>,
    /// Whose certificates of managers are trusted, besides nobody; the system's authorities if absent.
    pub ca_cert: Option<PathBuf>,
    /// Where it listens for commands.
    pub listen: SocketAddr,
    /// What managers are told of that: `http://HOST:PORT/`.
    pub url: String,
    /// The certificate it shows them.
    pub tls: Option<TlsFiles>,
    /// Who sends a command must have this, if it is set.
    pub token: Option<Secret>,
}

impl WorkerConfig {
    /// Reads a configuration and the files that it includes.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong or cannot be honoured.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (texts, mut unread) = read_files(path);
        let mut findings = Findings::new(&texts);
        let mut warnings = Findings::new(&texts);
        unread.drain(..).for_each(|finding| findings.add(finding));
        let mut whole = WorkerFile::default();
        for (index, file) in texts.files().iter().enumerate() {
            let table = findings.parse_text(file);
            let mut found = Findings::new(&texts);
            let part: Option<WorkerFile> = found.interpret(table, &(0..0), &[]);
            for finding in found.into_vec() {
                // tunasync reads past keys that it does not know.
                let list =
                    if finding.text.starts_with("unknown key") { &mut warnings } else { &mut findings };
                list.add(finding);
            }
            let Some(part) = part else { continue };
            if index == 0 {
                whole = part;
            } else {
                whole.mirrors.extend(part.mirrors);
            }
        }
        let converted = convert(&whole, path, &mut findings, &mut warnings);
        match converted {
            Some((site, worker)) if findings.is_clean() => {
                Ok(Self { site, worker, warnings: warnings.into_vec() })
            }
            _ => Err(ConfigError { findings: findings.with_warnings(warnings) }),
        }
    }
}

/// The texts of the file and of those it includes, and what could not be read.
fn read_files(path: &Path) -> (Texts, Vec<Finding>) {
    let mut texts = Texts::default();
    let mut unread = Vec::new();
    let mut add = |path: &Path, texts: &mut Texts| match std::fs::read_to_string(path) {
        Ok(text) => texts.add(path, text),
        Err(error) => unread.push(Finding::of_file(path, format!("cannot read it: {error}"))),
    };
    add(path, &mut texts);
    let pattern = texts.files().first().and_then(|file| {
        let table: toml::Table = file.text().parse().ok()?;
        table.get("include")?.get("include_mirrors")?.as_str().map(str::to_owned)
    });
    if let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) {
        let whole = path.parent().unwrap_or(Path::new("")).join(&pattern);
        match glob::glob(&whole.to_string_lossy()) {
            Ok(found) => {
                let files: BTreeSet<PathBuf> = found.filter_map(Result::ok).collect();
                files.iter().for_each(|file| add(file, &mut texts));
            }
            Err(error) => {
                unread.push(Finding::of_file(path, format!("include_mirrors = {pattern:?}: {error}")));
            }
        }
    }
    (texts, unread)
}

/// A value with its place.
pub(super) type Placed<T> = Option<Spanned<T>>;

/// A value that is there and says something: to tunasync, 0, false and an empty text are none.
pub(super) fn given<T: Default + PartialEq>(value: &Placed<T>) -> Option<&Spanned<T>> {
    value.as_ref().filter(|value| *value.get_ref() != T::default())
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WorkerFile {
    pub(super) global: Global,
    pub(super) manager: Manager,
    pub(super) server: Server,
    pub(super) cgroup: Cgroup,
    pub(super) zfs: Zfs,
    pub(super) btrfs_snapshot: Btrfs,
    pub(super) docker: Docker,
    pub(super) include: Include,
    pub(super) mirrors: Vec<Spanned<Mirror>>,
    pub(super) x_rsync_mirror: Extension,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Global {
    pub(super) name: Placed<String>,
    pub(super) log_dir: Placed<String>,
    pub(super) mirror_dir: Placed<String>,
    pub(super) concurrent: Placed<u32>,
    pub(super) interval: Placed<u64>,
    pub(super) retry: Placed<u32>,
    pub(super) timeout: Placed<u64>,
    pub(super) rsync_options: Vec<String>,
    pub(super) exec_on_success: Vec<Spanned<String>>,
    pub(super) exec_on_failure: Vec<Spanned<String>>,
    pub(super) dangerous_global_success_exit_codes: Vec<u8>,
    pub(super) dangerous_global_rsync_success_exit_codes: Vec<u8>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Manager {
    pub(super) api_base: Placed<String>,
    pub(super) api_base_list: Vec<Spanned<String>>,
    pub(super) token: Placed<String>,
    pub(super) ca_cert: Placed<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Server {
    pub(super) hostname: Placed<String>,
    pub(super) listen_addr: Placed<String>,
    pub(super) listen_port: Placed<u16>,
    pub(super) ssl_cert: Placed<String>,
    pub(super) ssl_key: Placed<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cgroup {
    pub(super) enable: Placed<bool>,
    pub(super) base_path: Placed<String>,
    pub(super) group: Placed<String>,
    pub(super) subsystem: Placed<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Zfs {
    pub(super) enable: Placed<bool>,
    pub(super) zpool: Placed<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Btrfs {
    pub(super) enable: Placed<bool>,
    pub(super) snapshot_path: Placed<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Docker {
    pub(super) enable: Placed<bool>,
    pub(super) volumes: Vec<String>,
    pub(super) options: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Include {
    /// Read before everything else, to find the files.
    pub(super) include_mirrors: Placed<String>,
}

/// `[x_rsync_mirror]`, which tunasync does not know.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Extension {
    pub(super) state_dir: Option<PathBuf>,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) token: Option<Secret>,
    pub(super) strict_tunasync: bool,
    #[serde(with = "friendly::optional")]
    pub(super) drain: Option<Duration>,
}

/// `[[mirrors]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mirror {
    pub(super) name: Placed<String>,
    pub(super) provider: Placed<String>,
    pub(super) upstream: Placed<String>,
    pub(super) interval: Placed<u64>,
    pub(super) retry: Placed<u32>,
    pub(super) timeout: Placed<u64>,
    pub(super) mirror_dir: Placed<String>,
    pub(super) mirror_subdir: Placed<String>,
    pub(super) log_dir: Placed<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) role: Placed<String>,
    pub(super) exec_on_success: Vec<Spanned<String>>,
    pub(super) exec_on_failure: Vec<Spanned<String>>,
    pub(super) exec_on_success_extra: Vec<Spanned<String>>,
    pub(super) exec_on_failure_extra: Vec<Spanned<String>>,
    pub(super) success_exit_codes: Vec<u8>,
    pub(super) rsync_success_exit_codes: Vec<u8>,
    pub(super) command: Placed<String>,
    pub(super) fail_on_match: Placed<String>,
    pub(super) size_pattern: Placed<String>,
    pub(super) use_ipv6: Placed<bool>,
    pub(super) use_ipv4: Placed<bool>,
    pub(super) exclude_file: Placed<String>,
    pub(super) username: Placed<String>,
    pub(super) password: Option<Secret>,
    pub(super) rsync_no_timeout: Placed<bool>,
    pub(super) rsync_timeout: Placed<u64>,
    pub(super) rsync_options: Vec<String>,
    pub(super) rsync_override: Vec<String>,
    pub(super) rsync_override_only: Placed<bool>,
    pub(super) stage1_profile: Placed<String>,
    pub(super) memory_limit: Placed<String>,
    pub(super) docker_image: Placed<String>,
    pub(super) docker_volumes: Vec<String>,
    pub(super) docker_options: Vec<String>,
    pub(super) snapshot_path: Placed<String>,
    pub(super) mirrors: Vec<Spanned<Mirror>>,
    pub(super) x_rsync_mirror: JobExtension,
}

/// `[mirrors.x_rsync_mirror]`: what our jobs can do beyond tunasync's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct JobExtension {
    pub(super) guard: Option<Guard>,
    pub(super) publish: Option<Publish>,
    pub(super) trace: Option<Trace>,
    pub(super) health: Option<Checks>,
    #[serde(with = "friendly::optional")]
    pub(super) stale_after: Option<Duration>,
}

impl Mirror {
    /// What this one has, and else what the one around it has.
    pub(super) fn inherit(mut self, outer: &Self) -> Self {
        macro_rules! take {
            (option: $($option:ident)*; list: $($list:ident)*) => {
                $(if given(&self.$option).is_none() { self.$option.clone_from(&outer.$option); })*
                $(if self.$list.is_empty() { self.$list.clone_from(&outer.$list); })*
            };
        }
        take! {
            option: provider upstream interval retry timeout mirror_dir mirror_subdir log_dir role command
                fail_on_match size_pattern use_ipv6 use_ipv4 exclude_file username rsync_no_timeout
                rsync_timeout rsync_override_only stage1_profile memory_limit docker_image snapshot_path;
            list: env exec_on_success exec_on_failure exec_on_success_extra exec_on_failure_extra
                success_exit_codes rsync_success_exit_codes rsync_options rsync_override docker_volumes
                docker_options
        }
        self.password = self.password.or_else(|| outer.password.clone());
        let (own, outer) = (&mut self.x_rsync_mirror, &outer.x_rsync_mirror);
        own.guard = own.guard.take().or_else(|| outer.guard.clone());
        own.publish = own.publish.take().or_else(|| outer.publish.clone());
        own.trace = own.trace.take().or_else(|| outer.trace.clone());
        own.health = own.health.take().or_else(|| outer.health.clone());
        own.stale_after = own.stale_after.or(outer.stale_after);
        self
    }
}
