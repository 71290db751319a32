//! Reaching the other side: TCP, proxy, program or remote shell (spec 01 §1).
//!
//! Every way ends in a [`Transport`]: a link for the engine, and the child process behind it if any.

mod custom;
mod program;
mod shell;
mod tcp;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

use std::os::fd::OwnedFd;

use rsync_engine::Link;

use crate::ClientError;

pub use custom::{ConnectRequest, Connector};
pub(crate) use program::connect_program;
pub(crate) use shell::{Shell, ShellCommand, default_blocking_io};
pub(crate) use tcp::{TcpOptions, Told, connect_tcp};
pub(crate) use tls::Tls;

/// A connection, before anything was said over it.
#[derive(Debug)]
pub(crate) struct Transport {
    /// Both directions.
    pub(crate) link: Link,
    /// The process behind the link.
    pub(crate) child: Option<Shell>,
    /// What the proxy at the other end is asked before the link leads to the daemon.
    pub(crate) proxy_request: Option<Vec<u8>>,
    /// What protects the way from then on.
    pub(crate) tls: Option<Tls>,
}

impl Transport {
    /// A connection that the caller made.
    pub(crate) fn of_link(link: Link) -> Self {
        Self { link, child: None, proxy_request: None, tls: None }
    }

    /// Makes a transport of one socket.
    fn of_socket(socket: OwnedFd, child: Option<Shell>) -> Result<Self, ClientError> {
        let writer = socket.try_clone().map_err(ClientError::socket("clone the socket"))?;
        let link = Link::from_fds(socket, writer).map_err(ClientError::socket("prepare the socket"))?;
        Ok(Self { link, child, proxy_request: None, tls: None })
    }
}
