//! A name server that knows one name.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long an answer holds, in seconds.
const TTL: u32 = 60;
/// The type of an address of IPv4.
const A: [u8; 2] = [0, 1];

/// A running name server, which answers every question with the same addresses.
#[derive(Debug)]
pub struct NameServer {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one at the usual port of `at`.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(at: Ipv4Addr, addresses: Vec<Ipv4Addr>) -> Self {
        let socket = UdpSocket::bind((at, 53)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut packet = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                let Ok((count, from)) = socket.recv_from(&mut packet) else { continue };
                if let Some(answer) = answer(&packet[..count], &addresses) {
                    // Who does not hear it asks again.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { is_over, thread: Some(thread) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The answer to a question (RFC 1035 §4.1); none of what is no question.
fn answer(question: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name_len = question.get(HEADER..)?.iter().position(|&byte| byte == 0)? + 1;
    let asked = question.get(HEADER..HEADER + name_len + 4)?;
    let addresses = if asked[name_len..name_len + 2] == A { addresses } else { &[] };
    let mut answer = question[..2].to_vec();
    // An answer of one who may say so, without an error, to one question.
    answer.extend([0x85, 0x80, 0, 1, 0, u8::try_from(addresses.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(asked);
    for address in addresses {
        // The name is that of the question.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1]);
        answer.extend(TTL.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
