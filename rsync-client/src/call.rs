//! One call over one connection: cancellation, timeout, and the fate of the process behind it.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

use rsync_engine::Connection;
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{Remote, RemoteKind};
use rsync_proto::session::{ConnectProxy, parse_listing_line};
use rsync_proto::text::Role;
use rsync_proto::wire::{NeedsInput, WireError};

use crate::ClientError;
use crate::client::{Client, parse_remote};
use crate::connect::{Shell, Transport};
use crate::report::Module;

impl Client {
    /// The modules a daemon lists, in its order. `endpoint` is `host::` or `rsync://host/`; a path is ignored.
    ///
    /// # Errors
    /// What prevents the connection, or the daemon's refusal.
    pub fn list_modules(&self, endpoint: impl AsRef<[u8]>) -> Result<Vec<Module>, ClientError> {
        let (remote, path) = parse_remote(endpoint.as_ref())?;
        if remote.kind != RemoteKind::Daemon {
            return Err(ClientError::NotRemote { path });
        }
        self.list_modules_of(&remote)
    }

    /// Like [`Client::list_modules`], of a daemon that is parsed already.
    ///
    /// # Errors
    /// What prevents the connection, or the daemon's refusal.
    pub fn list_modules_of(&self, remote: &Remote) -> Result<Vec<Module>, ClientError> {
        let transport = self.connect_daemon(remote, Role::EarlyReceiver)?;
        let listing = |connection: &mut Connection| {
            let mut modules = Vec::new();
            self.log_in(connection, remote, b"", |line| {
                if let Some((name, comment)) = parse_listing_line(line) {
                    modules.push(Module { name: name.into(), comment: comment.into() });
                }
            })?;
            Ok(ControlFlow::Break(modules))
        };
        let (modules, _) = self.call(transport, listing, |_, never: Infallible| match never {})?;
        Ok(modules)
    }

    /// Runs `greet`, which may be the whole call, and then `session`, which answers a value and its exit
    /// code, over a connection of its own. The status of a remote shell raises the exit code of a session;
    /// until there is one it counts for nothing, for a C daemon ends with 255 then, whatever happened.
    pub(crate) fn call<G, T>(
        &self,
        transport: Transport,
        greet: impl FnOnce(&mut Connection) -> Result<ControlFlow<T, G>, ClientError>,
        session: impl FnOnce(Connection, G) -> Result<(T, ExitCode), ClientError>,
    ) -> Result<(T, ExitCode), ClientError> {
        let Transport { link, child, proxy_request, tls } = transport;
        let control = link.control.clone();
        let _guard = self.watch(&control);
        if self.options.timeout > 0 {
            control.set_timeout(Some(Duration::from_secs(self.options.timeout.into())));
        }
        let mut connection = Connection::new(link);
        if let Some(request) = proxy_request {
            connection.write(&request)?;
            pass_proxy(&mut connection)?;
        }
        if let Some(tls) = tls {
            connection = tls.protect(connection)?;
        }
        let greeting = match greet(&mut connection) {
            Ok(ControlFlow::Continue(greeting)) => greeting,
            Ok(ControlFlow::Break(value)) => {
                leave(connection, child, false);
                return Ok((value, ExitCode::OK));
            }
            Err(error) => {
                leave(connection, child, true);
                return Err(error);
            }
        };
        match (session(connection, greeting), child) {
            (result, None) => result,
            (Ok((value, own)), Some(child)) => Ok((value, child.finish(own, false))),
            (Err(error), Some(child)) => {
                let own = error.exit_code();
                let code = child.finish(own, true);
                Err(if code == own {
                    error
                } else {
                    ClientError::ShellFailed { code, error: Box::new(error) }
                })
            }
        }
    }
}

/// Ends the process behind a connection that led to no session, whatever its status is.
fn leave(connection: Connection, child: Option<Shell>, failed: bool) {
    drop(connection);
    if let Some(child) = child {
        child.finish(ExitCode::OK, failed);
    }
}

/// Reads the proxy's answer; what follows is the daemon's.
fn pass_proxy(connection: &mut Connection) -> Result<(), ClientError> {
    let answer = connection.decode(|input| match ConnectProxy::response(input) {
        Err(error) => match error.missing() {
            Some(missing) => Err(WireError::Incomplete { missing }),
            None => Ok(Err(error)),
        },
        answer => Ok(answer),
    })?;
    Ok(answer?)
}
