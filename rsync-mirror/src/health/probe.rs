//! The checks themselves, made against a daemon.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bstr::{BString, ByteSlice};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use rsync_client::{AsyncClient, Client, ClientEnvironment, ClientError};
use rsync_daemon::{Peer, PeerError};
use rsync_engine::Link;
use rsync_proto::options::TransferOptions;
use rsync_proto::session::{
    Greeting, LONG_LINE_LIMIT, NEWEST_PROTOCOL, ProxyHeaderVersion, Reply, line, parse_listing_line,
    request_lines,
};

use super::check::{Checks, ServiceCheck};
use super::endpoint::{Connected, Endpoint};
use super::monitor::Answer;
use super::ping::ping;
use crate::duration;

/// Most bytes a daemon may say before it answers: message of the day and listing.
const TEXT_LIMIT: usize = 4 << 20;
/// Most bytes of a trace file.
const TRACE_LIMIT: u64 = 1 << 20;
/// How a daemon's refusal begins when it lives and takes nobody more.
const BUSY: &[u8] = b"@ERROR: max connections";

/// The daemon that is checked, and how it wants to be spoken to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// It expects this header of a proxy first.
    pub proxy_header: Option<ProxyHeaderVersion>,
    /// The module that `module` asks for.
    pub module: Option<BString>,
    /// User and password for modules that want some.
    pub environment: ClientEnvironment,
}

impl Target {
    /// A daemon that wants no header and no password.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, proxy_header: None, module: None, environment: ClientEnvironment::default() }
    }

    /// Makes every check until one fails.
    pub async fn examine(&self, checks: &Checks) -> Answer {
        self.examine_dated(checks).await.0
    }

    /// Makes every check until one fails; also answers the date of what the daemon serves, in seconds since
    /// 1970, where a check looked for it.
    pub(crate) async fn examine_dated(&self, checks: &Checks) -> (Answer, Option<i64>) {
        let mut date = None;
        let late = || Err(Failure::late(checks.timeout));
        let examining = tokio::time::timeout(checks.timeout, self.examine_all(checks, &mut date));
        let answer = match examining.await.unwrap_or_else(|_| late()) {
            Ok(()) => Answer::Good,
            Err(Failure::Busy(text)) => Answer::Busy(text),
            Err(Failure::Bad(text)) => Answer::Bad(text),
        };
        (answer, date)
    }

    /// Whether it is the same daemon, spoken to in the same way.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.proxy_header == other.proxy_header
            && self.module == other.module
    }

    async fn examine_all(&self, checks: &Checks, seen: &mut Option<i64>) -> Result<(), Failure> {
        if checks.l3 {
            self.ping(checks.timeout).await?;
        }
        if checks.l4 {
            self.connect(checks.timeout).await?;
        }
        match &checks.l7 {
            None => Ok(()),
            Some(ServiceCheck::Greeting) => self.greet(checks.timeout).await.map(drop),
            Some(ServiceCheck::List) => describe(self, checks.timeout).await.map(drop),
            Some(ServiceCheck::Module(name)) => {
                let name = name.as_ref().or(self.module.as_ref());
                let name = name.ok_or_else(|| Failure::Bad("no module to ask for is known".into()))?;
                self.open_module(name, checks.timeout).await
            }
            Some(ServiceCheck::Canary { path, max_age }) => {
                let listing = self.client(checks.timeout).await?.list(self.url(path)).await?;
                let found = listing.entries.first().filter(|entry| is_file(entry.mode));
                let found = found.ok_or_else(|| Failure::Bad(format!("{path} is not there")))?;
                *seen = Some(found.mtime);
                max_age.map_or(Ok(()), |max_age| check_age(path, found.mtime, max_age))
            }
            Some(ServiceCheck::Trace { path, max_age }) => {
                let content = self.client(checks.timeout).await?.fetch(self.url(path)).await?;
                let date = trace_date(&content);
                let date = date.ok_or_else(|| Failure::Bad(format!("{path} does not begin with a date")))?;
                *seen = Some(date);
                check_age(path, date, *max_age)
            }
        }
    }

    async fn ping(&self, limit: Duration) -> Result<(), Failure> {
        // A socket of this machine is as near as this process itself.
        let Endpoint::Tcp { host, .. } = &self.endpoint else { return Ok(()) };
        let host = host.clone();
        let asked = tokio::task::spawn_blocking(move || ping(&host, limit)).await;
        let failed = |error: io::Error| Failure::Bad(format!("no echo: {}", plain(&error)));
        asked.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)
    }

    async fn connect(&self, limit: Duration) -> Result<Connected, Failure> {
        let failed = |error: io::Error| {
            Failure::Bad(format!("cannot connect to {}: {}", self.endpoint, plain(&error)))
        };
        self.endpoint.connect(limit).await.map_err(failed)
    }

    async fn greet(&self, limit: Duration) -> Result<(Peer, Greeting), Failure> {
        let mut peer = Peer::new(self.connect(limit).await?.into_stream());
        if let Some(version) = self.proxy_header {
            peer.send(&version.render(None)).await?;
        }
        peer.send(&Greeting::ours(NEWEST_PROTOCOL).render()).await?;
        let line = peer.decode(|input| line(input, LONG_LINE_LIMIT)).await?;
        match Greeting::parse(&line) {
            Ok(greeting) => Ok((peer, greeting)),
            Err(_) if line.starts_with(b"@ERROR") => Err(Failure::of_refusal(&line)),
            Err(error) => Err(Failure::Bad(error.to_string())),
        }
    }

    async fn open_module(&self, module: &[u8], limit: Duration) -> Result<(), Failure> {
        let (mut peer, _) = self.greet(limit).await?;
        ask(&mut peer, module).await?;
        let answered = answer(&mut peer, |_| ()).await?;
        match answered {
            Answered::Open => Ok(()),
            Answered::Listed => Err(Failure::Bad("the daemon lists modules when it is asked for one".into())),
        }
    }

    /// A client whose only connection is made already.
    async fn client(&self, limit: Duration) -> Result<AsyncClient, Failure> {
        let mut socket = File::from(self.connect(limit).await?.into_fd()?);
        if let Some(version) = self.proxy_header {
            // A socket that is new has room for it.
            socket.write_all(&version.render(None))?;
        }
        let socket = OwnedFd::from(socket);
        let reader = socket.try_clone()?;
        let link = Mutex::new(Some(Link::from_fds(reader, socket)?));
        let connector = move |_: &rsync_client::ConnectRequest<'_>| {
            let link = link.lock().unwrap_or_else(PoisonError::into_inner).take();
            link.ok_or_else(|| io::ErrorKind::NotConnected.into())
        };
        let options = TransferOptions {
            motd: false,
            max_alloc: TRACE_LIMIT,
            timeout: u32::try_from(limit.as_secs()).unwrap_or(u32::MAX).max(1),
            ..TransferOptions::default()
        };
        let client = Client::builder().options(options).environment(self.environment.clone());
        Ok(AsyncClient::new(client.connector(Arc::new(connector)).build()))
    }

    /// An endpoint for the client; where it leads is decided already.
    fn url(&self, path: &BString) -> BString {
        [b"rsync://daemon/", path.as_slice()].concat().into()
    }
}

/// Why a check fails.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Busy(String),
    Bad(String),
}

impl Failure {
    /// Of a daemon that did not answer in time.
    pub(crate) fn late(limit: Duration) -> Self {
        Self::Bad(format!("no answer within {}", duration::text(limit)))
    }

    /// What the daemon said, or what is wrong with it.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Busy(text) | Self::Bad(text) => text,
        }
    }

    /// Of a line that begins with `@ERROR`.
    fn of_refusal(line: &[u8]) -> Self {
        let text = line.to_str_lossy().into_owned();
        if line.starts_with(BUSY) { Self::Busy(text) } else { Self::Bad(text) }
    }
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        Self::Bad(match error {
            PeerError::Closed => "the daemon closed the connection".into(),
            PeerError::Io(error) => plain(&error),
            error => error.to_string(),
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Bad(plain(&error))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { line } => Self::of_refusal(&line),
            error => Self::Bad(error.to_string()),
        }
    }
}

/// What the system said, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What a daemon says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) greeting: Greeting,
    /// Names and comments, in the daemon's order.
    pub(crate) modules: Vec<(BString, BString)>,
}

/// Asks a daemon for its greeting and its modules.
pub(crate) async fn describe(target: &Target, limit: Duration) -> Result<Described, Failure> {
    let (mut peer, greeting) = target.greet(limit).await?;
    ask(&mut peer, b"").await?;
    let mut modules = Vec::new();
    let listed = answer(&mut peer, |line| {
        modules.extend(parse_listing_line(line).map(|(name, comment)| (name.into(), comment.into())));
    });
    match listed.await? {
        Answered::Listed => Ok(Described { greeting, modules }),
        Answered::Open => Err(Failure::Bad("the daemon opens a module when it is asked for its list".into())),
    }
}

async fn ask(peer: &mut Peer, module: &[u8]) -> Result<(), Failure> {
    let request = request_lines(module, b"", b"").map_err(|error| Failure::Bad(error.to_string()))?;
    Ok(peer.send(&request).await?)
}

enum Answered {
    /// A module, maybe after a password.
    Open,
    Listed,
}

/// Reads until the daemon has answered a request; lines that are no answer go to `text`.
async fn answer(peer: &mut Peer, mut text: impl FnMut(&[u8])) -> Result<Answered, Failure> {
    let mut heard = 0;
    while heard <= TEXT_LIMIT {
        let line = peer.decode(|input| line(input, LONG_LINE_LIMIT)).await?;
        heard += line.len() + 1;
        match Reply::parse(&line) {
            Reply::Ok | Reply::AuthRequired(_) => return Ok(Answered::Open),
            Reply::Exit => return Ok(Answered::Listed),
            Reply::Error(line) => return Err(Failure::of_refusal(&line)),
            Reply::Text(line) => text(&line),
        }
    }
    Err(Failure::Bad("the daemon's message does not end".into()))
}

/// Whether the type bits of a mode are those of a regular file.
fn is_file(mode: u32) -> bool {
    mode & 0o170_000 == 0o100_000
}

fn check_age(path: &BString, date: i64, max_age: Duration) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    judge_age(path, date, max_age, now)
}

fn judge_age(path: &BString, date: i64, max_age: Duration, now: Duration) -> Result<(), Failure> {
    let age = now.saturating_sub(Duration::from_secs(u64::try_from(date).unwrap_or(0)));
    if age <= max_age {
        return Ok(());
    }
    let (age, limit) = (duration::text(Duration::from_secs(age.as_secs())), duration::text(max_age));
    Err(Failure::Bad(format!("{path} is {age} old, the limit is {limit}")))
}

/// The date in the first line of a trace file, in seconds since 1970.
fn trace_date(content: &[u8]) -> Option<i64> {
    let line = content.lines().next()?.to_str().ok()?.trim();
    if !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()) {
        return line.parse().ok();
    }
    if let Ok(date) = line.parse::<Timestamp>() {
        return Some(date.as_second());
    }
    if let Ok(date) = rfc2822::parse(line) {
        return Some(date.timestamp().as_second());
    }
    // `date -u`: Sat Nov 21 16:48:41 UTC 2026
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, month, day, time, "UTC" | "GMT", year] = words[..] else { return None };
    let date = strtime::parse("%b %d %H:%M:%S %Y", format!("{month} {day} {time} {year}")).ok()?;
    let date: DateTime = date.to_datetime().ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_traces_are_read() {
        for line in [
            "Sat Nov 21 16:48:41 UTC 2026\nDate: whatever\n",
            "2026-11-21T16:48:41Z",
            "Sat, 21 Nov 2026 16:48:41 +0000\n",
            "1795279721\n",
        ] {
            assert_eq!(trace_date(line.as_bytes()), Some(1_795_279_721), "{line}");
        }
        for line in
            ["", "\n", "soon", "Sat Nov 21 16:48:41 CET 2026", "Sat Nov 41 16:48:41 UTC 2026", "\u{feff}1"]
        {
            assert_eq!(trace_date(line.as_bytes()), None, "{line}");
        }
        assert_eq!(trace_date(&[0xff, 0xfe]), None);
    }

    #[test]
    fn an_old_file_is_told_with_its_age() {
        let now = Duration::from_secs(100_000);
        let judge = |date, max_age| judge_age(&"m/f".into(), date, Duration::from_secs(max_age), now);
        assert_eq!(judge(99_000, 1000), Ok(()));
        assert_eq!(judge(200_000, 1000), Ok(()), "of a clock that is ahead");
        let text = "m/f is 2h old, the limit is 1h";
        assert_eq!(judge(100_000 - 7200, 3600), Err(Failure::Bad(text.into())));
    }

    #[test]
    fn only_a_full_daemon_is_busy() {
        let busy = "@ERROR: max connections (1) reached -- try again later";
        assert_eq!(Failure::of_refusal(busy.as_bytes()), Failure::Busy(busy.into()));
        assert!(matches!(Failure::of_refusal(b"@ERROR: Unknown module 'x'"), Failure::Bad(_)));
    }
}
