//! The text phase with a daemon: greeting, request, password, until `OK` (spec 01 §2).

use std::io::{self, Read};

use bstr::BString;
use rsync_engine::{Connection, EngineError, open_users_file};
use rsync_proto::options::Remote;
use rsync_proto::session::{
    AuthDigest, EARLY_INPUT_LIMIT, Greeting, LONG_LINE_LIMIT, LineError, NEWEST_PROTOCOL, Reply, auth_answer,
    line, request_lines,
};
use rsync_proto::text::{Event, Severity};

use crate::ClientError;
use crate::client::Client;
use crate::password::{PasswordError, PasswordRequest, read_password_file};

/// Most bytes a daemon may say before `OK`: message of the day and listing.
const MAX_TEXT: usize = 4 << 20;

/// How the text phase ended.
#[derive(Debug)]
pub(crate) enum Login {
    /// The module is open; the argument list comes next.
    Open {
        /// What the daemon's greeting said.
        peer: Greeting,
        /// The protocol both ends use, not range-checked.
        agreed: i32,
    },
    /// The daemon said everything it had to say.
    Done,
}

impl Client {
    /// The newest protocol this client offers.
    pub(crate) fn own_protocol(&self) -> u8 {
        self.options.protocol.and_then(|protocol| u8::try_from(protocol).ok()).unwrap_or(NEWEST_PROTOCOL)
    }

    /// Asks for `module`, empty for a listing; every line that is no answer goes to `text`.
    pub(crate) fn log_in(
        &self,
        connection: &mut Connection,
        remote: &Remote,
        module: &[u8],
        mut text: impl FnMut(&[u8]),
    ) -> Result<Login, ClientError> {
        let own = self.own_protocol();
        connection.write(&Greeting::ours(own).render())?;
        let greeting = read_line(connection, "rsync: did not see server greeting")?;
        let peer = Greeting::parse(&greeting)?;
        let agreed = peer.agree(own);
        let (early_input, file) = self.early_input()?;
        connection.write(&request_lines(module, &early_input, &file)?)?;

        let mut heard = 0;
        let mut asked = false;
        loop {
            let line = read_line(connection, "rsync: didn't get server startup line")?;
            heard += line.len() + 1;
            if heard > MAX_TEXT {
                return Err(EngineError::protocol("the daemon's message does not end").into());
            }
            match Reply::parse(&line) {
                Reply::AuthRequired(challenge) => {
                    if std::mem::replace(&mut asked, true) {
                        return Err(EngineError::protocol("the daemon asks for a password twice").into());
                    }
                    let digest = AuthDigest::choose(&peer, agreed)?;
                    let user = self.user(remote);
                    let password =
                        self.password(&PasswordRequest { user: &user, host: &remote.host, module })?;
                    connection.write(&auth_answer(&user, &digest.response(&password, &challenge)))?;
                }
                Reply::Ok => return Ok(Login::Open { peer, agreed }),
                Reply::Exit => return Ok(Login::Done),
                Reply::Error(line) => return Err(ClientError::Refused { line }),
                Reply::Text(line) => {
                    if self.options.motd {
                        let text = [line.as_slice(), b"\n"].concat();
                        self.events.emit(Event::PeerText { severity: Severity::Info, text: &text });
                    }
                    text(&line);
                }
            }
        }
    }

    fn early_input(&self) -> Result<(Vec<u8>, BString), ClientError> {
        let Some(file) = &self.options.early_input else { return Ok((Vec::new(), BString::default())) };
        let read = || -> io::Result<Vec<u8>> {
            let mut content = Vec::new();
            let opened = open_users_file(file, &self.options)?;
            // One byte more than may be sent tells that it is too much.
            opened.take(EARLY_INPUT_LIMIT as u64 + 1).read_to_end(&mut content)?;
            Ok(content)
        };
        let content = read().map_err(|source| ClientError::OpenEarlyInput { path: file.clone(), source })?;
        Ok((content, file.clone()))
    }

    fn user(&self, remote: &Remote) -> BString {
        let user = remote.user.as_ref().or(self.environment.user.as_ref()).filter(|user| !user.is_empty());
        user.cloned().unwrap_or_else(|| "nobody".into())
    }

    fn password(&self, request: &PasswordRequest<'_>) -> Result<Vec<u8>, PasswordError> {
        if let Some(file) = &self.options.password_file {
            return read_password_file(file, &self.options);
        }
        if let Some(password) = &self.environment.password {
            return Ok(password.to_vec());
        }
        let ask = self.password.as_ref().ok_or(PasswordError::Missing)?;
        ask(request).map_err(PasswordError::Ask)
    }
}

/// Reads a line; `missing` is what the C rsync says when there is none.
fn read_line(connection: &mut Connection, missing: &'static str) -> Result<Vec<u8>, ClientError> {
    let read = connection.decode(|input| match line(input, LONG_LINE_LIMIT) {
        Ok(line) => Ok(Some(line)),
        Err(LineError::Wire(error)) => Err(error),
        Err(LineError::Nul | LineError::TooLong { .. }) => Ok(None),
    });
    match read {
        Ok(Some(line)) => Ok(line),
        Ok(None) | Err(EngineError::UnexpectedEnd { .. }) => Err(ClientError::NoLine { text: missing }),
        Err(error) => Err(error.into()),
    }
}
