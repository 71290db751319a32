//! A TCP proxy that misbehaves: small pieces, cut connections, pauses.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::tree::random;

/// Bytes of noise.
const NOISE: usize = 3000;

/// What the proxy does to every connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProxyPlan {
    /// Most bytes handed on at a time; 0 for no limit.
    pub piece: usize,
    /// Cuts both directions after so many bytes from server to client.
    pub cut_after: Option<u64>,
    /// Stops handing on anything after so many bytes from server to client, without closing, until
    /// [`Proxy::go_on`].
    pub stall_after: Option<u64>,
    /// Hands on noise in place of what the server says after so many bytes, and then cuts.
    pub noise_after: Option<u64>,
    /// Waits so long before each piece from server to client.
    pub pause: Duration,
}

/// How long a connection stalls at most.
const STALL_LIMIT: Duration = Duration::from_secs(600);

/// A proxy in front of a loopback port.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    downstream: Arc<AtomicU64>,
    upstream: Arc<AtomicU64>,
    stall: Arc<Stall>,
    stopping: Arc<AtomicBool>,
}

/// Whether connections that have stalled go on.
#[derive(Debug, Default)]
struct Stall {
    goes_on: Mutex<bool>,
    changed: Condvar,
}

impl Proxy {
    /// Listens, and connects every client to `target` on the loopback address.
    #[must_use]
    pub fn start(target: u16, plan: ProxyPlan) -> Self {
        Self::start_with(target, move || plan)
    }

    /// The same with a plan for each connection.
    #[must_use]
    pub fn start_with(target: u16, mut plan: impl FnMut() -> ProxyPlan + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            downstream: Arc::default(),
            upstream: Arc::default(),
            stall: Arc::default(),
            stopping: Arc::default(),
        };
        let (downstream, upstream) = (proxy.downstream.clone(), proxy.upstream.clone());
        let (stall, stopping) = (proxy.stall.clone(), proxy.stopping.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect((Ipv4Addr::LOCALHOST, target)))
                else {
                    continue;
                };
                serve(&client, &server, plan(), (&downstream, &upstream), &stall);
            }
        });
        proxy
    }

    /// The port to connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes handed on from server to client so far, over all connections.
    #[must_use]
    pub fn downstream(&self) -> u64 {
        self.downstream.load(Ordering::Relaxed)
    }

    /// Lets connections that have stalled go on, for good.
    pub fn go_on(&self) {
        *self.stall.goes_on.lock().unwrap() = true;
        self.stall.changed.notify_all();
    }

    /// Bytes handed on from client to server so far, over all connections.
    #[must_use]
    pub fn upstream(&self) -> u64 {
        self.upstream.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn serve(
    client: &TcpStream,
    server: &TcpStream,
    plan: ProxyPlan,
    (down, up): (&Arc<AtomicU64>, &Arc<AtomicU64>),
    stall: &Arc<Stall>,
) {
    for stream in [client, server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (from_server, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let (up, down) = (up.clone(), down.clone());
    let upward = ProxyPlan { piece: plan.piece, ..ProxyPlan::default() };
    let (upward_stall, stall) = (stall.clone(), stall.clone());
    thread::spawn(move || relay(from_client, to_server, upward, &up, &upward_stall));
    thread::spawn(move || relay(from_server, to_client, plan, &down, &stall));
}

fn relay(mut from: TcpStream, mut to: TcpStream, mut plan: ProxyPlan, count: &AtomicU64, stall: &Stall) {
    let mut buffer = vec![0; if plan.piece == 0 { 1 << 16 } else { plan.piece }];
    let mut handed_on = 0_u64;
    loop {
        let room = match plan.cut_after.or(plan.stall_after).or(plan.noise_after) {
            Some(limit) => usize::try_from(limit - handed_on).unwrap_or(usize::MAX).min(buffer.len()),
            None => buffer.len(),
        };
        if room == 0 {
            if plan.noise_after.is_some() {
                // Whoever reads it may have had enough.
                let _ = to.write_all(&random(NOISE, handed_on));
            }
            if plan.stall_after.is_none() {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
            let goes_on = stall.goes_on.lock().unwrap();
            let waited = stall.changed.wait_timeout_while(goes_on, STALL_LIMIT, |goes_on| !*goes_on).unwrap();
            if waited.1.timed_out() {
                return;
            }
            plan.stall_after = None;
            continue;
        }
        let Ok(read @ 1..) = from.read(&mut buffer[..room]) else { break };
        if !plan.pause.is_zero() {
            thread::sleep(plan.pause);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        handed_on += read as u64;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
