//! From a connection to an agreement: request, argument list, binary setup (spec 01 §2.7, §3, §4).

use bstr::{BString, ByteSlice};
use rsync_engine::Connection;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{Direction, Remote, RemoteKind, TransferOptions, Wire};
use rsync_proto::session::{
    AlgorithmVariables, ClientSetup, Entry, Negotiated, Progress, put_daemon_arguments,
    put_secluded_arguments,
};

use rsync_proto::text::{Event, Totals};

use crate::ClientError;
use crate::client::Client;
use crate::daemon::Login;

/// A session whose file lists come next.
pub(crate) struct Agreed {
    pub(crate) connection: Connection,
    pub(crate) negotiated: Negotiated,
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
        match remote.kind {
            RemoteKind::Daemon => self.daemon_session(remote, paths, direction, options, run),
            RemoteKind::Shell => {
                let words = options.server_words(direction, Wire::Shell, self.own_protocol(), paths);
                let transport = self.connect_shell(remote, words.first)?;
                self.call(transport, |mut connection| {
                    if let Some(second) = words.second {
                        let mut list = Vec::new();
                        put_secluded_arguments(&mut list, &second);
                        connection.write(&list)?;
                    }
                    let agreed = self.set_up(connection, direction, options, Entry::Exchange)?;
                    run(agreed).map(|(value, code)| (Some(value), code))
                })
            }
        }
    }

    fn daemon_session<T>(
        &self,
        remote: &Remote,
        paths: &[BString],
        direction: Direction,
        options: &TransferOptions,
        run: impl FnOnce(Agreed) -> Result<(T, ExitCode), ClientError>,
    ) -> Result<(Option<T>, ExitCode), ClientError> {
        let first = paths.first().map_or(&b""[..], |path| path);
        let module = first.split_once_str("/").map_or(first, |(module, _)| module);
        if module.is_empty() {
            return Err(ClientError::NoModule { over_shell: self.options.rsh.is_some() });
        }
        let transport = self.connect_daemon(remote)?;
        self.call(transport, |mut connection| {
            let login = self.log_in(&mut connection, remote, module, |_| {})?;
            let Login::Open { peer, agreed } = login else { return Ok((None, ExitCode::OK)) };
            let protocol = u8::try_from(agreed).unwrap_or_else(|_| self.own_protocol());
            let words = options.server_words(direction, Wire::Daemon { module }, protocol, paths);
            let mut list = Vec::new();
            put_daemon_arguments(&mut list, &words, agreed);
            connection.write(&list)?;
            let entry = Entry::Greeted { peer: peer.version, agreed };
            let agreed = self.set_up(connection, direction, options, entry)?;
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
        direction: Direction,
        options: &TransferOptions,
        entry: Entry,
    ) -> Result<Agreed, ClientError> {
        let variables = self.algorithm_variables();
        let mut setup = ClientSetup::new(entry, options, direction == Direction::Pull, &variables)?;
        loop {
            match connection.decode(|input| setup.advance(input))? {
                Progress::Write(bytes) => connection.write(&bytes)?,
                Progress::Done(negotiated) => return Ok(Agreed { connection, negotiated: *negotiated }),
            }
        }
    }
}
