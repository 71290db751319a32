//! Two agents on a network that is only imagined, by a clock that is moved.

use std::io::{self, Write};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::ManualClock;
use crate::health::{Answer, Checks, Endpoint, Target};
use crate::job::{Cancel, ProgramCall, ProgramEnd, Spawn, StopReason};
use crate::{Clock, MirrorError};

/// What is true of a host.
#[derive(Clone, Debug, Default)]
struct Host {
    holds: bool,
    serves: bool,
    /// Its link to clients and to the other; the link for witnesses is another.
    is_connected: bool,
    /// Nothing comes through, though the device is connected.
    is_cut: bool,
    /// What its agent tells, as long as it lives.
    role: Weak<Mutex<Role>>,
    boot: u32,
    /// The programs that were run, the last of its words each.
    ran: Vec<String>,
    /// Which of them fails.
    failing: Option<&'static str>,
    /// Which of them runs when the process is told to end.
    endless: Option<&'static str>,
    notes: Vec<String>,
}

impl Host {
    fn hears(&self, other: &Self) -> bool {
        [self, other].iter().all(|host| host.is_connected && !host.is_cut)
    }
}

/// Two hosts, 1 and 2.
#[derive(Clone, Default)]
struct Net(Arc<Mutex<[Host; 2]>>);

impl Net {
    fn new() -> Self {
        let net = Self::default();
        for host in net.hosts().iter_mut() {
            (host.serves, host.is_connected) = (true, true);
        }
        net
    }

    fn hosts(&self) -> MutexGuard<'_, [Host; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, host: usize, change: impl FnOnce(&mut Host)) {
        change(&mut self.hosts()[host - 1]);
    }

    fn get(&self, host: usize) -> Host {
        self.hosts()[host - 1].clone()
    }

    fn holders(&self) -> Vec<usize> {
        let hosts = self.hosts();
        [1, 2].into_iter().filter(|host| hosts[host - 1].holds).collect()
    }
}

/// A host, as its agent sees it.
#[derive(Clone)]
struct Seen {
    net: Net,
    host: usize,
    cancel: Cancel,
}

impl Spawn for Seen {
    fn run(&self, call: ProgramCall<'_>, _: &Cancel) -> io::Result<ProgramEnd> {
        let words: Vec<&str> = call.program.words().iter().map(String::as_str).collect();
        let mut hosts = self.net.hosts();
        let other = hosts[2 - self.host].clone();
        let own = &mut hosts[self.host - 1];
        match words[..] {
            ["ip", "-o", ..] => {
                if own.holds {
                    call.output.expect("is captured").write_all(b"2: eth0 inet 192.0.2.10/24\n")?;
                }
                return Ok(ProgramEnd::Exited(0));
            }
            ["arping", "-D", ..] => {
                let is_heard = own.hears(&other) && other.holds;
                return Ok(ProgramEnd::Exited(i32::from(is_heard)));
            }
            ["ip", "addr", "add", ..] => own.holds = true,
            ["ip", "addr", "del", ..] => own.holds = false,
            _ => {}
        }
        let name = if words[0] == "ip" { words[2] } else { words[words.len() - 1] };
        if own.endless == Some(name) {
            self.cancel.cancel(StopReason::Shutdown);
            return Ok(ProgramEnd::Cancelled);
        }
        own.ran.push(name.to_owned());
        own.serves |= name == "start";
        Ok(ProgramEnd::Exited(i32::from(own.failing == Some(name))))
    }
}

impl Machine for Seen {
    fn examine(&self, target: &Target, _: &Checks) -> Answer {
        let Endpoint::Tcp { host, .. } = &target.endpoint else { return Answer::Good };
        let hosts = self.net.hosts();
        let (own, other) = (&hosts[self.host - 1], &hosts[2 - self.host]);
        let is_well = match host.as_str() {
            "192.0.2.10" if own.holds => own.serves,
            "192.0.2.10" => own.hears(other) && other.holds && other.serves,
            "service" => other.serves,
            "own" => own.serves,
            name => unreachable!("{name}"),
        };
        if is_well { Answer::Good } else { Answer::Bad("no answer".into()) }
    }

    fn role_at(&self, _: &Endpoint, _: Duration) -> io::Result<Role> {
        let role = self.net.get(3 - self.host).role.upgrade().ok_or(io::ErrorKind::ConnectionRefused)?;
        let role = *role.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(role)
    }

    fn tell_role(&self, _: SocketAddr, role: &Arc<Mutex<Role>>) -> io::Result<()> {
        self.net.set(self.host, |host| host.role = Arc::downgrade(role));
        Ok(())
    }

    fn has_carrier(&self, _: &str) -> bool {
        self.net.get(self.host).is_connected
    }

    fn boot(&self) -> io::Result<String> {
        Ok(format!("boot {}", self.net.get(self.host).boot))
    }

    fn advertise(&self, _: Ipv6Addr, _: &str) -> io::Result<()> {
        Ok(())
    }
}

/// The two hosts with their agents, as far as these run.
struct Pair {
    net: Net,
    clock: Arc<ManualClock>,
    place: tempfile::TempDir,
    lines: [String; 2],
    agents: [Option<Agent>; 2],
}

/// Steps whose effects can be told from their order.
const STEPS: &str = "[[takeover]]\nrun = [\"forbid\"]\n[[takeover]]\nvip = \"acquire\"\n\
     [[takeover]]\nvip = \"announce\"\n[[takeover]]\nrun = [\"start\"]\n\
     [[takeover]]\nrun = [\"notify\"]\nrequired = false\n\
     [[yield]]\nvip = \"release\"\n[[yield]]\nrun = [\"allow\"]\n";
/// What they leave behind.
const TAKEOVER: [&str; 5] = ["forbid", "add", "192.0.2.10", "start", "notify"];

impl Pair {
    /// The agents of hosts 1, which comes first, and 2; the second half of the lines are sections.
    fn new(lines: &str, sections: &str) -> Self {
        let lines =
            [format!("primary = true\n{lines}\n{sections}{STEPS}"), format!("{lines}\n{sections}{STEPS}")];
        let (net, place) = (Net::new(), tempfile::tempdir().expect("a directory"));
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        Self { net, clock, place, lines, agents: [None, None] }
    }

    /// Both run, and host 1 serves.
    fn serving(lines: &str, sections: &str) -> Self {
        let mut pair = Self::new(lines, sections);
        pair.start(1);
        pair.start(2);
        pair.pass(10);
        assert_eq!(pair.net.holders(), [1]);
        pair
    }

    fn state(&self, host: usize) -> std::path::PathBuf {
        self.place.path().join(format!("{host}.json"))
    }

    fn surroundings(&self, host: usize) -> Surroundings {
        let seen = Seen { net: self.net.clone(), host, cancel: Cancel::default() };
        let net = self.net.clone();
        Surroundings {
            clock: self.clock.clone(),
            spawn: Arc::new(seen.clone()),
            cancel: seen.cancel.clone(),
            machine: Arc::new(seen),
            note: Arc::new(move |text| net.set(host, |host| host.notes.push(text.to_owned()))),
        }
    }

    fn config(&self, host: usize) -> PairConfig {
        let state = self.state(host);
        let text = format!(
            "[vip]\naddress = \"192.0.2.10/24\"\ndev = \"eth0\"\nstate = {state:?}\n{}",
            self.lines[host - 1]
        );
        toml::from_str(&text).expect("a configuration")
    }

    fn start(&mut self, host: usize) {
        // The one before must have let go of its lock.
        self.agents[host - 1] = None;
        let agent = Agent::open(self.config(host), self.surroundings(host)).expect("an agent");
        self.agents[host - 1] = Some(agent);
    }

    fn end(&mut self, host: usize) {
        self.agents[host - 1] = None;
    }

    fn turn(&mut self, host: usize) -> Duration {
        self.agents[host - 1].as_mut().map_or(Duration::MAX, |agent| agent.turn().expect("a turn"))
    }

    /// Lets seconds pass.
    fn pass(&mut self, seconds: u64) {
        let end = self.clock.elapsed() + Duration::from_secs(seconds);
        while self.clock.elapsed() < end {
            let pause = self.turn(1).min(self.turn(2));
            self.clock.advance(pause.clamp(Duration::from_millis(1), Duration::from_millis(100)));
        }
    }

    fn journal(&self, host: usize) -> Journal {
        Journal::read(&self.state(host)).expect("a journal")
    }

    #[track_caller]
    fn expect_roles(&self, serving: usize) {
        assert_eq!(self.net.holders(), [serving], "{:#?}", self.net.hosts());
        assert_eq!(self.journal(serving).role, Role::Serving);
        assert_eq!((self.journal(3 - serving).role, self.journal(serving).unfinished), (Role::Standby, None));
    }

    fn notes(&self, host: usize) -> Vec<String> {
        self.net.get(host).notes
    }

    fn has_noted(&self, host: usize, text: &str) -> usize {
        self.notes(host).iter().filter(|note| note.contains(text)).count()
    }
}

/// Each agent is the other's witness.
const WITNESS: &str = "listen = \"10.1.0.1:8730\"\n[vip.witness]\nagent = \"10.1.0.2:8730\"\n";

#[test]
fn a_host_that_is_gone_is_replaced_within_ten_seconds_by_the_default_settings() {
    let mut pair = Pair::serving("", WITNESS);
    pair.end(1);
    pair.net.set(1, |host| (host.is_connected, host.serves) = (false, false));
    pair.pass(10);
    assert_eq!(pair.journal(2), Journal { role: Role::Serving, unfinished: None, boot: "boot 0".into() });
    assert_eq!(pair.net.get(2).ran, TAKEOVER);
    // It comes back with what it remembers, and lets the other go on.
    pair.net.set(1, |host| (host.is_connected, host.serves, host.holds, host.boot) = (true, true, false, 1));
    pair.start(1);
    pair.pass(60);
    pair.expect_roles(2);
    assert_eq!(pair.has_noted(1, "yield begins: this machine has started anew"), 1);
}

#[test]
fn a_service_that_dies_on_a_host_that_lives_is_replaced_and_the_host_lets_go() {
    let mut pair = Pair::serving("", "");
    pair.net.set(1, |host| host.serves = false);
    pair.pass(20);
    pair.expect_roles(2);
    assert_eq!(pair.net.get(1).ran.last().map(String::as_str), Some("allow"));
    pair.net.set(1, |host| host.serves = true);
    pair.pass(60);
    pair.expect_roles(2);
}

#[test]
fn a_probe_that_fails_counts_like_any_other_check() {
    let mut pair = Pair::serving("probe = \"look\"", "");
    pair.net.set(1, |host| host.failing = Some("look"));
    pair.pass(6);
    assert_eq!(pair.has_noted(1, "yield begins: down (look ended with exit code 1)"), 1);
    pair.net.set(1, |host| host.failing = None);
    pair.pass(20);
    pair.expect_roles(2);
}

#[test]
fn a_primary_that_preempts_takes_the_address_back_by_a_failback() {
    let mut pair = Pair::serving("preempt = true\nown = \"own\"", "");
    pair.net.set(1, |host| host.serves = false);
    pair.pass(20);
    pair.expect_roles(2);
    pair.net.set(1, |host| host.serves = true);
    pair.pass(30);
    pair.expect_roles(1);
    assert_eq!(pair.has_noted(1, "failback begins: this server comes first"), 1);
    assert_eq!(pair.has_noted(2, "yield begins: another machine has the address"), 1);
}

#[test]
fn an_agent_that_says_that_it_serves_forbids_a_takeover_and_is_told_once() {
    let mut pair = Pair::serving("", WITNESS);
    pair.net.set(2, |host| host.is_cut = true);
    pair.pass(60);
    pair.expect_roles(1);
    let objection = "no takeover, as the other agent, at 10.1.0.2:8730, says that it serves";
    assert_eq!((pair.has_noted(2, objection), pair.has_noted(2, "there is no [vip.witness]")), (1, 0));
    pair.end(1);
    pair.net.set(1, |host| host.holds = false);
    pair.pass(10);
    assert_eq!((pair.journal(2).role, pair.net.holders()), (Role::Serving, vec![2]));
}

#[test]
fn an_agent_that_gives_up_allows_a_takeover() {
    let mut pair = Pair::serving("", WITNESS);
    ask_the_agent(&mut pair, 1, Procedure::Yield).expect("is done");
    pair.pass(10);
    pair.expect_roles(2);
}

#[test]
fn a_service_that_runs_only_where_it_is_served_is_a_witness() {
    let mut pair = Pair::new("", "[vip.witness]\nservice = \"service\"\n");
    pair.net.set(1, |host| host.serves = false);
    pair.net.set(2, |host| host.serves = false);
    pair.start(1);
    pair.start(2);
    pair.pass(10);
    pair.expect_roles(1);
    pair.net.set(2, |host| host.is_cut = true);
    pair.pass(60);
    pair.expect_roles(1);
    assert_eq!(pair.has_noted(2, "no takeover, as the other server's service at service:873 is well"), 1);
    pair.end(1);
    pair.net.set(1, |host| (host.serves, host.holds) = (false, false));
    pair.pass(10);
    assert_eq!(pair.journal(2).role, Role::Serving);
}

#[test]
fn who_has_no_witness_is_warned() {
    let pair = Pair::serving("", "");
    assert_eq!(
        (pair.has_noted(1, "there is no [vip.witness]"), pair.has_noted(2, "no [vip.witness]")),
        (1, 1)
    );
}

#[test]
fn a_server_whose_own_service_is_not_well_takes_nothing() {
    let mut pair = Pair::serving("own = \"own\"", "");
    pair.net.set(2, |host| host.serves = false);
    pair.end(1);
    pair.net.set(1, |host| (host.holds, host.is_connected) = (false, false));
    pair.pass(30);
    assert!(pair.net.holders().is_empty());
    assert_eq!(pair.has_noted(2, "no takeover, as this server's own service at own:873 is not well"), 1);
    pair.net.set(2, |host| host.serves = true);
    pair.pass(10);
    assert_eq!(pair.net.holders(), [2]);
}

/// The standby host in the middle of a takeover, of which so many turns are done.
fn in_a_takeover(turns: usize) -> Pair {
    let mut pair = Pair::new("", "");
    pair.net.set(1, |host| host.is_connected = false);
    pair.start(2);
    while pair.journal(2).unfinished.is_none() {
        let pause = pair.turn(2);
        pair.clock.advance(pause);
    }
    for _ in 0..turns {
        pair.turn(2);
    }
    pair
}

/// What was run, where what was run twice in a row counts once.
fn ran_once(pair: &Pair) -> Vec<String> {
    let mut ran = pair.net.get(2).ran;
    ran.dedup();
    ran
}

#[test]
fn a_crash_between_any_two_steps_and_a_second_run_end_in_the_same_state() {
    let whole = in_a_takeover(TAKEOVER.len());
    assert_eq!(whole.journal(2).role, Role::Serving);
    for turns in 0..TAKEOVER.len() {
        let mut pair = in_a_takeover(turns);
        assert_eq!(pair.journal(2).unfinished.map(|unfinished| unfinished.done), Some(turns));
        pair.start(2);
        pair.pass(1);
        assert_eq!((pair.journal(2), pair.net.holders()), (whole.journal(2), vec![2]), "after {turns}");
        assert_eq!(pair.net.get(2).ran, TAKEOVER, "after {turns}");
    }
}

#[test]
fn a_crash_between_a_step_and_its_record_repeats_that_step_alone() {
    for turns in 0..TAKEOVER.len() {
        let mut pair = in_a_takeover(turns);
        let before = std::fs::read(pair.state(2)).expect("a journal");
        pair.turn(2);
        std::fs::write(pair.state(2), before).expect("is written");
        pair.start(2);
        pair.pass(1);
        pair.expect_standing_alone();
        assert_eq!(ran_once(&pair), TAKEOVER, "after {turns}");
    }
}

impl Pair {
    #[track_caller]
    fn expect_standing_alone(&self) {
        assert_eq!((self.journal(2).role, self.journal(2).unfinished), (Role::Serving, None));
        assert_eq!(self.net.holders(), [2]);
    }
}

#[test]
fn a_machine_that_starts_anew_in_a_takeover_does_all_of_its_steps_again() {
    let mut pair = in_a_takeover(3);
    pair.net.set(2, |host| (host.boot, host.holds) = (1, false));
    pair.net.set(2, |host| host.ran.clear());
    pair.start(2);
    pair.pass(1);
    pair.expect_standing_alone();
    assert_eq!(pair.net.get(2).ran, TAKEOVER);
}

#[test]
fn a_takeover_that_nobody_needs_any_more_is_given_up() {
    let mut pair = in_a_takeover(1);
    pair.net.set(1, |host| (host.is_connected, host.holds) = (true, true));
    pair.start(2);
    pair.pass(1);
    assert_eq!((pair.journal(2).role, pair.net.holders()), (Role::Standby, vec![1]));
    assert_eq!(pair.has_noted(2, "yield begins: the other server serves again"), 1);
    assert_eq!(pair.net.get(2).ran.last().map(String::as_str), Some("allow"));
}

#[test]
fn a_step_that_fails_is_tried_again_with_growing_pauses_and_told_once() {
    let mut pair = in_a_takeover(0);
    pair.net.set(2, |host| host.failing = Some("start"));
    pair.pass(60);
    let unfinished = pair.journal(2).unfinished.expect("is under way");
    assert_eq!((unfinished.done, unfinished.failure.as_deref()), (3, Some("start ended with exit code 1")));
    let tries = pair.net.get(2).ran.iter().filter(|name| *name == "start").count();
    assert_eq!(tries, 5, "after 0, 2, 6, 14 and 30 seconds");
    assert_eq!(pair.has_noted(2, "takeover stands still at step 4, start: start ended with exit code 1"), 1);
    pair.net.set(2, |host| host.failing = Some("notify"));
    pair.pass(60);
    pair.expect_standing_alone();
    assert_eq!(pair.has_noted(2, "notify: notify ended with exit code 1; it goes on without"), 1);
}

#[test]
fn a_step_that_is_ended_with_the_process_is_done_again_by_the_next_one() {
    let mut pair = in_a_takeover(3);
    pair.net.set(2, |host| host.endless = Some("start"));
    let agent = pair.agents[1].as_mut().expect("an agent");
    agent.run().expect("ends in order");
    assert_eq!(
        pair.journal(2).unfinished.map(|unfinished| (unfinished.done, unfinished.failure)),
        Some((3, None))
    );
    pair.net.set(2, |host| host.endless = None);
    pair.start(2);
    pair.pass(1);
    pair.expect_standing_alone();
    assert_eq!(pair.net.get(2).ran, TAKEOVER);
}

#[test]
fn an_agent_that_starts_again_in_the_same_role_moves_nothing() {
    let mut pair = Pair::serving("", "");
    let before = pair.net.get(1).ran;
    for host in [1, 2, 1] {
        pair.start(host);
        pair.pass(5);
        pair.expect_roles(1);
    }
    assert_eq!(pair.net.get(1).ran, before);
}

#[test]
fn an_address_that_is_left_over_is_let_go_at_the_start() {
    let mut pair = Pair::new("", "");
    pair.net.set(2, |host| host.holds = true);
    pair.start(2);
    pair.turn(2);
    assert!(pair.net.holders().is_empty());
}

#[test]
fn of_two_that_have_the_address_the_primary_gives_it_up() {
    let mut pair = Pair::serving("", "");
    pair.net.set(1, |host| host.is_connected = false);
    // Its agent hangs, so that it does not let go.
    let hanging = pair.agents[0].take();
    pair.pass(10);
    assert_eq!(pair.net.holders(), [1, 2]);
    pair.net.set(1, |host| host.is_connected = true);
    pair.pass(15);
    assert_eq!(pair.has_noted(2, "another machine has the address too; it is announced again"), 1);
    pair.agents[0] = hanging;
    pair.pass(15);
    pair.expect_roles(2);
    assert_eq!(pair.has_noted(1, "yield begins: another machine has the address"), 1);
}

fn ask(pair: &Pair, host: usize, procedure: Procedure) -> Result<(), MirrorError> {
    request(&pair.config(host), &pair.surroundings(host), procedure)
}

#[test]
fn a_request_without_an_agent_is_done_at_once_and_goes_on_where_it_stood_still() {
    let pair = Pair::new("", "[[failback]]\nrun = [\"sync\"]\n[[failback]]\nvip = \"acquire\"\n");
    pair.net.set(1, |host| host.failing = Some("sync"));
    let error = ask(&pair, 1, Procedure::Failback).expect_err("the step fails");
    assert_eq!(
        error.to_string(),
        "failback stands still at step 1, sync: sync ended with exit code 1; doing it again goes on from there"
    );
    assert_eq!(error.exit_code(), MirrorError::HOOK);
    pair.net.set(1, |host| host.failing = None);
    ask(&pair, 1, Procedure::Failback).expect("is done");
    assert_eq!(
        (pair.journal(1).role, pair.net.get(1).ran),
        (Role::Serving, ["sync", "sync", "add"].map(String::from).to_vec())
    );
    ask(&pair, 1, Procedure::Failback).expect("was done");
    assert_eq!(pair.net.get(1).ran.len(), 3);
    ask(&pair, 1, Procedure::Yield).expect("is done");
    assert_eq!((pair.journal(1).role, pair.net.holders()), (Role::Standby, vec![]));
}

#[test]
fn a_failback_of_a_server_that_served_before_it_started_anew_is_not_done_already() {
    let pair = Pair::new("", "");
    ask(&pair, 1, Procedure::Failback).expect("is done");
    pair.net.set(1, |host| (host.boot, host.holds) = (1, false));
    ask(&pair, 1, Procedure::Failback).expect("is done");
    assert_eq!((pair.net.holders(), pair.journal(1).role), (vec![1], Role::Serving));
}

/// Lets the pair live while somebody waits for an answer.
fn ask_the_agent(pair: &mut Pair, host: usize, procedure: Procedure) -> Result<(), MirrorError> {
    let (config, surroundings) = (pair.config(host), pair.surroundings(host));
    let asking = std::thread::spawn(move || request(&config, &surroundings, procedure));
    let posted = pair.state(host).with_extension("json.request");
    while !asking.is_finished() {
        // Once all is done, time stands still until it is seen.
        if posted.exists() || pair.journal(host).unfinished.is_some() {
            pair.pass(1);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    asking.join().expect("an answer")
}

#[test]
fn a_request_is_done_by_the_agent_that_runs() {
    let mut pair = Pair::serving("", "");
    ask_the_agent(&mut pair, 1, Procedure::Yield).expect("is done");
    pair.pass(10);
    pair.expect_roles(2);
    assert_eq!(pair.has_noted(1, "yield begins: requested"), 1);
    ask_the_agent(&mut pair, 1, Procedure::Failback).expect("is done");
    ask_the_agent(&mut pair, 2, Procedure::Yield).expect("is done");
    pair.pass(5);
    pair.expect_roles(1);
}

#[test]
fn a_request_replaces_what_stands_still() {
    let mut pair = in_a_takeover(0);
    pair.net.set(2, |host| host.failing = Some("start"));
    pair.pass(10);
    assert_eq!(pair.net.holders(), [2]);
    ask_the_agent(&mut pair, 2, Procedure::Yield).expect("is done");
    assert!(pair.has_noted(2, "yield is complete") == 1);
}

#[test]
fn a_request_that_nobody_understands_goes_away() {
    let mut pair = Pair::serving("", "");
    let path = Path::new(&pair.state(1)).with_extension("json.request");
    std::fs::write(&path, "dance\n").expect("is written");
    pair.pass(1);
    assert!(!path.exists());
    pair.expect_roles(1);
}
