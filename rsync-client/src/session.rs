//! From a connection to an agreement: request, argument list, binary setup (spec 01 §2.7, §3, §4).

use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use rsync_engine::{Connection, Session};
use rsync_proto::charset::Charset;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{Direction, Iconv, Remote, RemoteKind, TransferOptions, Wire};
use rsync_proto::session::{
    AlgorithmVariables, ClientSetup, Entry, Negotiated, Progress, put_daemon_arguments,
    put_secluded_arguments,
};
use rsync_proto::text::{Event, EventSink, Message, Role, Totals};

use crate::ClientError;
use crate::client::Client;
use crate::daemon::Login;

/// A session whose file lists come next.
pub(crate) struct Agreed {
    pub(crate) connection: Connection,
    pub(crate) negotiated: Negotiated,
    /// The charset of names on this side, if they are converted.
    pub(crate) charset: Option<Charset>,
}

impl Agreed {
    /// The two halves of what the engine needs.
    pub(crate) fn into_session(
        self,
        options: TransferOptions,
        events: Arc<dyn EventSink>,
    ) -> (Connection, Session) {
        let Self { connection, negotiated, charset } = self;
        let control = connection.control().clone();
        let mut session = Session::new(negotiated, options, false, events, control);
        session.charset = charset;
        (connection, session)
    }
}

impl Client {
    /// Connects to `remote`, asks for `paths`, and hands the agreed session to `run`, whose answer is
    /// `None` where a daemon ended the session well before it began.
    pub(crate) fn session<T>(
        &self,
        remote: &Remote,
        paths: &[BString],
        direction: Direction,
        options: &TransferOptions,
        run: impl FnOnce(Agreed) -> Result<(T, ExitCode), ClientError>,
    ) -> Result<(Option<T>, ExitCode), ClientError> {
        let role = role_of(direction);
        let charset = self.charset(role)?;
        match remote.kind {
            RemoteKind::Daemon => self.daemon_session(remote, paths, (direction, charset), options, run),
            RemoteKind::Shell => {
                let words = options.server_words(direction, Wire::Shell, self.own_protocol(), paths);
                let transport = self.connect_shell(remote, words.first)?;
                let greet = |_: &mut Connection| Ok(ControlFlow::Continue(()));
                self.call(transport, greet, |mut connection, ()| {
                    if let Some(second) = words.second {
                        let mut list = Vec::new();
                        put_secluded_arguments(&mut list, &to_wire(charset, second));
                        connection.write(&list)?;
                    }
                    let agreed = self.set_up(connection, (direction, charset), options, Entry::Exchange)?;
                    run(agreed).map(|(value, code)| (Some(value), code))
                })
            }
        }
    }

    fn daemon_session<T>(
        &self,
        remote: &Remote,
        paths: &[BString],
        (direction, charset): (Direction, Option<Charset>),
        options: &TransferOptions,
        run: impl FnOnce(Agreed) -> Result<(T, ExitCode), ClientError>,
    ) -> Result<(Option<T>, ExitCode), ClientError> {
        let first = paths.first().map_or(&b""[..], |path| path);
        let module = first.split_once_str("/").map_or(first, |(module, _)| module);
        if module.is_empty() {
            return Err(ClientError::NoModule { over_shell: self.options.rsh.is_some() });
        }
        let role = role_of(direction);
        let transport = self.connect_daemon(remote, role)?;
        let greet = |connection: &mut Connection| match self.log_in(connection, remote, module, |_| {})? {
            Login::Open { peer, agreed } => Ok(ControlFlow::Continue((peer, agreed))),
            Login::Done => Ok(ControlFlow::Break(None)),
        };
        self.call(transport, greet, |mut connection, (peer, agreed)| {
            let protocol = u8::try_from(agreed).unwrap_or_else(|_| self.own_protocol());
            let mut words = options.server_words(direction, Wire::Daemon { module }, protocol, paths);
            words.second = words.second.map(|second| to_wire(charset, second));
            let mut list = Vec::new();
            put_daemon_arguments(&mut list, &words, agreed);
            connection.write(&list)?;
            let entry = Entry::Greeted { peer: peer.version, agreed };
            let agreed = self.set_up(connection, (direction, charset), options, entry)?;
            run(agreed).map(|(value, code)| (Some(value), code))
        })
    }

    /// The environment's lists of algorithms.
    pub(crate) fn algorithm_variables(&self) -> AlgorithmVariables {
        AlgorithmVariables {
            checksum: self.environment.checksum_list.clone(),
            compress: self.environment.compress_list.clone(),
        }
    }

    /// Tells the event sink the numbers of a transfer that ran to its end.
    pub(crate) fn finished(&self, totals: Totals) -> Totals {
        self.events.emit(Event::Finished(&totals));
        totals
    }

    fn set_up(
        &self,
        mut connection: Connection,
        (direction, charset): (Direction, Option<Charset>),
        options: &TransferOptions,
        entry: Entry,
    ) -> Result<Agreed, ClientError> {
        let variables = self.algorithm_variables();
        let mut setup = ClientSetup::new(entry, options, direction == Direction::Pull, &variables)?;
        loop {
            match connection.decode(|input| setup.advance(input))? {
                Progress::Write(bytes) => connection.write(&bytes)?,
                Progress::Done(negotiated) => {
                    return Ok(Agreed { connection, negotiated: *negotiated, charset });
                }
            }
        }
    }

    /// The charset of names on this side, if they are converted.
    pub(crate) fn charset(&self, role: Role) -> Result<Option<Charset>, ClientError> {
        let Some(iconv) = &self.options.iconv else { return Ok(None) };
        let name = iconv.of_client(self.locale_charset());
        let charset = Charset::named(name)?;
        let message = Message::Charset(role, name);
        if self.events.wants(message.topic()) {
            self.events.emit(Event::Message(message));
        }
        Ok(Some(charset))
    }

    /// The charset of names on the other side of a local copy, if they are converted.
    pub(crate) fn server_charset(&self) -> Result<Option<Charset>, ClientError> {
        let named = |iconv: &Iconv| Charset::named(iconv.of_server(self.locale_charset()));
        Ok(self.options.iconv.as_ref().map(named).transpose()?)
    }

    fn locale_charset(&self) -> &[u8] {
        self.environment.charset.as_ref().map_or(b"UTF-8", |name| name)
    }
}

/// Words of a second list as they travel.
fn to_wire(charset: Option<Charset>, words: Vec<BString>) -> Vec<BString> {
    let Some(charset) = charset else { return words };
    words.iter().map(|word| charset.text_to_wire(word).into()).collect()
}

/// Who speaks of a session that has not begun.
fn role_of(direction: Direction) -> Role {
    if direction == Direction::Push { Role::Sender } else { Role::EarlyReceiver }
}
