//! Upstreams that are looked at when a run is about to ask them, for runs without a site around them.

use bstr::{BString, ByteSlice};
use rsync_client::ClientEnvironment;
use rsync_proto::options::{Operand, Remote, RemoteKind};

use super::Health;
use crate::health::{Answer, Checks, Endpoint, Target};
use crate::job::Upstream;

/// The port of a daemon whose URL names none.
const PORT: u16 = 873;

/// Makes checks at the moment they are asked for. Upstreams that are no daemons over plain TCP are taken
/// for well: what could be asked of them is what the transfer asks.
#[derive(Clone, Debug)]
pub struct Probed {
    checks: Checks,
    environment: ClientEnvironment,
}

impl Probed {
    /// Makes `checks`, with passwords and the like from `environment` where an upstream has none.
    #[must_use]
    pub fn new(checks: Checks, environment: ClientEnvironment) -> Self {
        Self { checks, environment }
    }
}

/// What is asked about an upstream, with passwords and the like from `environment` where it has none itself.
/// None for those that are no daemons over plain TCP.
pub(crate) fn target(upstream: &Upstream, environment: &ClientEnvironment) -> Option<Target> {
    let Ok(Operand::Remote(remote, path)) = Operand::parse(upstream.url.as_bytes()) else { return None };
    let Remote { kind: RemoteKind::Daemon, tls: false, .. } = remote else { return None };
    let port = remote.port.filter(|&port| port != 0).unwrap_or(PORT);
    let host = remote.host.to_str().ok()?.to_owned();
    let mut target = Target::new(Endpoint::Tcp { host, port });
    target.module = path.split_str(b"/").next().filter(|name| !name.is_empty()).map(BString::from);
    target.environment = environment.clone();
    if let Some(user) = remote.user.or(upstream.username.as_ref().map(|user| user.as_str().into())) {
        target.environment.user = Some(user);
    }
    if let Some(password) = &upstream.password {
        target.environment.password = Some(password.reveal().into());
    }
    Some(target)
}

impl Health for Probed {
    fn check(&self, upstream: &Upstream) -> Result<(), String> {
        let Some(target) = target(upstream, &self.environment) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot be checked: {error}"))?;
        match runtime.block_on(target.examine(&self.checks)) {
            Answer::Good => Ok(()),
            Answer::Busy(reason) => Err(format!("is busy: {reason}")),
            Answer::Bad(reason) => Err(format!("is not well: {reason}")),
        }
    }
}
