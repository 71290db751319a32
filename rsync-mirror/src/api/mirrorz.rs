//! `mirrorz.json`, version 1.7 (spec 11 §3.7).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::json::Refused;
use super::{Api, words};
use crate::config::Config;
use crate::job::Status;
use crate::site::{JobView, Site};

pub(super) async fn document(State(api): State<Api>) -> Result<Json<Value>, Refused> {
    let missing = "this site has no [site.mirrorz]";
    describe(&api.site).map(Json).ok_or_else(|| Refused(StatusCode::NOT_FOUND, missing.to_owned()))
}

fn describe(site: &Site) -> Option<Value> {
    let config = site.config();
    let mirrorz = config.site.mirrorz.as_ref()?;
    let mut about = Map::new();
    about.insert("url".to_owned(), json!(config.site.url.clone().unwrap_or_default()));
    about.insert("abbr".to_owned(), json!(mirrorz.abbr));
    for (key, value) in [
        ("name", &mirrorz.name),
        ("logo", &mirrorz.logo),
        ("logo_darkmode", &mirrorz.logo_darkmode),
        ("homepage", &mirrorz.homepage),
        ("issue", &mirrorz.issue),
        ("request", &mirrorz.request),
        ("email", &mirrorz.email),
        ("group", &mirrorz.group),
        ("disk", &mirrorz.disk),
        ("note", &mirrorz.note),
    ] {
        if let Some(value) = value {
            about.insert(key.to_owned(), json!(value));
        }
    }
    let mirrors: Vec<Value> = site.view().jobs.iter().map(|job| mirror(&config, job)).collect();
    Some(json!({ "version": 1.7, "site": about, "info": [], "mirrors": mirrors }))
}

fn mirror(config: &Config, job: &JobView) -> Value {
    let about = config.job(&job.name).map(|job| job.about.clone()).unwrap_or_default();
    let mut mirror = Map::new();
    mirror.insert("cname".to_owned(), json!(about.cname.unwrap_or_else(|| job.name.clone())));
    mirror.insert("url".to_owned(), json!(about.url.unwrap_or_else(|| format!("/{}", job.name))));
    mirror.insert("status".to_owned(), json!(status(job)));
    mirror.insert("upstream".to_owned(), json!(job.upstream));
    for (key, value) in [("desc", about.description), ("help", about.help)] {
        if let Some(value) = value {
            mirror.insert(key.to_owned(), json!(value));
        }
    }
    let size = job.size_text.clone().or_else(|| job.size.map(words::size));
    if let Some(size) = size {
        mirror.insert("size".to_owned(), json!(size));
    }
    Value::Object(mirror)
}

/// One main letter and auxiliary ones, each with a time.
pub(super) fn status(job: &JobView) -> String {
    let part = |letter: char, time: Option<jiff::Timestamp>| {
        time.map(|time| format!("{letter}{}", time.as_second())).unwrap_or_default()
    };
    let old = || part('O', job.last_update);
    let next = || part('X', job.next);
    match job.status {
        Status::Success => part('S', job.last_update) + &next(),
        Status::PreSyncing => part('D', job.last_started) + &old(),
        Status::Syncing => part('Y', job.last_started) + &old(),
        Status::Failed => part('F', job.last_ended) + &old() + &next(),
        Status::Paused | Status::Disabled => match job.last_ended {
            Some(ended) => part('P', Some(ended)) + &old(),
            None => "P".to_owned(),
        },
        Status::None => "U".to_owned(),
    }
}
