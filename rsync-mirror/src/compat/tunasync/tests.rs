//! What each key of a `worker.conf` becomes.

use std::path::PathBuf;
use std::time::Duration;

use super::WorkerConfig;
use crate::config::SiteJob;
use crate::job::{Method, Profile};
use crate::schedule::When;

const HEAD: &str = "[global]\nname = 'w'\nlog_dir = '/log/{{.Name}}'\nmirror_dir = '/srv'\nconcurrent = 2\n\
    interval = 120\nrsync_options = ['--global']\nexec_on_success = ['a']\nretry = 3\ntimeout = 60\n\
    [manager]\napi_base = 'http://localhost:12345/'\n[server]\nhostname = 'h'\nlisten_port = 6000\n";

fn load(text: &str) -> Result<WorkerConfig, String> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("worker.conf");
    std::fs::write(&path, text).unwrap();
    let shown = format!("{}/", place.path().display());
    WorkerConfig::load(&path).map_err(|error| error.to_string().replace(&shown, ""))
}

fn mirrors(text: &str) -> Vec<SiteJob> {
    // Options of a test need not be those of rsync.
    let head = HEAD.replace("'--global'", "'--bwlimit=9'");
    load(&format!("{head}{text}")).unwrap().site.jobs
}

fn one(text: &str) -> SiteJob {
    mirrors(&format!("[[mirrors]]\nname = 'a'\n{text}")).remove(0)
}

const RSYNC: &str = "provider = 'rsync'\nupstream = 'rsync://host/a/'\n";

#[test]
fn a_worker_is_what_its_global_tables_say() {
    let config = load(HEAD).unwrap();
    assert_eq!(config.worker.url, "http://h:6000/");
    assert_eq!(config.worker.managers, ["http://localhost:12345"]);
    assert_eq!(config.site.limits.total, Some(2));
    assert_eq!(config.site.site.state_dir, PathBuf::from("/var/lib/rsync-mirror/worker-w"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn options_stand_in_the_order_of_tunasync() {
    let job = one(&format!("{RSYNC}use_ipv6 = true\nexclude_file = '/x'\nrsync_options = ['-z']\n")).job;
    assert_eq!(
        job.options[job.options.len() - 5..],
        ["--timeout=120", "-6", "--exclude-from=/x", "--bwlimit=9", "-z"]
    );
    assert_eq!(job.options[0], "-aHvh".replace('v', ""));
    let job = one(&format!("{RSYNC}rsync_override = ['-rt']\nrsync_timeout = 7\nuse_ipv4 = true\n")).job;
    assert_eq!(job.options, ["-rt", "--timeout=7", "-4", "--bwlimit=9"]);
    let job = one(&format!("{RSYNC}rsync_override = ['-rt']\nrsync_override_only = true\n")).job;
    assert_eq!(job.options, ["-rt"]);
    let job = one(&format!("{RSYNC}rsync_no_timeout = true\n")).job;
    assert!(!job.options.iter().any(|word| word.starts_with("--timeout")) && job.timeouts.io.is_none());
}

#[test]
fn a_mirror_has_its_own_values_then_those_around_it_then_the_global_ones() {
    let jobs = mirrors(
        "[[mirrors]]\nprovider = 'rsync'\nupstream = 'rsync://host/a/'\ninterval = 10\nrole = 'slave'\n\
         mirror_subdir = 'sub'\nexec_on_success = ['b']\nexec_on_success_extra = ['c']\n\
         [[mirrors.mirrors]]\nname = 'x'\ninterval = 0\nretry = 1\n\
         [[mirrors.mirrors]]\nname = 'y'\nmirror_dir = '/elsewhere'\ntimeout = 5\nexec_on_failure = ['d e']\n\
         [[mirrors]]\nname = 'z'\nprovider = 'command'\ncommand = 'true'\n",
    );
    let names: Vec<&str> = jobs.iter().map(|job| job.job.name.as_str()).collect();
    assert_eq!(names, ["x", "y", "z"]);
    let (x, y, z) = (&jobs[0], &jobs[1], &jobs[2]);
    assert_eq!(x.timetable().when, When::Interval(Duration::from_secs(600)), "0 is none");
    assert_eq!((x.job.retry.attempts, y.job.retry.attempts), (1, 3));
    assert_eq!(
        (x.job.timeouts.total, y.job.timeouts.total),
        (Some(Duration::from_secs(60)), Some(Duration::from_secs(5)))
    );
    assert_eq!(
        (&x.job.destination, &y.job.destination),
        (&PathBuf::from("/srv/sub/x"), &PathBuf::from("/elsewhere"))
    );
    assert_eq!(x.log_dir, Some(PathBuf::from("/log/x")));
    assert!(x.about.is_secondary && !z.about.is_secondary);
    let programs = |job: &SiteJob| {
        job.job.hooks.success.iter().map(|program| program.words().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!((programs(x), programs(z)), (vec!["b".to_owned(), "c".to_owned()], vec!["a".to_owned()]));
    assert_eq!(y.job.hooks.failure[0].words(), ["d", "e"]);
    assert_eq!(z.timetable().when, When::Interval(Duration::from_secs(7200)));
}

#[test]
fn two_stages_commands_and_named_programs_become_methods() {
    let stages = "provider = 'two-stage-rsync'\nupstream = 'rsync://host/a/'\nstage1_profile = 'debian'\n";
    assert_eq!(one(stages).job.method, Method::TwoStage(Profile::Debian));
    let command = "provider = 'command'\ncommand = 'get --all'\nsize_pattern = 'S (.*)'\nsuccess_exit_codes = [3]\n\
         env = { A = 'b' }\n";
    let job = one(command).job;
    let Method::Command(method) = &job.method else { panic!("{job:?}") };
    assert_eq!(
        (method.program.words(), method.size_pattern.as_deref()),
        (&["get".to_owned(), "--all".to_owned()][..], Some("S (.*)"))
    );
    assert_eq!((job.classes.good, job.environment["A"].as_str()), (vec![3], "b"));
    // A program in place of the built-in transfer gets the words that tunasync gives it; not the password.
    let job = one(&format!(
        "{RSYNC}command = '/opt/rsync'\nusername = 'me'\npassword = 's3cret'\nrsync_override = ['-rt']\n"
    ))
    .job;
    let Method::Command(method) = &job.method else { panic!("{job:?}") };
    assert_eq!(
        method.program.words(),
        ["/opt/rsync", "-rt", "--timeout=120", "--bwlimit=9", "--stats", "rsync://host/a/", "/srv/a"]
    );
    assert_eq!(
        (job.environment["USER"].as_str(), job.environment["RSYNC_PASSWORD"].as_str()),
        ("me", "s3cret")
    );
}

#[test]
fn a_password_is_a_secret_and_not_a_variable_of_hooks() {
    let job = one(&format!("{RSYNC}env = {{ RSYNC_PASSWORD = 's3cret', USER = 'me' }}\n")).job;
    assert!(!format!("{job:?}").contains("s3cret"));
    assert_eq!(job.upstreams[0].username.as_deref(), Some("me"));
}

#[test]
fn what_cannot_be_honoured_is_told_with_its_key_and_line() {
    for (text, told) in [
        (
            "provider = 'rsync'\nupstream = 'rsync://host/a'\n",
            "19:12: mirror a: upstream: rsync upstream URL should ends with /",
        ),
        ("provider = 'magic'\n", "18:12: mirror a: provider = \"magic\" is unknown"),
        (
            "provider = 'command'\ncommand = 'x'\ndocker_image = 'y'\n",
            "20:16: mirror a: docker_image is not supported",
        ),
        (
            "provider = 'command'\ncommand = 'x'\nsnapshot_path = '/y'\n",
            "20:17: mirror a: snapshot_path is not supported",
        ),
        ("provider = 'command'\ncommand = 'x'\nfail_on_match = '('\n", "20:17: fail_on_match"),
        (
            "provider = 'command'\ncommand = 'x'\nmemory_limit = '1G'\n",
            "20:16: memory_limit needs [cgroup] enable",
        ),
        (
            "provider = 'command'\ncommand = 'x'\nlog_dir = '/{{if}}'\n",
            "20:11: log_dir: {{if}} is not supported",
        ),
        ("provider = 'command'\ncommand = 'x'\nrole = 'king'\n", "20:8: role: \"king\""),
        ("provider = 'command'\ncommand = 'x'\nretry = 'often'\n", "20:9: "),
        ("provider = 'two-stage-rsync'\nupstream = 'rsync://h/a/'\n", "stage1_profile = \"\" is unknown"),
        (
            "provider = 'command'\ncommand = 'x'\n[btrfs_snapshot]\nenable = true\n",
            "21:10: [btrfs_snapshot] enable is not supported",
        ),
    ] {
        let error = load(&format!("{HEAD}[[mirrors]]\nname = 'a'\n{text}").replace("'--global'", "'-v'"))
            .unwrap_err();
        assert!(error.contains(told), "{text}\n{error}");
    }
    let error = load("[global]\nname = 'w'\n[[mirrors]]\nname = 'a'\nprovider = 'command'\ncommand = 'x'\n")
        .unwrap_err();
    assert!(error.contains("neither it nor [global] has a \"mirror_dir\""), "{error}");
}

#[test]
fn a_mistyped_key_is_told_beside_what_it_makes_missing() {
    let text = format!("{HEAD}[[mirrors]]\nname = 'a'\nprovder = 'rsync'\nupstream = 'rsync://host/a/'\n");
    let error = load(&text).unwrap_err();
    assert!(error.contains("mirror a: the key \"provider\" is missing"), "{error}");
    assert!(error.contains("18:1: warning: unknown key \"provder\"; did you mean \"provider\"?"), "{error}");
}

#[test]
fn unknown_keys_and_those_without_effect_are_warnings() {
    let text = format!(
        "{}token = 'x'\n[cgroup]\nenable = false\nbase_path = '/sys/fs/cgroup'\n\
         [[mirrors]]\nname = 'a'\n{RSYNC}colour = 'red'\n[new]\nkey = 1\n",
        HEAD.replace("[server]\nhostname = 'h'\nlisten_port = 6000\n", "").replace("'--global'", "'-v'")
    );
    let config = load(&text).unwrap();
    let told: Vec<String> =
        config.warnings.iter().map(|found| format!("{} {}", found.line, found.text)).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    for (warning, part) in told.iter().zip([
        "13 \"token\"",
        "16 \"base_path\"",
        "21 unknown key \"colour\"",
        "22 unknown key \"new\"",
    ]) {
        assert!(warning.starts_with(part), "{told:?}");
    }
}

#[test]
fn included_files_bring_mirrors() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("worker.conf");
    let head = HEAD.replace("'--global'", "'-v'");
    std::fs::write(&path, format!("{head}[include]\ninclude_mirrors = '{}/*.inc'\n", place.path().display()))
        .unwrap();
    let mirror = |name: &str| format!("[[mirrors]]\nname = '{name}'\n{RSYNC}");
    std::fs::write(place.path().join("one.inc"), mirror("one")).unwrap();
    std::fs::write(place.path().join("two.inc"), mirror("two")).unwrap();
    assert_eq!(WorkerConfig::load(&path).unwrap().site.jobs.len(), 2);
    std::fs::write(place.path().join("two.inc"), mirror("one")).unwrap();
    let error = WorkerConfig::load(&path).unwrap_err().to_string();
    assert!(error.contains("two.inc:2:8: there is another mirror named \"one\""), "{error}");
}

#[test]
fn what_our_jobs_can_do_beyond_is_in_tables_of_its_own() {
    let job = one(&format!(
        "{RSYNC}[mirrors.x_rsync_mirror]\nguard = {{ max_delete = '10%' }}\nstale_after = '48h'\n\
         publish = {{ generation = {{ keep = 3 }} }}\n"
    ));
    assert_eq!(job.stale_after, Some(Duration::from_secs(172_800)));
    assert!(job.job.guard.max_delete.is_some());
    assert_eq!(job.job.classes.permanent, Vec::<u8>::new());
    let text = format!(
        "{}[x_rsync_mirror]\nstrict_tunasync = true\n[[mirrors]]\nname = 'a'\n{RSYNC}",
        HEAD.replace("'--global'", "'-v'")
    );
    assert_eq!(load(&text).unwrap().site.jobs[0].job.classes.permanent, [24]);
}
