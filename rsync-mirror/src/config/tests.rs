use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::health::ServiceCheck;
use crate::job::DEFAULT_OPTIONS;
use crate::schedule::When;

fn load(files: &[(&str, &str)]) -> (TempDir, Result<Config, ConfigError>) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let config = Config::load(&directory.path().join("mirrors.toml"));
    (directory, config)
}

fn good(text: &str) -> Config {
    load(&[("mirrors.toml", text)]).1.unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong, as `line:column text`.
fn wrong(text: &str) -> Vec<String> {
    let (_directory, config) = load(&[("mirrors.toml", text)]);
    let findings = config.expect_err("it is wrong").findings;
    findings.iter().map(|found| format!("{}:{} {}", found.line, found.column, found.text)).collect()
}

#[test]
fn a_job_inherits_from_its_profiles_and_the_defaults() {
    let config = good(
        r#"
        [site]
        mirror_dir = "/srv/mirror"
        zone = "UTC"
        [defaults]
        schedule = { interval = "6h" }
        timeouts = { io = "30s", total = "1h" }
        environment = { LANG = "C" }
        [profile.slow]
        timeouts = { total = "12h" }
        priority = -1
        [profile.debian]
        inherit = "slow"
        method = { two-stage = "debian" }
        [[job]]
        name = "debian"
        upstream = "rsync://user@Deb.Example.org:873/debian/"
        inherit = ["debian"]
        timeouts = { connect = "5s" }
        extra_options = ["--exclude=*.iso"]
        mutex = "disk1"
        [[job]]
        name = "alpine"
        upstreams = [{ url = "me@[2001:db8::1]::alpine/", weight = 2 }, { url = "/srv/alpine/" }]
        destination = "/data/alpine"
        schedule = { cron = "5 4 * * *" }
        "#,
    );
    let [alpine, debian] = config.jobs.as_slice() else { panic!("two jobs, by name") };
    let timeouts = &debian.job.timeouts;
    assert_eq!(timeouts.total, Some(Duration::from_secs(12 * 3600)), "the profile before the defaults");
    assert_eq!(timeouts.io, Some(Duration::from_secs(30)), "from the defaults");
    assert_eq!(timeouts.connect, Some(Duration::from_secs(5)), "its own");
    assert_eq!(debian.rules.priority, -1);
    assert_eq!(debian.job.destination, Path::new("/srv/mirror/debian"));
    assert_eq!(debian.rules.host.as_deref(), Some("deb.example.org"));
    assert_eq!(debian.rules.groups, ["disk1"]);
    assert_eq!(debian.job.options.len(), DEFAULT_OPTIONS.len() + 1);
    assert_eq!(debian.timetable().when, When::Interval(Duration::from_secs(6 * 3600)));
    assert!(matches!(&alpine.timetable().when, When::Cron(times) if times.to_string() == "5 4 * * * (UTC)"));
    assert_eq!(alpine.rules.host.as_deref(), Some("2001:db8::1"));
    assert_eq!(alpine.job.environment.get("LANG").map(String::as_str), Some("C"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let text = r#"[site]
mirror_dir = "/srv"
nmae = "x"
[limits]
total = "many"
[defaults]
shedule = 1
[[job]]
name = "a"
upstream = "rsync://a/a/"
intervall = "6h"
timeouts = { total = "soon", oi = "5s" }
[[job]]
name = "b"
schedule = { cron = "61 * * * *" }
upstream = "rsync://a/a/"
[[job]]
upstream = "rsync://a/a/"
[[job]]
name = "c"
inherit = "debain"
[profile.debian]
priority = 1
"#;
    let found = wrong(text);
    for expected in [
        r#"3:1 unknown key "nmae"; did you mean "name"?"#,
        r#"5:9 invalid type: string "many", expected a number that is not negative"#,
        r#"7:1 unknown key "shedule"; did you mean "schedule"?"#,
        r#"12:30 unknown key "oi"; did you mean "io"?"#,
        r#"17:1 a job needs a "name", which is a text"#,
        r#"21:11 unknown profile "debain"; did you mean "debian"?"#,
        r#"19:1 job "c" needs an "upstream" such as "rsync://HOST/MODULE/""#,
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected}\n{found:#?}");
    }
    let begins =
        |start: &str| assert!(found.iter().any(|line| line.starts_with(start)), "{start} {found:#?}");
    begins(r#"11:1 unknown key "intervall"; known here: "#);
    begins("12:22 ");
    begins(r#"15:12 "61 * * * *" is no schedule of cron: "#);
    assert_eq!(found.len(), 10, "the mistake of the defaults is told once: {found:#?}");
}

#[test]
fn broken_toml_is_told_beside_what_else_is_wrong() {
    let found = wrong("[site]\nname = \nhistry = 3\n");
    assert!(found[0].starts_with("2:"), "{found:?}");
    assert!(found.iter().any(|line| line.contains("did you mean \"history\"?")), "{found:?}");
}

#[test]
fn included_files_bring_jobs_and_profiles_and_their_mistakes_are_told_with_their_name() {
    let job = "[[job]]\nname = \"a\"\nupstream = \"rsync://a/a/\"\n";
    let main = "include = [\"conf.d/*.toml\"]\n[site]\nmirror_dir = \"/srv\"\n";
    let (_directory, config) = load(&[("mirrors.toml", main), ("conf.d/a.toml", job)]);
    assert_eq!(config.unwrap().jobs.len(), 1);
    let more = format!("{job}priority = \"high\"\n[site]\n");
    let files = [("mirrors.toml", main), ("conf.d/a.toml", job), ("conf.d/b.toml", &more)];
    let (_directory, config) = load(&files);
    let text = config.unwrap_err().to_string();
    assert!(text.contains("conf.d/b.toml:4:12: invalid type"), "{text}");
    assert!(text.contains("conf.d/b.toml:5:"), "{text}");
    assert!(text.lines().all(|line| line.contains("b.toml")), "{text}");
    let main = format!("include = \"gone.toml\"\n{main}").replace("include = [\"conf.d/*.toml\"]\n", "");
    let (_directory, config) = load(&[("mirrors.toml", &main)]);
    assert!(config.unwrap_err().to_string().contains("gone.toml: it is included and does not exist"));
}

#[test]
fn names_are_unique_and_no_paths() {
    let job =
        |name: &str| format!("[[job]]\nname = \"{name}\"\nupstream = \"a::a/\"\ndestination = \"/d\"\n");
    assert_eq!(wrong(&(job("a") + &job("a"))), [r#"6:8 there is another job named "a""#]);
    assert_eq!(wrong(&job("../a")).len(), 1);
}

#[test]
fn secrets_are_not_shown() {
    let config = good(
        "[site]\ntoken = \"t0ken\"\n[[job]]\nname = \"a\"\ndestination = \"/d\"\npush_secret = \"s3cret\"\n\
         upstreams = [{ url = \"a::a/\", password = \"passw0rd\" }]\n",
    );
    let shown = format!("{config:?}");
    assert!(!["t0ken", "s3cret", "passw0rd"].iter().any(|secret| shown.contains(secret)), "{shown}");
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let error = Config::load(Path::new("/nonexistent/mirrors.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/mirrors.toml: cannot read it"), "{error}");
}

#[test]
fn the_keys_of_a_job_are_those_of_its_type() {
    // `interpret` is given one list; a field that is not on it would be refused as a key of `Job`.
    let everything = "schedule = 'on-demand'\njitter = '1s'\ngroups = ['g']\npriority = 1\nyields = true\n\
        bandwidth_windows = [{ from = '08:00', to = '18:00', rate = 5, days = ['mon'] }]\n\
        extra_options = ['-v']\nstale_after = '48h'\npush_secret = 's'\ndescription = 'd'\nhelp = 'h'\n\
        cname = 'c'\nurl = '/a'\nhealth = {}\nlog_dir = '/l'\n";
    let config = good(&format!("[[job]]\nname = 'a'\nupstream = 'a::a/'\ndestination = '/d'\n{everything}"));
    let job = &config.jobs[0];
    assert_eq!((job.about.url.as_deref(), job.windows.len()), (Some("/a"), 1));
    let health = job.health.as_ref().expect("checks");
    assert_eq!((health.interval.as_secs(), health.l7.clone()), (300, Some(ServiceCheck::Module(None))));
    assert_eq!(everything.matches(" = ").count() - 5 + 1, settings::Extras::KEYS.len());
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "[ -~\n]{0,200}") {
        let (_directory, _) = load(&[("mirrors.toml", &text)]);
    }

    #[test]
    fn no_change_of_a_good_file_breaks_the_reader(at in 0usize..220, with in "[ -~\n]{0,4}") {
        let base = "[site]\nmirror_dir = \"/srv\"\n[profile.p]\ninherit = \"p\"\n[[job]]\nname = \"a\"\n\
            upstreams = [{ url = \"rsync://a/a/\" }]\ninherit = [\"p\"]\nschedule = { cron = \"1 2 * * *\" }\n";
        let mut text = base.to_owned();
        let at = at.min(text.len());
        text.replace_range(at..(at + 3).min(text.len()), &with);
        let (_directory, _) = load(&[("mirrors.toml", &text)]);
    }
}
