//! Reads the files, merges what jobs inherit, and checks what no type can.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::settings::{CronText, Extras, ScheduleText, Site, SiteJob};
use super::source::{Finding, Findings, Table, Texts, unknown};
use super::{About, Config};
use crate::Secret;
use crate::job::{Job, check_job};
use crate::schedule::{CronTimes, Limits, Rules, Timetable, When};
use crate::web::check_address;

/// Keys of a file as a whole.
const TOP: &[&str] = &["include", "site", "limits", "defaults", "profile", "job"];
/// Keys of a job that this module reads itself.
const OWN: &[&str] = &["inherit", "upstream"];
/// Tables that choose one thing of several, so a nearer one replaces a farther one.
const CHOICES: &[&str] = &["schedule", "method", "publish"];
/// A lease is renewed three times in its life, by a machine that may be slow.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

pub(super) fn load(path: &Path) -> Result<Config, Vec<Finding>> {
    let (texts, unread) = read_files(path);
    let mut findings = Findings::new(&texts);
    unread.into_iter().for_each(|finding| findings.add(finding));
    let config = read(&mut findings, &texts);
    match config {
        Some(config) if findings.is_clean() => Ok(config),
        _ => Err(findings.into_vec()),
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
    let patterns = texts.files().first().map(|file| includes(file.text())).unwrap_or_default();
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut bad = Vec::new();
    for pattern in patterns {
        let whole = directory.join(&pattern);
        match glob::glob(&whole.to_string_lossy()) {
            Ok(found) => {
                let files: BTreeSet<PathBuf> = found.filter_map(Result::ok).collect();
                if files.is_empty() && !pattern.contains(['*', '?', '[']) {
                    bad.push(Finding::of_file(&whole, "it is included and does not exist".to_owned()));
                }
                files.iter().for_each(|file| add(file, &mut texts));
            }
            Err(error) => bad.push(Finding::of_file(path, format!("include {pattern:?}: {error}"))),
        }
    }
    unread.extend(bad);
    (texts, unread)
}

fn includes(text: &str) -> Vec<String> {
    let (table, _) = DeTable::parse_recoverable(text);
    let Some(list) = table.get_ref().get("include") else { return Vec::new() };
    match list.get_ref() {
        DeValue::String(pattern) => vec![pattern.to_string()],
        DeValue::Array(patterns) => {
            patterns.iter().filter_map(|pattern| pattern.get_ref().as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

/// A table with its place.
type Placed<'a> = (Range<usize>, Table<'a>);

/// The tables of all files.
#[derive(Default)]
struct Tables<'a> {
    site: Placed<'a>,
    limits: Placed<'a>,
    defaults: Placed<'a>,
    profiles: BTreeMap<String, Placed<'a>>,
    jobs: Vec<Placed<'a>>,
}

fn read<'a>(findings: &mut Findings<'a>, texts: &'a Texts) -> Option<Config> {
    let mut tables = Tables::default();
    for (index, file) in texts.files().iter().enumerate() {
        let table = findings.parse_text(file);
        collect(&mut tables, table, index == 0, findings);
    }
    let (span, table) = std::mem::take(&mut tables.site);
    let mut site: Option<Site> = findings.interpret(table, &span, &[]);
    if let Some(site) = &mut site {
        finish_site(site, &span, findings);
    }
    let (limits_span, table) = std::mem::take(&mut tables.limits);
    let limits: Option<Limits> = findings.interpret(table, &limits_span, &[]);
    // Jobs of a site that cannot be read are read all the same, to find what is wrong with them.
    let surroundings = site.clone().unwrap_or_default();
    let mut names: BTreeMap<String, Range<usize>> = BTreeMap::new();
    let mut jobs = Vec::new();
    for (span, table) in std::mem::take(&mut tables.jobs) {
        let place = table.get("name").map_or_else(|| span.clone(), Spanned::span);
        let Some(job) = read_job((span, table), &tables, &surroundings, findings) else { continue };
        if names.insert(job.job.name.clone(), place.clone()).is_some() {
            findings.find(&place, format!("there is another job named {:?}", job.job.name));
        }
        jobs.push(job);
    }
    jobs.sort_by(|a: &SiteJob, b: &SiteJob| a.job.name.cmp(&b.job.name));
    Some(Config { site: site?, limits: limits?, jobs })
}

fn collect<'a>(tables: &mut Tables<'a>, table: Table<'a>, is_main: bool, findings: &mut Findings<'_>) {
    for (key, value) in table {
        let (key_span, span) = (key.span(), value.span());
        let name = key.into_inner();
        if !is_main && matches!(name.as_ref(), "include" | "site" | "limits" | "defaults") {
            findings
                .find(&key_span, format!("{name:?} may stand in the main file only, not in an included one"));
            continue;
        }
        match (name.as_ref(), value.into_inner()) {
            ("site", DeValue::Table(inner)) => tables.site = (span, inner),
            ("limits", DeValue::Table(inner)) => tables.limits = (span, inner),
            ("defaults", DeValue::Table(inner)) => tables.defaults = (span, inner),
            ("profile", DeValue::Table(profiles)) => add_profiles(tables, profiles, findings),
            ("job", DeValue::Array(jobs)) => {
                for job in jobs {
                    let span = job.span();
                    match job.into_inner() {
                        DeValue::Table(table) => tables.jobs.push((span, table)),
                        _ => findings.find(&span, "a job is a table, as [[job]]"),
                    }
                }
            }
            ("job", _) => findings.find(&span, "jobs are written [[job]], with two brackets"),
            ("include", DeValue::String(_) | DeValue::Array(_)) => {}
            ("include", _) => findings.find(&span, "\"include\" is a pattern of paths or a list of them"),
            (known, _) if TOP.contains(&known) => findings.find(&span, format!("[{known}] is a table")),
            (other, _) => findings.find(&key_span, unknown("key", other, TOP)),
        }
    }
}

fn add_profiles<'a>(tables: &mut Tables<'a>, profiles: Table<'a>, findings: &mut Findings<'_>) {
    for (key, value) in profiles {
        let (key_span, span) = (key.span(), value.span());
        let name = key.into_inner().into_owned();
        match value.into_inner() {
            DeValue::Table(_) if tables.profiles.contains_key(&name) => {
                findings.find(&key_span, format!("there is another profile named {name:?}"));
            }
            DeValue::Table(table) => drop(tables.profiles.insert(name, (span, table))),
            _ => findings.find(&span, "a profile is a table, as [profile.NAME]"),
        }
    }
}

fn finish_site(site: &mut Site, span: &Range<usize>, findings: &mut Findings<'_>) {
    if let Some(zone) = &site.zone
        && let Err(error) = jiff::tz::TimeZone::get(zone)
    {
        findings.find(span, format!("zone: {error}"));
    }
    if site.url.as_ref().is_some_and(|url| url.ends_with('/')) {
        findings.find(span, "the site's \"url\" must not end in \"/\"");
    }
    if let Some(error) = site.notify.url.as_ref().and_then(|url| check_address(url).err()) {
        findings.find(span, error.to_string());
    }
    if site.lease < SHORTEST_LEASE {
        findings.find(span, "the site's \"lease\" is too short; it is at least one second");
    }
    if site.worker.as_ref().is_some_and(|name| name.is_empty() || name.contains(['#', '/'])) {
        findings.find(span, "the site's \"worker\" is no name: it has no \"/\" and no \"#\"");
    }
    if site.mirrorz.as_ref().is_some_and(|mirrorz| mirrorz.abbr.is_empty() || site.url.is_none()) {
        findings.find(span, "[site.mirrorz] needs \"abbr\", and [site] an \"url\"");
    }
    if let Some(path) = &site.token_file {
        match std::fs::read_to_string(path) {
            Ok(token) if token.trim().is_empty() => {
                findings.find(span, format!("{} is empty", path.display()))
            }
            Ok(token) => site.token = Some(Secret::new(token.trim())),
            Err(error) => findings.find(span, format!("token_file {}: {error}", path.display())),
        }
    }
}

fn read_job(
    own: Placed<'_>,
    tables: &Tables<'_>,
    site: &Site,
    findings: &mut Findings<'_>,
) -> Option<SiteJob> {
    let (span, table) = own;
    let before = findings.count();
    let mut merged = table;
    inherit(&mut merged, tables, &mut BTreeSet::new(), findings);
    merge(&mut merged, &tables.defaults.1);
    complete(&mut merged, &span, site, findings)?;
    let mut extras = Table::new();
    for key in Extras::KEYS {
        if let Some((name, value)) = merged.remove_entry(*key) {
            extras.insert(name, value);
        }
    }
    let known: Vec<&str> = Extras::KEYS.iter().chain(OWN).copied().collect();
    let schedule_span = extras.get("schedule").map_or_else(|| span.clone(), Spanned::span);
    let name_span = merged.get("name").map_or_else(|| span.clone(), Spanned::span);
    let extras: Option<Extras> = findings.interpret(extras, &span, &known);
    let job: Option<Job> = findings.interpret(merged, &span, &known);
    let (extras, mut job) = (extras?, job?);
    if job.name.is_empty() || job.name.contains('/') || job.name.starts_with('.') {
        findings
            .find(&name_span, format!("{:?} is no name for a job: no \"/\", no \".\" in front", job.name));
        return None;
    }
    job.options.extend(extras.extra_options.iter().cloned());
    // What is missing already need not be missed twice.
    if findings.count() == before
        && let Err(error) = check_job(&job)
    {
        findings.find(&span, error.to_string());
    }
    let when = match when(&extras.schedule, site) {
        Ok(when) => when,
        Err(error) => {
            findings.find(&schedule_span, error.to_string());
            return None;
        }
    };
    let mut groups = extras.groups.clone();
    groups.extend(job.mutex.clone());
    let yields = extras.yields.unwrap_or(matches!(when, When::Continuous { .. }));
    let host = job.upstreams.first().and_then(|upstream| host(&upstream.url));
    let timetable = Timetable { when, jitter: extras.jitter.unwrap_or_default() };
    Some(SiteJob {
        rules: Rules { timetable, host, groups, priority: extras.priority, yields },
        about: About {
            description: extras.description,
            help: extras.help,
            cname: extras.cname,
            url: extras.url,
            is_secondary: false,
        },
        windows: extras.bandwidth_windows,
        push_secret: extras.push_secret,
        health: extras.health,
        log_dir: extras.log_dir,
        stale_after: extras.stale_after,
        job,
    })
}

/// Adds what the profiles that the table names have, nearest first.
fn inherit<'a>(
    table: &mut Table<'a>,
    tables: &Tables<'a>,
    seen: &mut BTreeSet<String>,
    findings: &mut Findings<'_>,
) {
    let Some(parents) = table.remove("inherit") else { return };
    let names = match parents.get_ref() {
        DeValue::String(name) => vec![(parents.span(), name.to_string())],
        DeValue::Array(names) => {
            names.iter().map(|name| (name.span(), name.get_ref().as_str().unwrap_or("").to_owned())).collect()
        }
        _ => vec![(parents.span(), String::new())],
    };
    for (span, name) in names {
        let Some((_, profile)) = tables.profiles.get(&name) else {
            let known: Vec<&str> = tables.profiles.keys().map(String::as_str).collect();
            findings.find(&span, unknown("profile", &name, &known));
            continue;
        };
        if !seen.insert(name.clone()) {
            findings.find(&span, format!("profile {name:?} inherits from itself"));
            continue;
        }
        let mut profile = profile.clone();
        inherit(&mut profile, tables, seen, findings);
        seen.remove(&name);
        merge(table, &profile);
    }
}

/// Adds the keys of `farther` that `nearer` lacks, within tables too.
fn merge<'a>(nearer: &mut Table<'a>, farther: &Table<'a>) {
    for (key, value) in farther {
        match nearer.get_mut(key) {
            None => drop(nearer.insert(key.clone(), value.clone())),
            Some(own) if !CHOICES.contains(&key.get_ref().as_ref()) => {
                if let (DeValue::Table(own), DeValue::Table(farther)) = (own.get_mut(), value.get_ref()) {
                    merge(own, farther);
                }
            }
            Some(_) => {}
        }
    }
}

/// Gives the job what follows from the rest: `upstream` for one of `upstreams`, a destination.
fn complete(
    table: &mut Table<'_>,
    span: &Range<usize>,
    site: &Site,
    findings: &mut Findings<'_>,
) -> Option<()> {
    let name = table.get("name").and_then(|name| name.get_ref().as_str()).map(str::to_owned);
    let Some(name) = name else {
        findings.find(span, "a job needs a \"name\", which is a text");
        return None;
    };
    if let Some((key, url)) = table.remove_entry("upstream") {
        if table.contains_key("upstreams") {
            findings.find(&key.span(), "a job has \"upstream\" or \"upstreams\", not both");
        }
        let place = url.span();
        let mut upstream = Table::new();
        upstream.insert(named("url", place.clone()), url);
        let list = [Spanned::new(place.clone(), DeValue::Table(upstream))].into_iter().collect();
        table.insert(named("upstreams", key.span()), Spanned::new(place, DeValue::Array(list)));
    }
    if !table.contains_key("upstreams") {
        if !uses_command(table) {
            findings
                .find(span, format!("job {name:?} needs an \"upstream\" such as \"rsync://HOST/MODULE/\""));
        }
        let none = std::iter::empty().collect();
        table.insert(named("upstreams", span.clone()), Spanned::new(span.clone(), DeValue::Array(none)));
    }
    if let Some(DeValue::Table(health)) = table.get_mut("health").map(Spanned::get_mut) {
        // A backend of one's own may be asked every few seconds, somebody else's server not.
        for (key, value) in [("l7", "module"), ("interval", "5m"), ("timeout", "20s")] {
            let value = || Spanned::new(span.clone(), DeValue::String(value.into()));
            health.entry(named(key, span.clone())).or_insert_with(value);
        }
    }
    if !table.contains_key("destination") {
        let Some(directory) = &site.mirror_dir else {
            let hint = "a \"destination\", unless [site] has a \"mirror_dir\"";
            findings.find(span, format!("job {name:?} needs {hint}"));
            return None;
        };
        let path = directory.join(&name).to_string_lossy().into_owned();
        let value = DeValue::String(path.into());
        table.insert(named("destination", span.clone()), Spanned::new(span.clone(), value));
    }
    Some(())
}

fn uses_command(table: &Table<'_>) -> bool {
    let method = table.get("method").and_then(|method| method.get_ref().as_table());
    method.is_some_and(|method| method.contains_key("command"))
}

fn named<'a>(name: &'static str, span: Range<usize>) -> Spanned<DeString<'a>> {
    Spanned::new(span, DeString::Borrowed(name))
}

fn when(text: &ScheduleText, site: &Site) -> Result<When, crate::schedule::CronError> {
    Ok(match text {
        ScheduleText::Interval(every) => When::Interval(*every),
        ScheduleText::Continuous(min_pause) => When::Continuous { min_pause: *min_pause },
        ScheduleText::OnDemand => When::OnDemand,
        ScheduleText::Cron(CronText::Times(times)) => {
            When::Cron(CronTimes::new(times, site.zone.as_deref())?)
        }
        ScheduleText::Cron(CronText::Zoned(cron)) => {
            When::Cron(CronTimes::new(&cron.times, Some(&cron.zone))?)
        }
    })
}

/// The host of a URL of rsync; none for a path of this machine.
pub(crate) fn host(url: &str) -> Option<String> {
    let (rest, is_url) = match url.split_once("://") {
        Some((_, rest)) => (rest.split('/').next().unwrap_or(rest), true),
        None => (url, false),
    };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let (host, behind) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, behind)) => (host, behind),
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    if !is_url && (!behind.starts_with(':') || host.contains('/')) {
        return None;
    }
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}
