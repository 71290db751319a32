//! A daemon that plays a script to whoever connects, and a tap that writes such scripts down.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bstr::ByteSlice;

use crate::hostile::{data_frame, hex};

/// What a scripted daemon does next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends bytes.
    Say(Vec<u8>),
    /// Reads until the client has said this.
    Hear(Vec<u8>),
    /// Reads until the client has sent so many bytes of data after its arguments.
    HearData(usize),
    /// Sends bytes one by one with this pause after each.
    Drip(Vec<u8>, Duration),
    /// Sends the same again and again.
    Forever(Vec<u8>),
    /// Closes the sending direction. Without it the daemon stays, silent, until the client leaves.
    Close,
}

impl Step {
    /// The text phase of a daemon at `protocol`, and the binary one up to the seed, which is 1.
    /// `flags` are the compatibility flags, unless the protocol has none.
    #[must_use]
    pub fn handshake(protocol: u8, flags: &str) -> Self {
        let greeting = match protocol {
            ..30 => format!("@RSYNCD: {protocol}\n@RSYNCD: OK\n"),
            _ => format!("@RSYNCD: {protocol}.0\n@RSYNCD: OK\n"),
        };
        let flags = if protocol < 30 { "" } else { flags };
        let mut bytes = greeting.into_bytes();
        bytes.extend(hex(&format!("{flags} 01000000")));
        Self::Say(bytes)
    }

    /// Sends one DATA frame of bytes in hexadecimal.
    #[must_use]
    pub fn data(payload: &str) -> Self {
        Self::Say(data_frame(&hex(payload)))
    }
}

/// Longest wait for something that the client may never say.
const LONGEST_WAIT: Duration = Duration::from_millis(800);

/// Plays `steps` to the first client; answers the port.
#[must_use]
pub fn play(steps: Vec<Step>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut heard = Vec::new();
        for step in steps {
            if perform(&mut stream, step, &mut heard).is_err() {
                return;
            }
        }
        // The client decides when this is over.
        while !matches!(listen(&mut stream, &mut heard), Ok(0)) {}
    });
    port
}

fn perform(stream: &mut TcpStream, step: Step, heard: &mut Vec<u8>) -> std::io::Result<()> {
    match step {
        Step::Say(bytes) => stream.write_all(&bytes),
        Step::Hear(text) => listen_until(stream, heard, |heard| heard.contains_str(&text)),
        Step::HearData(count) => listen_until(stream, heard, |heard| data_len(heard) >= count),
        Step::Drip(bytes, pause) => bytes.chunks(1).try_for_each(|byte| {
            thread::sleep(pause);
            stream.write_all(byte)
        }),
        Step::Forever(bytes) => loop {
            stream.write_all(&bytes)?;
        },
        Step::Close => stream.shutdown(Shutdown::Write),
    }
}

fn listen_until(
    stream: &mut TcpStream,
    heard: &mut Vec<u8>,
    enough: impl Fn(&[u8]) -> bool,
) -> std::io::Result<()> {
    let deadline = Instant::now() + LONGEST_WAIT;
    while !enough(heard) && Instant::now() < deadline {
        if listen(stream, heard)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Reads once; answers how much came, at least 1 while the client is there.
fn listen(stream: &mut TcpStream, heard: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut piece = [0; 4096];
    match stream.read(&mut piece) {
        Ok(count) => {
            heard.extend_from_slice(&piece[..count]);
            Ok(count)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(1),
        Err(error) => Err(error),
    }
}

/// Bytes of data behind a client's arguments; below protocol 30 there are no frames.
fn data_len(heard: &[u8]) -> usize {
    let Some(end) = heard.find(b"\0\0") else { return 0 };
    let mut rest = &heard[end + 2..];
    if heard.starts_with(b"@RSYNCD: 2") {
        return rest.len();
    }
    let mut count = 0;
    while let [low, middle, high, code, ..] = *rest {
        let len = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if code == 7 {
            count += len.min(rest.len() - 4);
        }
        rest = &rest[rest.len().min(4 + len)..];
    }
    count
}

/// A session that went through [`tap`].
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What the daemon said, each piece with the bytes of data it had heard before.
    pub server: Vec<(usize, Vec<u8>)>,
    /// What the client said.
    pub client: Vec<u8>,
    /// The same, as it came.
    pub client_pieces: Vec<Vec<u8>>,
}

impl Recording {
    /// All that the daemon said.
    #[must_use]
    pub fn said(&self) -> Vec<u8> {
        self.server.iter().flat_map(|(_, piece)| piece.clone()).collect()
    }

    /// Where the binary phase of the client begins.
    #[must_use]
    pub fn client_data(&self) -> &[u8] {
        let end = self.client.find(b"\0\0").unwrap();
        &self.client[end + 2..]
    }

    /// The words that the client wants a server to have.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let text = self.client[..self.client.find(b"\0\0").unwrap()].rsplit(|&byte| byte == b'\n').next();
        let words = text.unwrap_or_default().split(|&byte| byte == 0);
        words.map(|word| word.as_bstr().to_string()).collect()
    }

    /// The binary phase of the client, as it came.
    #[must_use]
    pub fn client_data_pieces(&self) -> Vec<Vec<u8>> {
        let mut skip = self.client.len() - self.client_data().len();
        let rest = self.client_pieces.iter().map(|piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            piece[skipped..].to_vec()
        });
        rest.filter(|piece| !piece.is_empty()).collect()
    }

    /// The script that says the same at the same moments, after `change` altered its bytes.
    #[must_use]
    pub fn script(&self, change: impl FnOnce(&mut Vec<u8>)) -> Vec<Step> {
        let mut said = self.said();
        change(&mut said);
        let mut steps = Vec::new();
        let mut rest = said.as_slice();
        for (heard, piece) in &self.server {
            let (now, later) = rest.split_at(piece.len().min(rest.len()));
            rest = later;
            steps.extend([Step::HearData(*heard), Step::Say(now.to_vec())]);
            if rest.is_empty() {
                break;
            }
        }
        steps.push(Step::Close);
        steps
    }
}

/// Stands before the daemon at `port`; answers its own port and, later, what one session said.
#[must_use]
pub fn tap(port: u16) -> (u16, Arc<Mutex<Recording>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    let recording = Arc::new(Mutex::new(Recording::default()));
    let written = Arc::clone(&recording);
    thread::spawn(move || {
        let Ok((client, _)) = listener.accept() else { return };
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let heard = Arc::clone(&written);
        thread::spawn(move || {
            relay(from, to, |piece| {
                let mut recording = heard.lock().unwrap();
                recording.client.extend_from_slice(piece);
                recording.client_pieces.push(piece.to_vec());
            });
        });
        relay(server, client, |piece| {
            let mut recording = written.lock().unwrap();
            let heard = data_len(&recording.client);
            recording.server.push((heard, piece.to_vec()));
        });
    });
    (own, recording)
}

fn relay(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut piece = [0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        note(&piece[..count]);
        if to.write_all(&piece[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
