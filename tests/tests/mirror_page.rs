//! The status page in a real browser, with and without scripts, wide and narrow (spec 11 §2).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::PathBuf;

use rsync_e2e::browser::Browser;
use rsync_e2e::daemon::Module;
use rsync_e2e::{Daemon, Side, Site, Tree, Work, wait_until};

/// A site with a mirror that is in sync, one that takes minutes, and one whose upstream is not there.
struct Place {
    site: Site,
    _daemon: Daemon,
    _upstream: Work,
}

fn place() -> Place {
    let upstream = Work::new();
    Tree::new().file("a.txt", "one\n").random("b.bin", 70_000, 7).write(&upstream.join("m"));
    Tree::new().random("large.bin", 30_000_000, 1).write(&upstream.join("slow"));
    let modules = ["m", "slow"].map(|name| Module::new(name, &upstream.join(name)));
    let daemon = Daemon::start(Side::C, "", &modules);
    let job = |name: &str, module: &str, more: &str| {
        format!("[[job]]\nname = '{name}'\nupstream = '{}/'\n{more}\n", daemon.url(module))
    };
    let jobs = job("alpine", "m", "description = '<b>Linux</b> & more'")
        + &job("large", "slow", "bandwidth = 300")
        + &job("gone", "nowhere", "retry = { attempts = 1 }");
    let mut site = Site::new("token = 'a token of sixteen'", &jobs);
    site.start();
    site.wait_status("alpine", "success");
    site.wait_status("gone", "failed");
    site.wait_for("large", |job| job["progress"]["done"].as_u64() > Some(0));
    Place { site, _daemon: daemon, _upstream: upstream }
}

impl Place {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.site.address(0))
    }
}

/// Where pictures go, for people: a directory that `E2E_PICTURES` names, else one that goes away.
fn picture(site: &Site, name: &str) -> PathBuf {
    match std::env::var_os("E2E_PICTURES") {
        Some(directory) => PathBuf::from(directory).join(name),
        None => site.file(name),
    }
}

fn row(job: &str) -> String {
    format!("tr[data-job={job}]")
}

#[test]
fn the_page_shows_every_mirror_and_keeps_itself_up_to_date() {
    let place = place();
    let browser = Browser::start(1300, true);
    browser.open(&place.url("/"));
    assert!(browser.text(&row("alpine")).contains("in sync"), "{}", browser.text("main"));
    assert!(browser.text(&row("alpine")).contains("<b>Linux</b> & more"), "text is no markup");
    assert!(browser.text(&row("gone")).contains("failed"));
    let shown = || browser.text(&format!("{} .progress", row("large")));
    let before = shown();
    assert!(before.contains('%'), "{before}");
    wait_until("progress", || shown() != before);
    // Changed by somebody else, and seen without a reload.
    place.site.control("disable", &["alpine"]).expect_ok();
    wait_until("the news", || browser.text(&row("alpine")).contains("disabled"));
    let loads = browser.value("performance.getEntriesByType('resource').map(entry => entry.name)");
    let own = loads.as_array().unwrap().iter().all(|url| url.as_str().unwrap().starts_with(&place.url("/")));
    assert!(own, "nothing comes from elsewhere: {loads}");
    browser.picture(&picture(&place.site, "index.png"));
    assert!(fs::metadata(picture(&place.site, "index.png")).unwrap().len() > 10_000);
}

#[test]
fn who_has_the_token_starts_and_stops_and_reads_logs() {
    let place = place();
    let browser = Browser::start(1300, true);
    browser.open(&place.url("/mirrors/large"));
    assert_eq!(browser.value("document.querySelectorAll('.actions button').length"), 0);
    browser.open(&place.url("/login"));
    browser.type_into("#token", "something else");
    browser.click(".login button");
    assert!(browser.text("main").to_lowercase().contains("token"), "{}", browser.text("main"));
    assert_eq!(browser.value("document.cookie"), "", "nothing that a script can read");
    browser.open(&place.url("/login"));
    browser.type_into("#token", "a token of sixteen");
    browser.click(".login button");
    // Another page that is opened too early would cut the answer off.
    wait_until("the login", || {
        let menu = browser.value("document.querySelector('nav')?.innerText");
        menu.as_str().is_some_and(|menu| menu.contains("Log out"))
    });
    browser.open(&place.url("/mirrors/large"));
    wait_until("progress", || browser.text("[data-live]").contains('%'));
    browser.click("form[action$='/stop'] button");
    place.site.wait_status("large", "paused");
    wait_until("its state", || browser.text("h1").contains("stopped"));
    browser.click("form[action$='/start'] button");
    place.site.wait_for("large", |job| job["status"] == "syncing");
    browser.open(&place.url("/mirrors/gone/log"));
    assert!(browser.text("pre.log").contains("Unknown module 'nowhere'"), "{}", browser.text("main"));
    place.site.control("start", &["alpine"]).expect_ok();
    browser.open(&place.url("/mirrors/alpine"));
    wait_until("a plot", || {
        browser.open(&place.url("/mirrors/alpine"));
        browser.value("document.querySelectorAll('svg.plot rect').length").as_u64() >= Some(2)
    });
    browser.picture(&picture(&place.site, "mirror.png"));
}

#[test]
fn everything_can_be_read_without_scripts_and_on_a_narrow_screen() {
    let place = place();
    for (width, runs_scripts) in [(1300, false), (500, true)] {
        let browser = Browser::start(width, runs_scripts);
        browser.open(&place.url("/"));
        for (job, state) in [("alpine", "in sync"), ("gone", "failed"), ("large", "syncing")] {
            assert!(browser.text(&row(job)).contains(state), "{}", browser.text("main"));
        }
        let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(overflow), 0, "nothing sticks out at {width}");
        browser.picture(&picture(&place.site, &format!("index-{width}.png")));
        browser.click(&format!("{} .name a", row("gone")));
        assert!(browser.text("main").contains("Unknown module 'nowhere'"), "{}", browser.text("main"));
        browser.picture(&picture(&place.site, &format!("mirror-{width}.png")));
    }
}
