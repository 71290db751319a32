//! From `worker.conf` to jobs of ours: what each key becomes, and which cannot be honoured (spec 11 §3.2, §3.4).

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rsync_daemon::TlsFiles;
use toml::Spanned;

use super::template::Template;
use super::worker_conf::{Mirror, Placed, WorkerFile, WorkerSettings, given};
use crate::config::load::host;
use crate::config::source::Findings;
use crate::config::{About, Config, Site, SiteJob};
use crate::job::{
    ClassRules, CommandMethod, DEFAULT_OPTIONS, Hooks, Job, Limits as ProgramLimits, Method, Profile,
    Program, Retry, Timeouts, Upstream, check_job,
};
use crate::schedule::{Limits, Rules, Timetable, When};
use crate::web::check_address;

/// Attempts of a mirror that does not say how many.
const ATTEMPTS: u32 = 2;
/// The pause between attempts: tunasync has none, which an upstream with a fault does not deserve.
const PAUSE: Duration = Duration::from_secs(1);
/// Seconds of silence where nothing is said about it.
const SILENCE: u64 = 120;
/// Where control groups of version 2 are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// What a transfer prints about the size of a mirror.
const TOTAL_SIZE: &str = r"(?m)^Total file size: ([0-9\.,]+[KMGTP]?) bytes";

/// What is being converted.
struct Conversion<'a, 'f> {
    file: &'a WorkerFile,
    findings: &'a mut Findings<'f>,
    warnings: &'a mut Findings<'f>,
}

/// The site and the worker that a file describes, as far as it makes sense.
pub(super) fn convert<'f>(
    file: &WorkerFile,
    path: &Path,
    findings: &mut Findings<'f>,
    warnings: &mut Findings<'f>,
) -> Option<(Config, WorkerSettings)> {
    Conversion { file, findings, warnings }.whole(path)
}

fn text(value: &Placed<String>) -> Option<String> {
    given(value).map(|value| value.get_ref().clone())
}

fn is_on(value: &Placed<bool>) -> bool {
    given(value).is_some()
}

impl Conversion<'_, '_> {
    fn whole(&mut self, path: &Path) -> Option<(Config, WorkerSettings)> {
        let worker = self.worker();
        self.remarks();
        let mut jobs: Vec<SiteJob> = Vec::new();
        for mirror in &self.file.mirrors {
            self.tree(mirror, &Mirror::default(), &mut jobs);
        }
        jobs.sort_by(|one, other| one.job.name.cmp(&other.job.name));
        let worker = worker?;
        let extension = &self.file.x_rsync_mirror;
        let state_dir = extension.state_dir.clone();
        let state_dir = state_dir
            .unwrap_or_else(|| Path::new("/var/lib/rsync-mirror").join(format!("worker-{}", worker.name)));
        let mut site = Site {
            name: worker.name.clone(),
            state_dir,
            listen: extension.listen.clone(),
            ..Site::default()
        };
        site.token.clone_from(&extension.token);
        if let Some(drain) = extension.drain {
            site.drain = drain;
        }
        let total = given(&self.file.global.concurrent).map(|count| *count.get_ref() as usize);
        if total.is_none() {
            self.warn(
                &(0..0),
                format!(
                    "{}: [global] has no \"concurrent\"; any number of mirrors sync at a time",
                    path.display()
                ),
            );
        }
        Some((Config { site, limits: Limits { total, ..Limits::default() }, jobs }, worker))
    }

    fn find(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.findings.find(span, text);
    }

    fn warn(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.warnings.find(span, text);
    }

    /// Says what has no effect.
    fn remarks(&mut self) {
        let file = self.file;
        let without_effect = [
            (&file.manager.token, "token"),
            (&file.cgroup.base_path, "base_path"),
            (&file.cgroup.subsystem, "subsystem"),
        ];
        for (value, key) in without_effect {
            if let Some(value) = given(value) {
                self.warn(&value.span(), format!("\"{key}\" has no effect"));
            }
        }
        if let Some(enable) = given(&file.btrfs_snapshot.enable) {
            let remedy = "leave it out, and give the mirrors [mirrors.x_rsync_mirror] publish = \"snapshot\" \
                (docs/site.md), whose readers never miss the tree";
            self.find(&enable.span(), format!("[btrfs_snapshot] enable is not supported: {remedy}"));
        }
        if let (Some(enable), None) = (given(&file.zfs.enable), given(&file.zfs.zpool)) {
            self.find(&enable.span(), "[zfs] enable needs a \"zpool\"");
        }
    }

    fn worker(&mut self) -> Option<WorkerSettings> {
        let file = self.file;
        let name = text(&file.global.name);
        if name.as_ref().is_none_or(|name| name.contains('/')) {
            let span = file.global.name.as_ref().map_or(0..0, Spanned::span);
            self.find(&span, "[global] needs a \"name\" without \"/\", by which managers know the worker");
        }
        let bases: Vec<Spanned<String>> = if file.manager.api_base_list.is_empty() {
            given(&file.manager.api_base).cloned().into_iter().collect()
        } else {
            file.manager.api_base_list.clone()
        };
        let mut managers = Vec::new();
        for base in bases {
            match check_address(base.get_ref()) {
                Ok(()) => managers.push(base.get_ref().trim_end_matches('/').to_owned()),
                Err(error) => self.find(&base.span(), error.to_string()),
            }
        }
        if managers.is_empty() {
            self.warn(&(0..0), "[manager] has no \"api_base\": nobody is told what the worker does");
        }
        let server = &file.server;
        let tls = self.tls(&server.ssl_cert, &server.ssl_key);
        let address = text(&server.listen_addr).unwrap_or_else(|| "127.0.0.1".to_owned());
        let port = server.listen_port.as_ref().map_or(0, |port| *port.get_ref());
        let listen = resolve(&address, port);
        if listen.is_none() {
            let span = server.listen_addr.as_ref().map_or(0..0, Spanned::span);
            self.find(&span, format!("listen_addr: {address:?} is no address of this machine"));
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let hostname = text(&server.hostname).unwrap_or_else(|| "localhost".to_owned());
        Some(WorkerSettings {
            name: name?,
            managers,
            ca_cert: text(&file.manager.ca_cert).map(PathBuf::from),
            listen: listen?,
            url: format!("{scheme}://{hostname}:{port}/"),
            tls,
            token: file.x_rsync_mirror.token.clone(),
        })
    }

    fn tls(&mut self, cert: &Placed<String>, key: &Placed<String>) -> Option<TlsFiles> {
        match (given(cert), given(key)) {
            (Some(cert), Some(key)) => {
                Some(TlsFiles { certificate: cert.get_ref().into(), key: key.get_ref().into() })
            }
            (Some(one), None) | (None, Some(one)) => {
                self.find(&one.span(), "\"ssl_cert\" and \"ssl_key\" belong together");
                None
            }
            (None, None) => None,
        }
    }

    /// Adds the mirror, or those in it.
    fn tree(&mut self, mirror: &Spanned<Mirror>, outer: &Mirror, jobs: &mut Vec<SiteJob>) {
        let own = mirror.get_ref().clone().inherit(outer);
        if own.mirrors.is_empty() {
            if let Some(job) = self.job(&own, &mirror.span()) {
                if jobs.iter().any(|other| other.job.name == job.job.name) {
                    let place = own.name.as_ref().map_or_else(|| mirror.span(), Spanned::span);
                    self.find(&place, format!("there is another mirror named {:?}", job.job.name));
                }
                jobs.push(job);
            }
            return;
        }
        own.mirrors.iter().for_each(|inner| self.tree(inner, &own, jobs));
    }

    fn job(&mut self, mirror: &Mirror, span: &Range<usize>) -> Option<SiteJob> {
        let before = self.findings.count();
        let Some(name) = text(&mirror.name) else {
            self.find(span, "a mirror needs a \"name\"");
            return None;
        };
        let place = mirror.name.as_ref().map_or_else(|| span.clone(), Spanned::span);
        if name.contains('/') || name.starts_with('.') {
            self.find(&place, format!("name: {name:?} is none for a mirror: no \"/\", no \".\" in front"));
            return None;
        }
        let global = &self.file.global;
        let destination = match (text(&mirror.mirror_dir), text(&global.mirror_dir)) {
            (Some(own), _) => PathBuf::from(own),
            (None, Some(all)) => {
                Path::new(&all).join(text(&mirror.mirror_subdir).unwrap_or_default()).join(&name)
            }
            (None, None) => {
                self.find(&place, format!("mirror {name}: neither it nor [global] has a \"mirror_dir\""));
                return None;
            }
        };
        let mut job = Job::new(name.clone(), text(&mirror.upstream).unwrap_or_default(), &destination);
        job.retry = Retry {
            attempts: count(&mirror.retry).or(count(&global.retry)).unwrap_or(ATTEMPTS),
            first_pause: PAUSE,
            ..Retry::default()
        };
        let seconds = given(&mirror.timeout).or(given(&global.timeout)).map(|time| *time.get_ref());
        job.timeouts = Timeouts { total: seconds.map(Duration::from_secs), io: None, ..Timeouts::default() };
        job.environment.clone_from(&mirror.env);
        self.hooks(&mut job, mirror);
        if let Some(pool) = given(&self.file.zfs.zpool).filter(|_| is_on(&self.file.zfs.enable)) {
            // The data set must be there; what is below it would go onto the file system around it otherwise.
            let words = ["mountpoint".to_owned(), "-q".to_owned(), destination.display().to_string()];
            job.hooks.pre_job.extend(Program::new(words));
            let text = format!(
                "mirror {name} syncs only while {}/{name} is mounted at {}",
                pool.get_ref(),
                destination.display()
            );
            self.warn(&pool.span(), text);
        }
        self.method(&mut job, mirror, &place)?;
        let extension = &mirror.x_rsync_mirror;
        job.guard = extension.guard.clone().unwrap_or(job.guard);
        job.publish = extension.publish.clone().unwrap_or(job.publish);
        job.trace.clone_from(&extension.trace);
        let minutes = given(&mirror.interval).or(given(&global.interval)).map(|time| *time.get_ref());
        let Some(minutes) = minutes else {
            self.find(
                &place,
                format!("mirror {name}: neither it nor [global] has an \"interval\" in minutes"),
            );
            return None;
        };
        let log_dir = self.log_dir(mirror, &name)?;
        if self.findings.count() == before
            && let Err(error) = check_job(&job)
        {
            self.find(&place, error.to_string());
        }
        let every = Duration::from_secs(minutes.saturating_mul(60));
        Some(SiteJob {
            rules: Rules {
                timetable: Timetable { when: When::Interval(every), jitter: Duration::ZERO },
                host: job.upstreams.first().and_then(|upstream| host(&upstream.url)),
                groups: Vec::new(),
                priority: 0,
                yields: false,
            },
            about: About { is_secondary: self.is_secondary(mirror), ..About::default() },
            windows: Vec::new(),
            push_secret: None,
            stale_after: extension.stale_after,
            health: extension.health.clone(),
            log_dir,
            job,
        })
    }

    fn is_secondary(&mut self, mirror: &Mirror) -> bool {
        match given(&mirror.role) {
            None => false,
            Some(role) => match role.get_ref().as_str() {
                "master" => false,
                "slave" => true,
                other => {
                    self.find(&role.span(), format!("role: {other:?} is neither \"master\" nor \"slave\""));
                    false
                }
            },
        }
    }

    /// Where the mirror is logged; `None` if that makes no sense.
    fn log_dir(&mut self, mirror: &Mirror, name: &str) -> Option<Option<PathBuf>> {
        let Some(pattern) = given(&mirror.log_dir).or(given(&self.file.global.log_dir)) else {
            return Some(None);
        };
        let fields = [
            ("Name", name.to_owned()),
            ("Provider", text(&mirror.provider).unwrap_or_default()),
            ("Upstream", text(&mirror.upstream).unwrap_or_default()),
            ("Role", text(&mirror.role).unwrap_or_default()),
            ("MirrorSubDir", text(&mirror.mirror_subdir).unwrap_or_default()),
        ];
        match Template::parse(pattern.get_ref()).and_then(|template| template.render(&fields)) {
            Ok(path) => Some(Some(path.into())),
            Err(error) => {
                self.find(&pattern.span(), format!("log_dir: {error}"));
                None
            }
        }
    }

    fn hooks(&mut self, job: &mut Job, mirror: &Mirror) {
        let global = &self.file.global;
        let mut programs = |own: &[Spanned<String>], all: &[Spanned<String>], extra: &[Spanned<String>]| {
            let lines = if own.is_empty() { all } else { own };
            let mut programs = Vec::new();
            for line in lines.iter().chain(extra) {
                match Program::parse(line.get_ref()) {
                    Some(program) => programs.push(program),
                    None => self
                        .findings
                        .find(&line.span(), format!("{:?} is no program with its arguments", line.get_ref())),
                }
            }
            programs
        };
        let success =
            programs(&mirror.exec_on_success, &global.exec_on_success, &mirror.exec_on_success_extra);
        let failure =
            programs(&mirror.exec_on_failure, &global.exec_on_failure, &mirror.exec_on_failure_extra);
        job.hooks = Hooks { success, failure, ..Hooks::default() };
    }

    /// What the provider says, and all that depends on it.
    fn method(&mut self, job: &mut Job, mirror: &Mirror, place: &Range<usize>) -> Option<()> {
        let name = job.name.clone();
        let provider = mirror.provider.as_ref().map_or_else(|| place.clone(), Spanned::span);
        for (value, key) in [(&mirror.docker_image, "docker_image"), (&mirror.snapshot_path, "snapshot_path")]
        {
            if let Some(value) = given(value) {
                let remedy = match key {
                    "docker_image" => "run the container by a \"command\" such as \"docker run --rm IMAGE\"",
                    _ => "leave it out, and set \"publish\" in [mirrors.x_rsync_mirror]",
                };
                self.find(&value.span(), format!("mirror {name}: {key} is not supported: {remedy}"));
            }
        }
        let global = &self.file.global;
        let rules = |own: &[u8], all: &[u8]| {
            let permanent = if self.file.x_rsync_mirror.strict_tunasync { vec![24] } else { Vec::new() };
            let good: Vec<u8> = all.iter().chain(own).copied().collect();
            ClassRules {
                permanent: permanent.into_iter().filter(|code| !good.contains(code)).collect(),
                good,
            }
        };
        let word = text(&mirror.provider).unwrap_or_default();
        match word.as_str() {
            "command" => {
                job.classes = rules(&mirror.success_exit_codes, &global.dangerous_global_success_exit_codes);
                job.method = Method::Command(self.command(mirror, place, &name)?);
                job.upstreams.retain(|upstream| !upstream.url.is_empty());
            }
            "rsync" | "two-stage-rsync" => {
                let all = &global.dangerous_global_rsync_success_exit_codes;
                job.classes = rules(&mirror.rsync_success_exit_codes, all);
                self.transfer(job, mirror, place, word == "two-stage-rsync")?;
            }
            "" => {
                self.find(
                    &provider,
                    format!(
                        "mirror {name}: the key \"provider\" is missing: rsync, two-stage-rsync or command"
                    ),
                );
            }
            other => {
                let known = "there are rsync, two-stage-rsync and command";
                self.find(&provider, format!("mirror {name}: provider = {other:?} is unknown; {known}"));
            }
        }
        Some(())
    }

    /// Limits of a mirror's program.
    fn limits(&mut self, mirror: &Mirror) -> Option<ProgramLimits> {
        let cgroup = &self.file.cgroup;
        let memory = match given(&mirror.memory_limit) {
            None => None,
            Some(limit) => match bytes(limit.get_ref()) {
                Some(bytes) => Some(bytes),
                None => {
                    let text = format!("memory_limit: {:?} is no size such as \"256M\"", limit.get_ref());
                    self.find(&limit.span(), text);
                    return None;
                }
            },
        };
        if !is_on(&cgroup.enable) {
            if let (Some(limit), Some(_)) = (&mirror.memory_limit, memory) {
                self.find(&limit.span(), "memory_limit needs [cgroup] enable = true");
            }
            return Some(ProgramLimits::default());
        }
        let place = cgroup.enable.as_ref().map_or(0..0, Spanned::span);
        if !Path::new(CGROUPS).join("cgroup.controllers").exists() {
            let remedy = "boot with version 2, or set enable = false";
            self.find(
                &place,
                format!("[cgroup] enable: this machine has control groups of version 1; {remedy}"),
            );
            return None;
        }
        let group = text(&cgroup.group)
            .map_or_else(own_group, |group| Path::new(CGROUPS).join(group.trim_start_matches('/')));
        Some(ProgramLimits { cgroup: Some(group), memory, ..ProgramLimits::default() })
    }

    fn command(&mut self, mirror: &Mirror, place: &Range<usize>, name: &str) -> Option<CommandMethod> {
        let Some(line) = given(&mirror.command) else {
            self.find(place, format!("mirror {name}: a provider \"command\" needs a \"command\""));
            return None;
        };
        let Some(program) = Program::parse(line.get_ref()) else {
            self.find(
                &line.span(),
                format!("command: {:?} is no program with its arguments", line.get_ref()),
            );
            return None;
        };
        for (pattern, key) in
            [(&mirror.fail_on_match, "fail_on_match"), (&mirror.size_pattern, "size_pattern")]
        {
            if let Some(pattern) = given(pattern)
                && let Err(error) = regex::Regex::new(pattern.get_ref())
            {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default();
                self.find(
                    &pattern.span(),
                    format!("{key}: {:?} cannot be read: {reason}", pattern.get_ref()),
                );
            }
        }
        Some(CommandMethod {
            program,
            fail_on_match: text(&mirror.fail_on_match),
            size_pattern: text(&mirror.size_pattern),
            limits: self.limits(mirror)?,
        })
    }

    /// A job that is a transfer: in this process, or by a program where one is named or limited.
    fn transfer(
        &mut self,
        job: &mut Job,
        mirror: &Mirror,
        place: &Range<usize>,
        two_stages: bool,
    ) -> Option<()> {
        let name = job.name.clone();
        let upstream = mirror.upstream.as_ref().map_or_else(|| place.clone(), Spanned::span);
        let url = text(&mirror.upstream).unwrap_or_default();
        if !url.ends_with('/') {
            self.find(&upstream, format!("mirror {name}: upstream: rsync upstream URL should ends with /"));
            return None;
        }
        for (value, key) in [(&mirror.fail_on_match, "fail_on_match"), (&mirror.size_pattern, "size_pattern")]
        {
            if let Some(value) = given(value) {
                self.warn(
                    &value.span(),
                    format!("\"{key}\" has an effect for the provider \"command\" only"),
                );
            }
        }
        let mut words = Vec::new();
        let base: Vec<String> = match mirror.rsync_override.is_empty() || two_stages {
            true => DEFAULT_OPTIONS.iter().map(ToString::to_string).collect(),
            false => mirror.rsync_override.clone(),
        };
        words.extend(base);
        let only = is_on(&mirror.rsync_override_only) && !mirror.rsync_override.is_empty() && !two_stages;
        if !only {
            if !is_on(&mirror.rsync_no_timeout) {
                let seconds = given(&mirror.rsync_timeout).map_or(SILENCE, |time| *time.get_ref());
                words.push(format!("--timeout={seconds}"));
            }
            match (is_on(&mirror.use_ipv6), is_on(&mirror.use_ipv4)) {
                (true, _) => words.push("-6".to_owned()),
                (false, true) => words.push("-4".to_owned()),
                (false, false) => {}
            }
            if let Some(file) = text(&mirror.exclude_file) {
                words.push(format!("--exclude-from={file}"));
            }
            if !two_stages {
                words.extend(self.file.global.rsync_options.iter().cloned());
            }
            words.extend(mirror.rsync_options.iter().cloned());
        }
        job.upstreams = vec![Upstream {
            username: text(&mirror.username).or_else(|| mirror.env.get("USER").cloned()),
            password: mirror
                .password
                .clone()
                .or_else(|| mirror.env.get("RSYNC_PASSWORD").map(crate::Secret::new)),
            ..Upstream::new(url.clone())
        }];
        job.environment.remove("RSYNC_PASSWORD");
        job.options = words;
        if two_stages {
            self.stages(job, mirror, place)?;
        }
        self.by_program(job, mirror, &url, two_stages)
    }

    fn stages(&mut self, job: &mut Job, mirror: &Mirror, place: &Range<usize>) -> Option<()> {
        if !mirror.rsync_override.is_empty() || !self.file.global.rsync_options.is_empty() {
            let text =
                "a provider \"two-stage-rsync\" does not use \"rsync_override\" and the options of [global]";
            self.warn(place, format!("mirror {}: {text}", job.name));
        }
        let profile = mirror.stage1_profile.as_ref().map_or_else(|| place.clone(), Spanned::span);
        job.method = match text(&mirror.stage1_profile).unwrap_or_default().as_str() {
            "debian" => Method::TwoStage(Profile::Debian),
            "debian-oldstyle" => Method::TwoStage(Profile::DebianOldstyle),
            other => {
                let known = "there are debian and debian-oldstyle";
                self.find(
                    &profile,
                    format!("mirror {}: stage1_profile = {other:?} is unknown; {known}", job.name),
                );
                return None;
            }
        };
        Some(())
    }

    /// Where a program is named, or its memory limited, rsync runs as a program.
    fn by_program(&mut self, job: &mut Job, mirror: &Mirror, url: &str, two_stages: bool) -> Option<()> {
        let named = given(&mirror.command);
        let limited = given(&mirror.memory_limit);
        let Some(reason) = named.or(limited) else { return Some(()) };
        let limits = self.limits(mirror)?;
        if two_stages {
            let text = "a provider \"two-stage-rsync\" runs in this process; \"command\" and \"memory_limit\" \
                cannot apply: leave them out, or use the provider \"command\"";
            self.find(&reason.span(), format!("mirror {}: {text}", job.name));
            return None;
        }
        let mut words = match named.map(|line| shlex::split(line.get_ref())) {
            Some(Some(words)) if !words.is_empty() => words,
            None => vec!["rsync".to_owned()],
            _ => {
                self.find(&reason.span(), "command: it is no program with its arguments");
                return None;
            }
        };
        words.append(&mut job.options);
        // Its size is read from what it prints.
        words.extend(["--stats".to_owned(), url.to_owned(), job.destination.display().to_string()]);
        let upstream = job.upstreams.first().cloned();
        if let Some(upstream) = upstream {
            let variables = [
                ("USER", upstream.username),
                ("RSYNC_PASSWORD", upstream.password.map(|password| password.reveal().to_owned())),
            ];
            for (name, value) in variables {
                job.environment.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
        job.options = DEFAULT_OPTIONS.iter().map(ToString::to_string).collect();
        job.method = Method::Command(CommandMethod {
            program: Program::new(words)?,
            fail_on_match: None,
            size_pattern: Some(TOTAL_SIZE.to_owned()),
            limits,
        });
        Some(())
    }
}

fn count(value: &Placed<u32>) -> Option<u32> {
    given(value).map(|count| *count.get_ref())
}

/// An address of this machine, by number or name.
pub(super) fn resolve(address: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = address.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, port));
    }
    (address, port).to_socket_addrs().ok()?.next()
}

/// The control group of this process.
fn own_group() -> PathBuf {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    Path::new(CGROUPS).join(own)
}

/// A size as `256M`, in units of 1024.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches(['b', 'B']);
    let power = text.chars().last().and_then(|unit| "KMGT".find(unit.to_ascii_uppercase()));
    let number: u64 = if power.is_some() { &text[..text.len() - 1] } else { text }.parse().ok()?;
    number.checked_mul(1024_u64.checked_pow(power.map_or(0, |power| u32::try_from(power).unwrap_or(0) + 1))?)
}
