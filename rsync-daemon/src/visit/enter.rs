//! From the login to the end of the argument list: the module's hooks, its directory, what is asked of it
//! (spec 09 §4.1 steps 10 and 11, §9, §12).

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bstr::{BString, ByteSlice};
use rsync_proto::exit::ExitCode;
use rsync_proto::meta::Chmod;
use rsync_proto::options::{Refusals, TransferOptions};
use rsync_proto::session::{ArgumentReader, OK_LINE, Refusal};

use super::{Greeted, Stop, Visit, variable, within};
use crate::config::{ExpansionOverflow, Module, ModuleSettings};
use crate::files::{self, to_path};
use crate::hooks::{HookError, Hooks};
use crate::limits::{ModulePlace, Slot};
use crate::log::{About, Log, LogTarget};
use crate::module_root::{ModulePlan, RootError};
use crate::order::{Access, SessionOrder, Visitor};
use crate::peer::PeerError;
use crate::request::{Arguments, Parsed, Words};
use crate::room::Room;
use crate::session::ReadySession;
use crate::worker::Hatchling;

/// What is known of a client that was let in.
pub(super) struct Stay<'a> {
    pub(super) module: &'a Module,
    pub(super) visitor: Visitor,
    pub(super) slot: Option<Slot>,
    pub(super) place: Option<ModulePlace>,
    pub(super) may_write: bool,
    /// How long it may take to send its arguments.
    pub(super) limit: Duration,
}

/// A client whose module is known to be usable, as far as can be told before anything of it is opened.
struct Entry<'a> {
    stay: Stay<'a>,
    /// The module's parameters for this client.
    settings: ModuleSettings,
    plan: ModulePlan,
    hooks: Hooks,
    worker: Option<Hatchling>,
}

impl From<ExpansionOverflow> for Failure {
    fn from(error: ExpansionOverflow) -> Self {
        Self { log: error.to_string(), stop: Stop::Failed(ExitCode::MEMORY, None) }
    }
}

impl From<HookError> for Failure {
    fn from(error: HookError) -> Self {
        Self { log: error.to_string(), stop: Stop::Failed(ExitCode::UNSUPPORTED, None) }
    }
}

impl From<RootError> for Failure {
    fn from(RootError { refusal, log, code }: RootError) -> Self {
        let stop = match (code, refusal) {
            (Some(code), refusal) => Stop::Failed(code, refusal),
            (None, Some(refusal)) => Stop::Refused(refusal),
            (None, None) => Stop::Silent(String::new()),
        };
        Self { log, stop }
    }
}

/// A [`Stop`] with its line for the log.
struct Failure {
    log: String,
    stop: Stop,
}

impl Visit<'_> {
    /// From the login to the end of the argument list.
    pub(super) async fn enter(&mut self, greeted: &Greeted, stay: Stay<'_>) -> Result<ReadySession, Stop> {
        let entry = self.plan(stay).await?;
        let hooks = entry.hooks.clone();
        match self.carry_out(greeted, entry).await {
            Ok(session) => Ok(session),
            Err(stop) => {
                hooks.after(Some(stop.status())).await;
                Err(stop)
            }
        }
    }

    fn fail(&self, failure: impl Into<Failure>) -> Stop {
        let Failure { log, stop } = failure.into();
        self.log.warning(log);
        stop
    }

    /// Everything up to the moment from which `post-xfer exec` is told how it ends.
    async fn plan<'a>(&mut self, stay: Stay<'a>) -> Result<Entry<'a>, Stop> {
        let Stay { module, visitor, .. } = &stay;
        let variables = |name: &str| variable(name, module, Some(visitor));
        let mut settings = module.settings.clone();
        settings.expand(&variables).map_err(|error| self.fail(error))?;
        if let Some(format) = &self.shared.limits().log_format {
            settings.transfer_logging = true;
            settings.log_format.clone_from(format);
        }
        let tree = self.shared.host().trees.get(&module.name).cloned();
        let own = self.room.own();
        let plan = ModulePlan::new(&module.name, &settings, tree, own).map_err(|error| self.fail(error))?;
        if settings.use_chroot.is_none() && !plan.is_in_chroot(&settings, own) {
            self.log.info(NO_CHROOT);
        }
        let plan = self.in_room(move || plan.with_rules()).await?.map_err(|error| self.fail(error))?;
        self.take_log(&settings, visitor).await;
        let worker = if Hooks::are_there(&settings) {
            self.shared.hatch().map_err(|error| {
                self.log.warning(format!("could not create child server process: {error}"));
                Refusal::Fork
            })?
        } else {
            None
        };
        let pid = worker.as_ref().map_or_else(std::process::id, Hatchling::pid);
        let path = settings.path.clone().unwrap_or_default();
        let hooks = Hooks::new(&settings, visitor, path.as_bstr(), pid, Arc::clone(&self.room))
            .map_err(|error| self.fail(error))?;
        Ok(Entry { settings, plan, hooks, worker, stay })
    }

    async fn carry_out(&mut self, greeted: &Greeted, entry: Entry<'_>) -> Result<ReadySession, Stop> {
        let Entry { stay, settings, plan, hooks, worker } = entry;
        let Stay { module, visitor, slot, place, may_write, limit } = stay;
        match hooks.early(&self.early_input).await {
            Ok(true) => {}
            Ok(false) => {
                self.log.warning("early exec failed");
                return Err(Refusal::EarlyExec.into());
            }
            Err(error) => {
                self.log.warning(format!("early exec failed: {error}"));
                return Err(Refusal::EarlyExec.into());
            }
        }
        let (own, in_force) = (self.room.own(), settings.clone());
        let root =
            self.in_room(move || plan.open(&in_force, own)).await?.map_err(|error| self.fail(error))?;
        let log = self.log.clone();
        let reading = self.read_arguments(greeted, &module.name, &settings);
        let (arguments, words, parsed) = within(log.clone(), limit, reading).await?;
        let refusal = match parsed {
            Parsed::Request(_) => hooks.before(words.shown().as_bstr(), words.all()).await,
            _ => Ok(None),
        };
        let refusal = refusal.unwrap_or_else(|error| {
            log.warning(format!("pre-xfer exec preparation failed: {error}"));
            Some("pre-xfer exec preparation failed".into())
        });
        let converter = match (&parsed, &refusal) {
            (Parsed::Request(_), None) => {
                hooks.converter(words.shown().as_bstr(), words.all(), &log).await.map_err(|error| {
                    log.warning(format!("name-converter exec preparation failed: {error}"));
                    Refusal::Preparation("name-converter exec")
                })?
            }
            _ => None,
        };
        let limits = self.shared.limits();
        let mut settings = settings;
        settle(&mut settings, parsed.options(), limits.temp_dir.as_ref(), &visitor.module, &log);
        if !words.shown().is_empty() {
            log.info(request_line(&parsed, &words, &visitor));
        }
        check_chmod(&mut settings, parsed.options(), &log);
        Ok(ReadySession {
            order: SessionOrder {
                peer: greeted.greeting.version,
                agreed: greeted.agreed,
                arguments,
                access: Access { reads: !settings.write_only, writes: may_write && limits.uploads },
                settings,
                visitor,
                path: root.path,
                rules: root.rules,
                munges_links: root.munges_links,
                keeps_links_inside: root.keeps_links_inside,
                seems_root: root.seems_root,
                numeric_ids: root.numeric_ids,
                bwlimit: limits.bwlimit,
                refusal,
                ahead: BString::default(),
            },
            served: root.served,
            identity: root.identity,
            log,
            slot,
            place,
            hooks,
            converter,
            worker,
        })
    }

    /// From here on the module's own log has what happens.
    async fn take_log(&mut self, settings: &ModuleSettings, visitor: &Visitor) {
        let log = match &settings.log_file {
            // The daemon has it open already.
            Some(path)
                if !self.shared.keeps_log() && self.config.defaults.log_file.as_ref() == Some(path) =>
            {
                self.log.clone()
            }
            Some(path) => match open_log(&self.room, path).await {
                Ok(target) => self.log.with_target(target),
                Err(error) => {
                    let log = self.log.with_target(LogTarget::syslog_of(settings));
                    log.instead_of(&to_path(path), &error);
                    log
                }
            },
            None if self.shared.keeps_log() => self.log.clone(),
            None => self.log.with_target(LogTarget::syslog_of(settings)),
        };
        self.log = log.about(About {
            connection: self.connection,
            address: Some(self.address),
            host: Some(visitor.host.clone()),
            module: Some(visitor.module.clone()),
            user: Some(visitor.user.clone()),
        });
    }

    async fn read_arguments(
        &mut self,
        greeted: &Greeted,
        module: &BString,
        settings: &ModuleSettings,
    ) -> Result<(Arguments, Words, Parsed), Stop> {
        self.peer()?.send(OK_LINE).await?;
        let first = self.read_list(&mut ArgumentReader::first(greeted.agreed)).await?;
        let mut arguments = Arguments { first, second: None };
        let (mut words, mut parsed) = arguments.parse(module, settings);
        if matches!(parsed, Parsed::AwaitsSecondList(_)) {
            arguments.second = Some(self.read_list(&mut ArgumentReader::secluded()).await?);
            (words, parsed) = arguments.parse(module, settings);
        }
        match parsed {
            Parsed::Unusable => Err(Stop::Failed(ExitCode::SYNTAX, None)),
            parsed => Ok((arguments, words, parsed)),
        }
    }

    async fn read_list(&mut self, reader: &mut ArgumentReader) -> Result<Vec<BString>, Stop> {
        let mut words = Vec::new();
        loop {
            match self.peer()?.decode(|input| reader.next(input)).await {
                Ok(Some(word)) => words.push(word),
                Ok(None) => return Ok(words),
                Err(PeerError::Malformed(text)) => {
                    self.log.warning(text);
                    return Err(Stop::Failed(ExitCode::PROTOCOL, None));
                }
                // The C daemon takes what has come for the whole list, cut words included.
                Err(PeerError::Closed) => return Err(Stop::Lost(LEFT.into())),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Does something with files.
    pub(super) async fn in_room<T: Send + 'static>(
        &mut self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stop> {
        self.room.run(task).await.map_err(|error| Stop::Silent(format!("could not create child: {error}")))
    }
}

/// Leaves out of the parameters what means nothing, about which the log has a line, and adds `temp_dir` if
/// neither they nor the client name a directory for temporary files.
fn settle(
    settings: &mut ModuleSettings,
    options: &TransferOptions,
    temp_dir: Option<&BString>,
    module: &BString,
    log: &Log,
) {
    if settings.temp_dir.take_if(|path| path.len() >= LONGEST_TEMP_DIR).is_some() {
        log.warning(format!("the 'temp dir' value for {module} is WAY too long -- ignoring."));
    }
    if settings.temp_dir.is_none() && options.temp_dir.is_none() {
        settings.temp_dir = temp_dir.cloned();
    }
    let terms = settings.refuse_options.as_ref().map(ToString::to_string).unwrap_or_default();
    for term in Refusals::new(&terms, settings.charset.is_some()).unmatched() {
        log.warning(format!("No match for refuse-options string \"{term}\""));
    }
}

/// The same for changes of permissions, in the direction of the transfer.
fn check_chmod(settings: &mut ModuleSettings, options: &TransferOptions, log: &Log) {
    let (name, change) = match options.sender {
        true => ("outgoing", &mut settings.outgoing_chmod),
        false => ("incoming", &mut settings.incoming_chmod),
    };
    if let Some(text) = change.take_if(|text| Chmod::default().append(text).is_err()) {
        log.warning(format!("Invalid \"{name} chmod\" directive: {text}"));
    }
}

/// What does not fit into a path together with a temporary file's name.
const LONGEST_TEMP_DIR: usize = 4096 - 10;

/// What is asked for, by whom, for the log.
fn request_line(parsed: &Parsed, words: &Words, visitor: &Visitor) -> Vec<u8> {
    let direction: &[u8] = if parsed.options().sender { b"rsync on " } else { b"rsync to " };
    let at: &[u8] = if visitor.user.is_empty() { b"" } else { b"@" };
    let from = format!("{} ({})", visitor.host, visitor.address);
    [direction, words.shown(), b" from ", &visitor.user, at, from.as_bytes()].concat()
}

/// A log of a module, which exists afterwards.
async fn open_log(room: &Room, path: &BString) -> io::Result<LogTarget> {
    let path = to_path(path);
    let here = path.clone();
    let file = room.run(move || files::open_log(&here)).await??;
    // What lies in another root, or belongs to somebody else, is not opened with the daemon's rights.
    Ok(match room.is_plain() {
        true => LogTarget::File(path),
        false => LogTarget::Writer(Arc::new(Mutex::new(file))),
    })
}

/// What the C daemon says of a client that leaves.
const LEFT: &str = "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]";

/// What the C daemon says when it tries whether it could change its root.
const NO_CHROOT: &str =
    "chroot test failed: Operation not permitted. Switching 'use chroot' from unset to false.";
