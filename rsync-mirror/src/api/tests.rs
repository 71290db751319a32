use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::Value;
use tower_service::Service;

use super::server::Admission;
use super::*;
use crate::Secret;
use crate::job::Class;
use crate::site::tests::{World, job};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

fn ask(router: &Router, request: Request<Body>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let response = router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let is_stream =
            parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let bytes = if is_stream { Vec::new().into() } else { to_bytes(body, 1 << 24).await.unwrap() };
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    })
}

fn request(method: &str, path: &str, admission: Admission) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(admission);
    request
}

fn get(router: &Router, path: &str) -> Answer {
    ask(router, request("GET", path, Admission::Public))
}

fn with(mut request: Request<Body>, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    *request.body_mut() = Body::from(body.to_owned());
    request
}

fn site(text: &str) -> (World, Router) {
    let world = World::new(text);
    let router = router(world.site.clone());
    (world, router)
}

#[test]
fn the_description_has_every_address_of_the_api_and_no_other() {
    let (_world, router) = site(&job("a"));
    let document = get(&router, "/api/v1/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    for route in routes::all().iter().filter(|route| route.path.starts_with("/api/")) {
        assert!(paths.contains_key(route.path), "{} is not described", route.path);
    }
    for (path, operations) in paths {
        let address = path.replace("{job}", "a");
        for (method, operation) in operations.as_object().unwrap() {
            // The operator may everything; the log of a job that never ran is the only thing missing.
            let answer = ask(&router, request(&method.to_uppercase(), &address, Admission::Trusted));
            let is_known =
                answer.status.is_success() || address.ends_with("/log") || address == "/mirrorz.json";
            assert!(is_known, "{method} {address}: {} {}", answer.status, answer.text);
            let other = if method == "get" { "PUT" } else { "GET" };
            let answer = ask(&router, request(other, &address, Admission::Trusted));
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{other} {address}");
            for schema in references(operation) {
                assert!(document.pointer(&schema).is_some(), "{schema} is missing");
            }
        }
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key == "$ref" => vec![text.trim_start_matches('#').to_owned()],
                value => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_keys_of_a_job_are_those_that_are_described() {
    let (world, router) = site(&job("a"));
    world.step();
    let described = get(&router, "/api/v1/openapi.json").json();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let found = get(&router, "/api/v1/jobs/a").json();
    assert_eq!(keys(&found), keys(&described["components"]["schemas"]["Job"]["properties"]));
    assert_eq!(found["status"], "pre-syncing");
    world.end("a", Class::Good);
    let runs = get(&router, "/api/v1/jobs/a/runs").json();
    assert_eq!(keys(&runs[0]), keys(&described["components"]["schemas"]["Runs"]["items"]["properties"]));
}

#[test]
fn only_who_has_the_token_may_change_something() {
    let (world, router) = site(&(String::from("token = 't0ken'\n") + &job("a")));
    let stop = || request("POST", "/api/v1/jobs/a/stop", Admission::Public);
    assert_eq!(ask(&router, stop()).status, StatusCode::UNAUTHORIZED);
    let wrong = with(stop(), &[("authorization", "Bearer token")], "");
    assert_eq!(ask(&router, wrong).status, StatusCode::UNAUTHORIZED);
    let cookie = format!("{}={}", access::COOKIE, access::proof(&Secret::new("t0ken"), b"session"));
    let session = with(stop(), &[("cookie", &cookie)], "");
    assert_eq!(ask(&router, session).status, StatusCode::UNAUTHORIZED, "a browser sends cookies unasked");
    assert_eq!(get(&router, "/api/v1/jobs/a").json()["status"], "none");
    let right = with(stop(), &[("authorization", "Bearer t0ken")], "");
    assert_eq!(ask(&router, right).status, StatusCode::OK);
    assert_eq!(get(&router, "/api/v1/jobs/a").json()["status"], "paused");
    let unknown = ask(&router, request("POST", "/api/v1/jobs/b/stop", Admission::Trusted));
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text.contains("did you mean"), "{}", unknown.text);
    drop(world);
    let (_world, router) = site(&job("a"));
    assert_eq!(ask(&router, stop()).status, StatusCode::FORBIDDEN, "without a token nobody may");
}

#[test]
fn a_push_needs_the_signature_of_the_job() {
    let (world, router) = site(&(job("a") + "push_secret = 's'\n"));
    world.step();
    let push = || request("POST", "/api/v1/jobs/a/push", Admission::Public);
    assert_eq!(ask(&router, push()).status, StatusCode::FORBIDDEN);
    let signature = format!("sha256={}", access::proof(&Secret::new("s"), b"news"));
    let signed = |body| with(push(), &[("x-hub-signature-256", &signature)], body);
    assert_eq!(ask(&router, signed("other news")).status, StatusCode::FORBIDDEN);
    for _ in 0..3 {
        assert_eq!(ask(&router, signed("news")).status, StatusCode::OK);
    }
    world.end("a", Class::Good);
    world.step();
    assert!(world.site.job("a").unwrap().progress.is_some(), "once more");
    world.end("a", Class::Good);
    world.step();
    assert!(world.site.job("a").unwrap().progress.is_none(), "and not again");
}

#[test]
fn the_page_can_be_read_without_a_script_and_shows_nothing_as_markup() {
    let description = "description = '<script>alert(1)</script>'\nhelp = 'https://help.example/?a=1&b=2'\n";
    let (world, router) = site(&(job("a") + description + &job("b")));
    world.step();
    world.end("b", Class::Permanent);
    let index = get(&router, "/");
    assert_eq!(index.status, StatusCode::OK);
    assert!(index.text.contains("2 mirrors · 1 syncing · 1 failing"), "{}", index.text);
    assert!(index.text.contains("it went wrong") && !index.text.contains("<script>alert"), "{}", index.text);
    assert!(index.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
    for (path, expected) in [
        ("/mirrors/a", "preparing"),
        ("/mirrors/b", "it went wrong"),
        ("/login", "no token"),
        ("/assets/style.css", "prefers-color-scheme: dark"),
        ("/assets/page.js", "EventSource"),
    ] {
        let page = get(&router, path);
        assert!(page.text.contains(expected), "{path}: {}", page.text);
        // No asset of anybody else.
        assert!(!page.text.contains("src=\"http"), "{path}");
    }
    assert_eq!(get(&router, "/mirrors/c").status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/mirrors/a/log").status, StatusCode::UNAUTHORIZED);
    world.end("a", Class::Good);
}

#[test]
fn a_session_of_the_page_presses_its_buttons_and_no_other_site_does() {
    let (_world, router) = site(&(String::from("token = 't0ken'\n") + &job("a")));
    let form = ("content-type", "application/x-www-form-urlencoded");
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        let headers: Vec<_> = headers.iter().copied().chain([form]).collect();
        ask(&router, with(request("POST", path, Admission::Public), &headers, body))
    };
    assert_eq!(post("/login", &[], "token=wrong").status, StatusCode::UNAUTHORIZED);
    let login = post("/login", &[], "token=t0ken");
    assert_eq!(login.status, StatusCode::SEE_OTHER);
    let cookie = login.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains("t0ken"), "{cookie}");
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    let forged = post("/mirrors/a/disable", &[cookie], "proof=00");
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    let page = ask(&router, with(request("GET", "/mirrors/a", Admission::Public), &[cookie], ""));
    let (_, rest) = page.text.split_once("name=\"proof\" value=\"").expect("a form");
    let proof = format!("proof={}", rest.split('"').next().unwrap());
    assert_eq!(post("/mirrors/a/disable", &[], &proof).status, StatusCode::UNAUTHORIZED, "no session");
    let done = post("/mirrors/a/disable", &[cookie], &proof);
    assert_eq!(
        (done.status, &done.headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/mirrors/a".parse().unwrap())
    );
    assert!(get(&router, "/").text.contains("disabled"));
}

#[test]
fn numbers_of_all_jobs_are_there_for_prometheus() {
    let (world, router) = site(&(job("a") + &job("b\\\"quoted")));
    world.step();
    world.end("a", Class::Good);
    let text = get(&router, "/metrics").text;
    for line in [
        "rsync_mirror_job_status{job=\"a\",status=\"success\"} 1",
        "rsync_mirror_job_status{job=\"a\",status=\"failed\"} 0",
        "rsync_mirror_job_exit_total{job=\"a\",code=\"0\",class=\"good\"} 1",
        "rsync_mirror_job_size_bytes{job=\"a\"} 4096",
        "rsync_mirror_job_last_success_timestamp_seconds{job=\"a\"} 1773144000",
        "rsync_mirror_queue_length 0",
        "rsync_mirror_job_status{job=\"b\\\\\\\"quoted\",status=\"pre-syncing\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    world.end("b\\\"quoted", Class::Good);
}

#[test]
fn programs_for_tunasync_read_what_they_know() {
    let (world, router) = site(&(job("a") + &job("b")));
    let never = get(&router, "/jobs").json();
    assert_eq!(never[0]["last_update"], "0001-01-01 00:00:00 +0000");
    assert_eq!(never[0]["last_update_ts"], -62_135_596_800_i64);
    assert_eq!((&never[0]["status"], &never[0]["size"]), (&"none".into(), &"unknown".into()));
    world.step();
    world.end("a", Class::Good);
    let jobs = get(&router, "/jobs").json();
    assert_eq!((&jobs[0]["status"], &jobs[0]["size"]), (&"success".into(), &"4.10K".into()));
    assert_eq!(jobs[0]["last_update"], "2026-03-10 12:00:00 +0000");
    assert_eq!(get(&router, "/ping").json()["message"], "pong");
    assert_eq!(get(&router, "/workers").json()[0]["token"], "REDACTED");
    let post =
        |path: &str, body: &str| ask(&router, with(request("POST", path, Admission::Trusted), &[], body));
    let sized = post("/workers/rsync-mirror/jobs/a/size", r#"{"name":"a","size":"1.2T"}"#);
    assert_eq!(sized.json()["size"], "1.2T");
    assert_eq!(get(&router, "/workers/rsync-mirror/jobs").json()[0]["size"], "1.2T");
    assert_eq!(get(&router, "/workers/other/jobs").json()["error"], "invalid workerID other");
    let command = |body: &str| post("/cmd", body);
    let answer = command(r#"{"cmd":"disable","mirror_id":"a","worker_id":"rsync-mirror"}"#);
    assert_eq!(answer.json()["message"], "successfully send command to worker rsync-mirror");
    assert_eq!(get(&router, "/jobs").json()[0]["status"], "disabled");
    let answer =
        command(r#"{"cmd":"start","mirror_id":"a","worker_id":"rsync-mirror","options":{"force":true}}"#);
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    world.step();
    assert_eq!(get(&router, "/jobs").json()[0]["status"], "pre-syncing");
    let wrong = command(r#"{"cmd":"explode","mirror_id":"a","worker_id":"rsync-mirror"}"#);
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let wrong = command(r#"{"cmd":"start","mirror_id":"a","worker_id":"x"}"#);
    assert_eq!(wrong.json()["error"], "worker x is not registered yet");
    let public = request("POST", "/cmd", Admission::Public);
    assert_eq!(ask(&router, public).status, StatusCode::FORBIDDEN);
    world.end("a", Class::Good);
    world.end("b", Class::Good);
}

#[test]
fn mirrorz_says_each_state_in_its_letters() {
    let head = "url = 'https://mirror.example'\nmirrorz = { abbr = 'EX', name = 'Example' }\n";
    let (world, router) =
        site(&(String::from(head) + &job("a") + "cname = 'Alpine'\n" + &job("b") + &job("c")));
    let state = |index: usize| {
        let status = get(&router, "/mirrorz.json").json()["mirrors"][index]["status"].clone();
        status.as_str().unwrap().to_owned()
    };
    assert_eq!(state(0), "U");
    world.step();
    assert_eq!(state(0), "D1773144000");
    world.end("a", Class::Good);
    world.end("b", Class::Permanent);
    world.site.disable("c").unwrap();
    world.end("c", Class::Good);
    assert_eq!(state(0), "S1773144000X1773147600");
    assert_eq!(state(1), "F1773144000X1773147600");
    assert_eq!(state(2), "P1773144000");
    let document = get(&router, "/mirrorz.json").json();
    assert_eq!((&document["site"]["abbr"], &document["version"]), (&"EX".into(), &1.7.into()));
    assert_eq!(
        (&document["mirrors"][0]["cname"], &document["mirrors"][0]["url"]),
        (&"Alpine".into(), &"/a".into())
    );
}
