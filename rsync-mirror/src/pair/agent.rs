//! What runs on each server of a pair: it watches the floating address, and does procedures step by step.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::config::{PairConfig, WitnessConfig};
use super::journal::{Journal, JournalFile, Role, Unfinished, beside};
use super::machine::Machine;
use super::procedure::{Procedure, Step};
use super::vip::{StepFailure, Vip};
use super::watched::{Beginning, Watched};
use crate::health::{Answer, Target};
use crate::job::{Cancel, Spawn};
use crate::{Clock, MirrorError};

/// How often requests are looked for.
pub(super) const POLL: Duration = Duration::from_millis(100);
/// How long to rest before a step that failed is tried again; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many checks, who serves asks whether another machine has the address too.
const CONTEST: u32 = 5;

/// Who hears what an agent does.
pub type Note = Arc<dyn Fn(&str) + Send + Sync>;

/// What an agent needs of the world.
#[derive(Clone)]
pub struct Surroundings {
    /// Its time.
    pub clock: Arc<dyn Clock>,
    /// Runs the programs of steps.
    pub spawn: Arc<dyn Spawn>,
    /// The network and the machine.
    pub machine: Arc<dyn Machine>,
    /// Who hears what it does.
    pub note: Note,
    /// Ends it, and the program that it runs; that step is done again by the next agent.
    pub cancel: Cancel,
}

/// One server of a pair.
pub struct Agent {
    config: PairConfig,
    outside: Surroundings,
    file: JournalFile,
    journal: Journal,
    /// What others are told.
    role: Arc<Mutex<Role>>,
    watched: Watched,
    is_settled: bool,
    /// Time has passed since the procedure was decided on.
    is_stale: bool,
    /// When a step that failed is tried again, and the pause before that.
    retry: (Duration, Duration),
    /// When the neighbours are asked next.
    contest_at: Duration,
    /// What was last said about something that is not done or does not work.
    complaint: Option<String>,
}

impl Agent {
    /// Takes the state; nothing is done yet.
    ///
    /// # Errors
    /// [`MirrorError::Locked`] while another agent runs; [`MirrorError::File`].
    pub fn open(config: PairConfig, outside: Surroundings) -> Result<Self, MirrorError> {
        let file = JournalFile::take(&config.vip.state, outside.clock.as_ref())?;
        let journal = Journal::read(&config.vip.state)?;
        let now = outside.clock.elapsed();
        let watched = Watched::new(&config.vip, journal.role, Beginning::Start, now);
        let contest_at = now + config.vip.interval.saturating_mul(CONTEST);
        Ok(Self {
            config,
            outside,
            file,
            role: Arc::new(Mutex::new(journal.told_role())),
            journal,
            watched,
            is_settled: false,
            is_stale: true,
            retry: (now, FIRST_PAUSE),
            contest_at,
            complaint: None,
        })
    }

    /// What is on the disk.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Watches until it is told to end. What is under way from an earlier time is done first; an address
    /// that this machine still has without being the one that serves is let go.
    ///
    /// # Errors
    /// [`MirrorError::File`]: the state cannot be kept. Steps that fail are noted and tried again.
    pub fn run(&mut self) -> Result<(), MirrorError> {
        while self.outside.cancel.reason().is_none() {
            let pause = self.turn()?;
            if self.outside.cancel.wait(pause) {
                break;
            }
        }
        Ok(())
    }

    /// Does what is to do now: one step of a procedure, or one check; how long nothing will be.
    ///
    /// # Errors
    /// [`MirrorError::File`].
    pub fn turn(&mut self) -> Result<Duration, MirrorError> {
        if !self.is_settled {
            self.settle()?;
        }
        self.hear_request()?;
        let now = self.now();
        let due = if self.journal.unfinished.is_some() { self.retry.0 } else { self.watched.due() };
        if now < due {
            return Ok(POLL.min(due - now));
        }
        if self.journal.unfinished.is_some() {
            self.advance()?;
        } else {
            self.watch(now)?;
        }
        Ok(Duration::ZERO)
    }

    /// Does a procedure to its end, or to the first step that fails.
    pub(super) fn carry_out(&mut self, procedure: Procedure) -> Result<(), MirrorError> {
        if self.recognise_boot()? && self.journal.unfinished.is_none() {
            // Whatever it was before, it holds nothing now.
            self.journal.role = Role::Standby;
            self.record()?;
        }
        if self.journal.heading() != procedure.leads_to() {
            self.begin(procedure, "requested")?;
        }
        self.forget_request();
        while self.journal.unfinished.is_some() {
            self.advance()?;
            if let Some(reason) = self.outside.cancel.reason() {
                return Err(MirrorError::Stopped(reason));
            }
            if let Some(Unfinished { procedure, done, failure: Some(failure), .. }) = &self.journal.unfinished
            {
                return Err(MirrorError::Program {
                    program: self.standing(*procedure, *done),
                    reason: format!("{failure}; doing it again goes on from there"),
                    code: MirrorError::HOOK,
                });
            }
        }
        Ok(())
    }

    /// Where requests of [`request`](super::request) are left.
    pub(super) fn request_path(config: &PairConfig) -> PathBuf {
        beside(&config.vip.state, ".request")
    }

    /// Begins at a known point: only who serves has the address.
    fn settle(&mut self) -> Result<(), MirrorError> {
        for warning in self.config.warnings() {
            self.note(warning);
        }
        if self.recognise_boot()? && self.journal.unfinished.is_none() && self.journal.role == Role::Serving {
            // The other has taken over, or nobody serves; both are found out by those on standby.
            self.begin(Procedure::Yield, "this machine has started anew")?;
        }
        if let Some(listen) = self.config.vip.listen {
            let failed = MirrorError::file("listen at", listen.to_string());
            self.outside.machine.tell_role(listen, &self.role).map_err(failed)?;
        }
        self.is_settled = true;
        if self.journal.unfinished.is_some() {
            return Ok(());
        }
        let done = match self.journal.role {
            Role::Standby => self.vip("start", "").release(),
            Role::Serving => self.vip("start", "").acquire(),
        };
        if let Err(failure) = done {
            self.complain(format!("the address is not as it should be: {failure}"));
        }
        if self.journal.role == Role::Serving { self.ask_neighbours() } else { Ok(()) }
    }

    /// Whether the machine has started anew since the journal was written; steps are done again then.
    fn recognise_boot(&mut self) -> Result<bool, MirrorError> {
        let boot = self.outside.machine.boot().map_err(MirrorError::file("read", "the machine's boot id"))?;
        if self.journal.boot == boot {
            return Ok(false);
        }
        let is_new = !std::mem::replace(&mut self.journal.boot, boot).is_empty();
        if let Some(unfinished) = &mut self.journal.unfinished {
            (unfinished.done, unfinished.failure) = (0, None);
        }
        self.record()?;
        Ok(is_new)
    }

    /// Begins what somebody has asked for; the request goes when its procedure is on record.
    fn hear_request(&mut self) -> Result<(), MirrorError> {
        let Ok(text) = std::fs::read_to_string(Self::request_path(&self.config)) else { return Ok(()) };
        let wanted = Procedure::ALL.into_iter().find(|procedure| procedure.name() == text.trim());
        if let Some(procedure) = wanted.filter(|procedure| procedure.leads_to() != self.journal.heading()) {
            self.begin(procedure, "requested")?;
        }
        self.forget_request();
        Ok(())
    }

    fn forget_request(&self) {
        // One that stays is heard again, and found done.
        let _ = std::fs::remove_file(Self::request_path(&self.config));
    }

    fn begin(&mut self, procedure: Procedure, reason: &str) -> Result<(), MirrorError> {
        self.note(&format!("{procedure} begins: {reason}"));
        let reason = reason.to_owned();
        self.journal.unfinished = Some(Unfinished { procedure, reason, done: 0, failure: None });
        self.record()?;
        (self.is_stale, self.complaint) = (false, None);
        self.retry = (self.now(), FIRST_PAUSE);
        Ok(())
    }

    /// Does the next step of what is under way. All steps before it are on record; so is it, afterwards.
    fn advance(&mut self) -> Result<(), MirrorError> {
        let Some(unfinished) = self.journal.unfinished.clone() else { return Ok(()) };
        let Unfinished { procedure, reason, done, .. } = &unfinished;
        if std::mem::take(&mut self.is_stale) && *procedure == Procedure::Takeover && self.other_serves() {
            return self.begin(Procedure::Yield, "the other server serves again");
        }
        let Some(step) = self.config.steps(*procedure).get(*done) else { return self.complete(*procedure) };
        self.note(&format!("{procedure}: {}", step.name()));
        match self.vip(procedure.name(), reason).perform(step) {
            Ok(()) => {}
            Err(StepFailure::Stopped) => return Ok(()),
            Err(failure) if step.is_required() => return self.stand_still(unfinished, failure.to_string()),
            Err(failure) => {
                self.note(&format!("{procedure}: {}: {failure}; it goes on without", step.name()));
            }
        }
        self.retry = (self.now(), FIRST_PAUSE);
        self.complaint = None;
        if done + 1 == self.config.steps(*procedure).len() {
            return self.complete(*procedure);
        }
        self.journal.unfinished = Some(Unfinished { done: done + 1, failure: None, ..unfinished });
        self.record()
    }

    fn complete(&mut self, procedure: Procedure) -> Result<(), MirrorError> {
        (self.journal.role, self.journal.unfinished) = (procedure.leads_to(), None);
        self.record()?;
        self.note(&format!("{procedure} is complete"));
        let now = self.now();
        self.watched = Watched::new(&self.config.vip, self.journal.role, Beginning::Change, now);
        self.contest_at = now + self.config.vip.interval.saturating_mul(CONTEST);
        Ok(())
    }

    fn stand_still(&mut self, unfinished: Unfinished, failure: String) -> Result<(), MirrorError> {
        let standing = self.standing(unfinished.procedure, unfinished.done);
        self.complain(format!("{standing} {failure}; it is tried again"));
        let (_, pause) = self.retry;
        self.retry = (self.now() + pause, (pause * 2).min(LONGEST_PAUSE));
        self.is_stale = true;
        self.journal.unfinished = Some(Unfinished { failure: Some(failure), ..unfinished });
        self.record()
    }

    /// Writes the journal; the other server is told of it afterwards.
    fn record(&self) -> Result<(), MirrorError> {
        self.file.write(&self.journal)?;
        *self.role.lock().unwrap_or_else(PoisonError::into_inner) = self.journal.told_role();
        Ok(())
    }

    fn standing(&self, procedure: Procedure, done: usize) -> String {
        let name = self.config.steps(procedure).get(done).map_or("", Step::name);
        format!("{procedure} stands still at step {}, {name}:", done + 1)
    }

    /// Whether somebody answers at the floating address who is not this machine.
    fn other_serves(&self) -> bool {
        let holds = self.vip("start", "").holds().unwrap_or(false);
        !holds && !matches!(self.examine(), Answer::Bad(_))
    }

    /// Makes one check, and begins what follows from it.
    fn watch(&mut self, now: Duration) -> Result<(), MirrorError> {
        let is_connected = self.outside.machine.has_carrier(&self.config.vip.dev);
        let answer = is_connected.then(|| self.examine());
        let Some(procedure) = self.watched.hear(now, answer) else {
            let is_serving = self.journal.role == Role::Serving;
            return if is_serving && is_connected && now >= self.contest_at {
                self.ask_neighbours()
            } else {
                Ok(())
            };
        };
        let reason = match procedure {
            Procedure::Failback => "this server comes first".to_owned(),
            Procedure::Takeover | Procedure::Yield => self.watched.reason(),
        };
        match self.objection(procedure) {
            None => self.begin(procedure, &reason),
            Some(objection) => {
                self.complain(format!("no {procedure}, as {objection}"));
                Ok(())
            }
        }
    }

    /// Checks the service at the floating address.
    fn examine(&self) -> Answer {
        let (vip, checks) = (&self.config.vip, self.config.vip.checks());
        match (self.outside.machine.examine(&vip.target(), &checks), &vip.probe) {
            (answer @ Answer::Bad(_), _) | (answer, None) => answer,
            (answer, Some(probe)) => match self.vip("check", "").run(probe, checks.timeout) {
                Ok(_) => answer,
                Err(failure) => Answer::Bad(failure.to_string()),
            },
        }
    }

    /// Why a procedure must not begin, though the checks of the address ask for it.
    fn objection(&self, procedure: Procedure) -> Option<String> {
        let vip = &self.config.vip;
        let machine = &self.outside.machine;
        if procedure == Procedure::Yield {
            return None;
        }
        if let Some(own) = &vip.own
            && let Answer::Bad(reason) = machine.examine(&Target::new(own.clone()), &vip.checks())
        {
            return Some(format!("this server's own service at {own} is not well: {reason}"));
        }
        vip.witness
            .as_ref()
            .filter(|_| procedure == Procedure::Takeover)
            .and_then(|witness| self.ask(witness))
    }

    /// Why the witness says that the other server serves.
    fn ask(&self, witness: &WitnessConfig) -> Option<String> {
        let (machine, checks) = (&self.outside.machine, self.config.vip.witness_checks(witness));
        if let Some(agent) = &witness.agent {
            return match machine.role_at(agent, checks.timeout) {
                Ok(Role::Standby) => None,
                Ok(Role::Serving) => Some(format!("the other agent, at {agent}, says that it serves")),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    Some(format!("who listens at {agent} is no agent"))
                }
                Err(_) => None,
            };
        }
        let service = witness.service.as_ref()?;
        match machine.examine(&Target::new(service.clone()), &checks) {
            Answer::Bad(_) => None,
            Answer::Good | Answer::Busy(_) => {
                Some(format!("the other server's service at {service} is well"))
            }
        }
    }

    /// Looks whether another machine has the address too. Then one gives it up: the primary, as the other
    /// took it when the primary was gone; but if the primary takes it back by itself, the other. Who keeps
    /// it makes sure that it is found.
    fn ask_neighbours(&mut self) -> Result<(), MirrorError> {
        self.contest_at = self.now() + self.config.vip.interval.saturating_mul(CONTEST);
        let is_contested = match self.vip("check", "").is_contested() {
            Ok(is_contested) => is_contested,
            Err(StepFailure::Stopped) => false,
            Err(failure) => {
                self.complain(format!("nobody can be asked whether the address is there twice: {failure}"));
                return Ok(());
            }
        };
        if !is_contested {
            return Ok(());
        }
        if self.config.vip.primary != self.config.vip.preempt {
            return self.begin(Procedure::Yield, "another machine has the address");
        }
        self.complain("another machine has the address too; it is announced again".to_owned());
        if let Err(failure) = self.vip("check", "").announce() {
            self.complain(format!("the address cannot be announced: {failure}"));
        }
        Ok(())
    }

    fn vip<'a>(&'a self, state: &'a str, reason: &'a str) -> Vip<'a> {
        Vip {
            config: &self.config.vip,
            spawn: self.outside.spawn.as_ref(),
            machine: self.outside.machine.as_ref(),
            cancel: &self.outside.cancel,
            state,
            reason,
        }
    }

    fn now(&self) -> Duration {
        self.outside.clock.elapsed()
    }

    fn note(&self, text: &str) {
        (self.outside.note)(text);
    }

    /// Says something that does not go away by itself, once.
    fn complain(&mut self, text: String) {
        if self.complaint.as_ref() != Some(&text) {
            self.note(&text);
            self.complaint = Some(text);
        }
    }
}
