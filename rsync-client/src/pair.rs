//! Local copies by two sides that talk to each other, where what travels counts: it is recorded in a batch
//! (spec 08 §12), or blocks that the destination has are to stay as they are (`--no-whole-file`).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bstr::BString;
use rsync_engine::{
    Connection, EngineError, Link, Outgoing, ReceiveSetup, SendReport, ServerVoice, Session, receive,
};
use rsync_proto::filter::Filters;
use rsync_proto::options::{Append, Reflink, TransferOptions};
use rsync_proto::session::agree_locally;
use rsync_proto::text::{self, Direction, Event, EventSink, Role, Topic};

use crate::ClientError;
use crate::batch::Recording;
use crate::client::Client;
use crate::copier::become_copier;
use crate::local::apply_receiver_options;
use crate::prepare::{Prepared, Source};
use crate::push::{self, send_source};
use crate::report::TransferReport;

/// Whether the user asked for a delta where content would be copied whole.
pub(crate) fn wants_delta(options: &TransferOptions) -> bool {
    let whole = options.whole_file != Some(false) || options.append != Append::Off;
    let copies = !(options.dry_run || options.list_only);
    copies && !whole && options.reflink != Reflink::Always
}

impl Client {
    /// A local copy that is a push to a receiving side in this process.
    pub(crate) fn copy_by_pair(
        &self,
        mut options: TransferOptions,
        (mut prepared, mut source): (Prepared, Source),
        recording: Option<Recording>,
        sources: &[BString],
        destination: Option<&BString>,
    ) -> Result<TransferReport, ClientError> {
        let started = Instant::now();
        let mut negotiated = agree_locally(&options, &self.algorithm_variables())?;
        if negotiated.seed == 0 {
            negotiated.seed = random_seed()?;
        }
        let filters = prepared.filters(self, &options, &negotiated, true);
        become_copier(&mut options)?;
        let (ours, theirs) = local_pair()?;
        let _guard = self.watch(ours.control());
        let _other_guard = self.watch(theirs.control());
        let events: Arc<dyn EventSink> = Arc::new(AsLocal(self.events.clone()));
        let (control, other_control) = (ours.control().clone(), theirs.control().clone());
        let mut session = Session::new(negotiated.clone(), options.clone(), false, events, control.clone());
        let listed = sources.last().map_or(&b""[..], |source| source);
        session.charset = self.charset(Role::Sender)?;
        if let Some(recording) = recording {
            recording.attach(self, &mut session, &filters, destination.map_or(listed, |path| path))?;
        }
        let outgoing = Outgoing::default();
        let charset = self.server_charset()?;
        let voice = ServerVoice::new(&options, &negotiated, outgoing.clone()).in_charset(charset);
        let voice = AsServer { voice, client: self.events.clone() };
        let mut server_options = TransferOptions { chmod: Vec::new(), server: true, ..options };
        server_options.munge_links = Some(apply_receiver_options(&mut server_options));
        let mut server = Session::new(negotiated, server_options, true, Arc::new(voice), other_control);
        server.outgoing = outgoing;
        server.charset = charset;
        session.land_with(&server);
        let session = Arc::new(session);
        let own_rules = Filters::of_server(&server.options, filters.cvs().clone());
        let mut server_files = self.prepare(&TransferOptions::default())?.files;
        let report = std::thread::scope(|scope| {
            let receiving = scope.spawn(|| {
                let setup = ReceiveSetup {
                    filters: own_rules,
                    rule_files: &mut server_files,
                    destination: destination.map(|path| path.to_vec()).unwrap_or_default(),
                    guard: None,
                    names: None,
                    announced_timeout: None,
                };
                receive(theirs, &server, setup)
            });
            let sent = send_source(ours, &session, &mut prepared, &mut source, filters);
            if sent.is_err() {
                control.abort();
            }
            match (sent, receiving.join()) {
                // Whoever knows why the other one left tells.
                (_, Ok(Err(error))) if !matches!(error, EngineError::UnexpectedEnd { .. }) => {
                    Err(error.into())
                }
                (sent, _) => sent,
            }
        })?;
        let report = SendReport { list_size: 0, ..report };
        let totals = self.finished(push::totals(&report, &session, started));
        Ok(TransferReport { exit_code: session.exit_code().max(server.exit_code()), totals })
    }
}

/// A seed that nobody can foresee, as servers choose theirs.
fn random_seed() -> Result<i32, ClientError> {
    let mut random = [0; 4];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| ClientError::socket("get random numbers")(error.into()))?;
    Ok(i32::from_le_bytes(random))
}

/// Two ends of a connection inside this process.
fn local_pair() -> Result<(Connection, Connection), ClientError> {
    let pair = || -> io::Result<(Link, Link)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let link = |stream: std::os::unix::net::UnixStream| {
            let writer = stream.try_clone()?;
            Link::from_fds(stream.into(), writer.into())
        };
        Ok((link(ours)?, link(theirs)?))
    };
    let (ours, theirs) = pair().map_err(ClientError::socket("make a socket pair"))?;
    Ok((Connection::new(ours), Connection::new(theirs)))
}

/// The events of a sender in a local copy, whose user sees both sides as one.
struct AsLocal(Arc<dyn EventSink>);

impl EventSink for AsLocal {
    fn wants(&self, topic: Topic) -> bool {
        self.0.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        match event {
            Event::Item { stage, item } => {
                let item = text::Item { direction: Direction::Received, ..*item };
                self.0.emit(Event::Item { stage, item: &item });
            }
            event => self.0.emit(event),
        }
    }
}

/// The events of the receiving side, which are messages for the sending one; a list needs no form that
/// travels.
struct AsServer {
    voice: ServerVoice,
    client: Arc<dyn EventSink>,
}

impl EventSink for AsServer {
    fn wants(&self, topic: Topic) -> bool {
        self.voice.wants(topic)
    }

    fn emit(&self, event: Event<'_>) {
        match event {
            Event::Listed { .. } => self.client.emit(event),
            event => self.voice.emit(event),
        }
    }
}
