//! Commands for a site that runs: words to requests, answers to lines.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rsync_mirror::Secret;
use rsync_mirror::api::{ClientError, SiteAddress, SiteClient};
use rsync_mirror::config::Config;
use rsync_mirror::site::PushWords;
use serde_json::{Value, json};

use crate::arguments::{Control, List, Logs, OfJob, StartJob, Trigger};
use crate::say;

/// A site that does not do what it is told.
const FAILED: u8 = 1;
/// A site that is not there (EX_UNAVAILABLE).
const UNREACHABLE: u8 = 69;
/// A configuration or a word that cannot be used (EX_CONFIG).
const CONFIG: u8 = 78;

/// Ends a command with what the site said.
fn finish(answer: Result<String, u8>) -> u8 {
    match answer {
        Ok(text) => {
            print(&text);
            0
        }
        Err(code) => code,
    }
}

fn print(text: &str) {
    if !text.is_empty() {
        // Whoever does not read on has read enough.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'));
    }
}

/// Talks to the site in a small runtime.
fn talk<T>(
    control: &Control,
    exchange: impl AsyncFnOnce(SiteClient) -> Result<T, ClientError>,
) -> Result<T, u8> {
    let client = SiteClient::new(address(control)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        say(&format!("cannot start: {error}"));
        FAILED
    })?;
    runtime.block_on(exchange(client)).map_err(|error| {
        say(&error.to_string());
        match error {
            ClientError::Unreachable { .. } => UNREACHABLE,
            _ => FAILED,
        }
    })
}

fn address(control: &Control) -> Result<SiteAddress, u8> {
    if let Some(host) = &control.api {
        let token = match &control.token_file {
            None => None,
            Some(path) => match std::fs::read_to_string(path) {
                Ok(token) => Some(Secret::new(token.trim())),
                Err(error) => {
                    say(&format!("{}: {error}", path.display()));
                    return Err(CONFIG);
                }
            },
        };
        return Ok(SiteAddress::Http(host.clone(), token));
    }
    match &control.config {
        None => Ok(SiteAddress::Socket(control.socket.clone())),
        Some(path) => match Config::load(path) {
            Ok(config) => Ok(SiteAddress::Socket(config.site.socket())),
            Err(error) => {
                say(&error.to_string());
                Err(CONFIG)
            }
        },
    }
}

/// Tells a job something.
pub(crate) fn tell(arguments: &OfJob, word: &str) -> u8 {
    let OfJob { control, jobs } = arguments;
    finish(talk(control, async |client| {
        let mut said = Vec::new();
        for job in jobs {
            said.push((job.as_str(), client.post(&["jobs", job, word], None).await?));
        }
        Ok(told(control, &said))
    }))
}

/// What a site said to each job.
fn told(control: &Control, said: &[(&str, String)]) -> String {
    if control.json {
        let said: Vec<Value> =
            said.iter().map(|(job, message)| json!({ "job": job, "message": message })).collect();
        return json!(said).to_string();
    }
    said.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("\n")
}

/// Starts a job.
pub(crate) fn start(arguments: &StartJob) -> u8 {
    let body = json!({ "force": arguments.force, "accept": arguments.accept });
    finish(talk(&arguments.control, async |client| {
        let said = client.post(&["jobs", &arguments.job, "start"], Some(&body)).await?;
        Ok(told(&arguments.control, &[(&arguments.job, said)]))
    }))
}

/// Reads the configuration again.
pub(crate) fn reload(control: &Control) -> u8 {
    finish(talk(control, async |client| {
        let message = client.post(&["reload"], None).await?;
        Ok(if control.json { json!({ "message": message }).to_string() } else { message })
    }))
}

/// Says whether the site is there.
pub(crate) fn ping(control: &Control) -> u8 {
    finish(talk(control, async |client| {
        let site = client.get(&["site"]).await?;
        let jobs = site["jobs"].as_array().map_or(0, Vec::len);
        if control.json {
            let part = |key: &str| site[key].clone();
            let site = json!({
                "name": part("name"), "worker": part("worker"), "jobs": jobs,
                "running": part("running"), "queued": part("queued"), "stopping": part("stopping"),
            });
            return Ok(site.to_string());
        }
        let name = site["name"].as_str().unwrap_or_default();
        Ok(format!("{name}: {jobs} jobs, {} running", site["running"]))
    }))
}

/// Prints the log of a run.
pub(crate) fn logs(arguments: &Logs) -> u8 {
    finish(talk(&arguments.control, async |client| {
        let log = arguments.run.as_ref().map_or_else(|| "log".to_owned(), |run| format!("log?run={run}"));
        let text = client.text(&["jobs", &arguments.job, &log]).await?;
        if !arguments.control.json {
            return Ok(text);
        }
        let lines: Vec<&str> = text.lines().collect();
        Ok(json!({ "job": arguments.job, "run": arguments.run, "lines": lines }).to_string())
    }))
}

/// Tells the site that upstreams have news, in its own words or in those of ftpsync.
pub(crate) fn trigger(arguments: &Trigger) -> u8 {
    let jobs = if arguments.ssh {
        let original = std::env::var("SSH_ORIGINAL_COMMAND").ok();
        match PushWords::parse(original.as_deref(), &arguments.words) {
            Ok(words) => words.jobs(&arguments.allow),
            Err(error) => Err(error),
        }
    } else {
        Ok(arguments.words.clone())
    };
    match jobs {
        Ok(jobs) => tell(&OfJob { control: arguments.control.clone(), jobs }, "push"),
        Err(error) => {
            say(&error.to_string());
            CONFIG
        }
    }
}

/// Prints the jobs.
pub(crate) fn list(arguments: &List) -> u8 {
    finish(talk(&arguments.control, async |client| {
        let mut jobs = client.get(&["jobs"]).await?;
        if let (Some(jobs), false) = (jobs.as_array_mut(), arguments.status.is_empty()) {
            jobs.retain(|job| arguments.status.iter().any(|status| job["status"] == **status));
        }
        Ok(if arguments.control.json { format!("{jobs:#}") } else { table(&jobs) })
    }))
}

/// The jobs as people read them.
fn table(jobs: &Value) -> String {
    let zone = TimeZone::system();
    let moment = |value: &Value| {
        let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        time.map_or_else(
            || "-".to_owned(),
            |time| time.to_zoned(zone.clone()).strftime("%F %H:%M").to_string(),
        )
    };
    let head = ["MIRROR", "STATE", "SIZE", "LAST SYNC", "NEXT SYNC", ""].map(str::to_owned);
    let mut lines = vec![head];
    for job in jobs.as_array().into_iter().flatten() {
        let text = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
        let elsewhere = job["elsewhere"].as_str();
        let state = match (job["condition"].as_str(), job["progress"]["percent"].as_u64()) {
            _ if elsewhere.is_some() => format!("{} at {}", text("status"), elsewhere.unwrap_or_default()),
            (_, Some(percent)) => format!("{} {percent}%", text("status")),
            (Some("stale"), _) => format!("{}, stale", text("status")),
            _ => text("status"),
        };
        let size = job["size_text"].as_str().map(str::to_owned);
        let size = size.or_else(|| job["size"].as_u64().map(rsync_mirror::api::size_in_words));
        let next = if job["queued_since"].is_null() { moment(&job["next"]) } else { "waiting".to_owned() };
        let size = size.unwrap_or_else(|| "-".to_owned());
        // What was wrong with the run before says nothing about the one that goes on.
        let message = if job["progress"].is_null() { text("message") } else { String::new() };
        let message = if message.is_empty() { ill(&job["upstreams"]) } else { message };
        lines.push([text("name"), state, size, moment(&job["last_update"]), next, message]);
    }
    aligned(&lines)
}

/// Which upstreams are not well, in words.
fn ill(upstreams: &Value) -> String {
    let ill = upstreams.as_array().into_iter().flatten();
    let ill = ill.filter(|one| matches!(one["state"].as_str(), Some("busy" | "down")));
    let words = ill.map(|one| {
        let part = |key: &str| one[key].as_str().unwrap_or_default();
        format!("{} is {} ({})", part("url"), part("state"), part("reason"))
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Columns as wide as their widest cell, in characters.
fn aligned(lines: &[[String; 6]]) -> String {
    let widths: Vec<usize> = (0..6)
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                2 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
