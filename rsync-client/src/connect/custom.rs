//! Connections that the caller makes: any two streams can lead to the far end.

use std::io;
use std::sync::Arc;

use bstr::BString;
use rsync_engine::Link;
use rsync_proto::options::Remote;

/// What is to be at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectRequest<'a> {
    /// The host, user and port of the endpoint, as typed; the host may be any text.
    pub remote: &'a Remote,
    /// The words that a server there is to be started with (`rsync` itself is not among them);
    /// `None` asks for a daemon.
    pub server: Option<&'a [BString]>,
}

/// Makes connections in place of sockets, programs and remote shells.
///
/// [`Link::from_fds`] makes a link that can be cancelled at any time, [`Link::of_streams`] one of any
/// `Read` and `Write`.
pub type Connector = Arc<dyn Fn(&ConnectRequest<'_>) -> io::Result<Link> + Send + Sync>;
