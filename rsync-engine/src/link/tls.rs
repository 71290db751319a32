//! TLS over a link: both halves share one state (design decision 4).
//!
//! The state's mutex is never held across a socket call, and after the handshake only the writing half
//! writes to the socket. So a reader never waits for the peer to read, and what the engine says about
//! waits holds for a protected link as well.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::Connection;

use super::{Link, LinkControl};

/// Bytes taken from the socket at a time: a little more than the largest record.
const INPUT: usize = 18 << 10;

/// Plain bytes taken per call of the writing half: several records.
const OUTPUT: usize = 64 << 10;

impl Link {
    /// Runs the handshake of `connection`, of a client or of a server, and answers the link that it
    /// protects. Control, I/O timeout and activity clock stay those of this link.
    ///
    /// # Errors
    /// What the handshake met: an [`io::Error`] that wraps a [`rustls::Error`] when the peer is not who it
    /// should be, [`io::ErrorKind::UnexpectedEof`] when it hung up.
    pub fn secure(mut self, connection: impl Into<Connection>) -> io::Result<Self> {
        let mut connection = connection.into();
        connection.set_buffer_limit(Some(OUTPUT));
        let mut both = Both { reader: &mut *self.reader, writer: &mut *self.writer };
        while connection.is_handshaking() {
            connection.complete_io(&mut both)?;
        }
        while connection.wants_write() {
            connection.write_tls(&mut both)?;
        }
        let state = Arc::new(Mutex::new(connection));
        Ok(Self {
            reader: Box::new(TlsReader {
                inner: self.reader,
                state: Arc::clone(&state),
                input: vec![0; INPUT].into(),
                pending: 0..0,
            }),
            writer: Box::new(TlsWriter {
                inner: self.writer,
                state,
                records: Vec::new(),
                control: self.control.clone(),
            }),
            control: self.control,
        })
    }
}

/// Both halves of a link as one stream, for the handshake.
struct Both<'a> {
    reader: &'a mut dyn Read,
    writer: &'a mut dyn Write,
}

impl Read for Both<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Write for Both<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writer.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn lock(state: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the peer sends.
struct TlsReader {
    inner: Box<dyn Read + Send>,
    state: Arc<Mutex<Connection>>,
    input: Box<[u8]>,
    /// Where the bytes of `input` are that the state has not taken yet.
    pending: std::ops::Range<usize>,
}

impl TlsReader {
    /// Decrypts what is there; `None` asks for more bytes of the socket.
    fn decrypt(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let mut state = lock(&self.state);
        loop {
            match state.reader().read(buffer) {
                Ok(count) => return Ok(Some(count)),
                // The rsync protocol says itself where it ends, so that a peer which closes the socket
                // without a word of TLS takes nothing away unnoticed.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(0)),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if self.pending.is_empty() => return Ok(None),
                Err(_) => {}
            }
            self.pending.start += state.read_tls(&mut &self.input[self.pending.clone()])?;
            state.process_new_packets().map_err(invalid)?;
        }
    }
}

impl Read for TlsReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(count) = self.decrypt(buffer)? {
                return Ok(count);
            }
            self.pending = 0..self.inner.read(&mut self.input)?;
            if self.pending.is_empty() {
                // The state learns of the end.
                lock(&self.state).read_tls(&mut io::empty())?;
            }
        }
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What the peer receives.
struct TlsWriter {
    inner: Box<dyn Write + Send>,
    state: Arc<Mutex<Connection>>,
    /// Records on their way to the socket.
    records: Vec<u8>,
    control: LinkControl,
}

impl TlsWriter {
    /// Takes the records that the state has ready.
    fn take_records(state: &mut Connection, records: &mut Vec<u8>) -> io::Result<()> {
        while state.wants_write() {
            state.write_tls(records)?;
        }
        Ok(())
    }
}

impl Write for TlsWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = {
            let mut state = lock(&self.state);
            let count = state.writer().write(buffer)?;
            Self::take_records(&mut state, &mut self.records)?;
            count
        };
        let written = self.inner.write_all(&self.records);
        self.records.clear();
        written.map(|()| count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Drop for TlsWriter {
    /// Tells the peer that nothing follows, if it takes that at once: it may be gone, or never read again.
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.send_close_notify();
        let taken = Self::take_records(&mut state, &mut self.records);
        drop(state);
        self.control.part();
        if taken.is_ok() {
            // What a peer does not take it does not want.
            let _ = self.inner.write_all(&self.records);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread::JoinHandle;
    use std::time::Duration;

    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    /// A server for `localhost` and a client that trusts it.
    fn connections(expected_name: &'static str) -> (ClientConnection, ServerConnection) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("a root");
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a server");
        let name = ServerName::try_from(expected_name).expect("a name");
        (
            ClientConnection::new(Arc::new(client), name).expect("a client"),
            ServerConnection::new(Arc::new(server)).expect("a server"),
        )
    }

    fn link(socket: UnixStream) -> Link {
        let writer = socket.try_clone().expect("clone");
        Link::from_fds(socket.into(), writer.into()).expect("link")
    }

    /// Both ends, with the server's handshake in a thread of its own.
    fn pair(name: &'static str) -> (io::Result<Link>, JoinHandle<io::Result<Link>>) {
        let (client, server) = connections(name);
        let (near, far) = UnixStream::pair().expect("sockets");
        let far = std::thread::spawn(move || link(far).secure(server));
        (link(near).secure(client), far)
    }

    fn connected() -> (Link, Link) {
        let (near, far) = pair("localhost");
        (near.expect("client"), far.join().expect("thread").expect("server"))
    }

    #[test]
    fn bytes_pass_in_both_directions_at_once() {
        let (near, far) = connected();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number * 7) as u8).collect();
        // Neither end reads before it has written everything: only reading on the side avoids a deadlock.
        let run = |link: Link, sent: Vec<u8>| {
            let Link { mut reader, mut writer, .. } = link;
            let expected = sent.len();
            let reading = std::thread::spawn(move || {
                let mut received = vec![0; expected];
                reader.read_exact(&mut received).map(|()| received)
            });
            writer.write_all(&sent).expect("written");
            (reading, writer)
        };
        let far_sent = sent.clone();
        let far = std::thread::spawn(move || run(far, far_sent));
        let (near, _near_writer) = run(near, sent.clone());
        let (far, _far_writer) = far.join().expect("thread");
        assert!(near.join().expect("thread").expect("read") == sent);
        assert!(far.join().expect("thread").expect("read") == sent);
    }

    #[test]
    fn the_end_is_seen_with_and_without_a_word_of_tls() {
        let (mut near, far) = connected();
        let Link { mut writer, reader, .. } = far;
        writer.write_all(b"bye").expect("written");
        drop((writer, reader));
        let mut heard = Vec::new();
        near.reader.read_to_end(&mut heard).expect("a clean end");
        assert_eq!(heard, b"bye");

        let (client, server) = connections("localhost");
        let (near, far) = UnixStream::pair().expect("sockets");
        let cutter = far.try_clone().expect("clone");
        let server = std::thread::spawn(move || link(far).secure(server));
        let mut near = link(near).secure(client).expect("client");
        let _server = server.join().expect("thread").expect("server");
        cutter.shutdown(std::net::Shutdown::Both).expect("cut");
        assert_eq!(near.reader.read_to_end(&mut Vec::new()).expect("an end"), 0);
    }

    #[test]
    fn a_peer_that_never_reads_cannot_hold_the_end_up() {
        let (near, _far) = connected();
        near.control.set_timeout(Some(Duration::from_millis(30)));
        let Link { mut writer, reader: _reader, control } = near;
        while writer.write(&[0; 4096]).is_ok() {}
        control.set_timeout(None);
        drop(writer);
    }

    #[test]
    fn a_peer_with_another_name_is_refused() {
        let (near, far) = pair("example.org");
        let error = near.expect_err("another name");
        assert!(error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()), "{error:?}");
        assert!(far.join().expect("thread").is_err());
    }

    #[test]
    fn a_peer_that_speaks_no_tls_is_an_error() {
        let (client, _) = connections("localhost");
        let (near, mut far) = UnixStream::pair().expect("sockets");
        far.write_all(b"@RSYNCD: 32.0 sha512\n").expect("greeting");
        link(near).secure(client).expect_err("no TLS");
    }

    #[test]
    fn a_protected_link_is_aborted_and_times_out_like_any_other() {
        let (mut near, _far) = connected();
        near.control.set_timeout(Some(Duration::from_millis(30)));
        assert_eq!(near.reader.read(&mut [0]).expect_err("silence").kind(), io::ErrorKind::TimedOut);
        near.control.abort();
        let kind = near.reader.read(&mut [0]).expect_err("aborted").kind();
        assert_eq!(kind, io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn changed_bytes_are_an_error() {
        let (client, server) = connections("localhost");
        let (near, middle_near) = UnixStream::pair().expect("sockets");
        let (middle_far, far) = UnixStream::pair().expect("sockets");
        let flip = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let pump =
            |mut from: UnixStream, mut to: UnixStream, flip: Option<Arc<std::sync::atomic::AtomicBool>>| {
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = from.read(&mut buffer) {
                        if flip.as_ref().is_some_and(|flip| flip.load(std::sync::atomic::Ordering::SeqCst)) {
                            buffer[count - 1] ^= 1;
                        }
                        if to.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                })
            };
        let clone = |socket: &UnixStream| socket.try_clone().expect("clone");
        pump(clone(&middle_near), clone(&middle_far), None);
        pump(middle_far, middle_near, Some(Arc::clone(&flip)));
        let server = std::thread::spawn(move || link(far).secure(server));
        let mut near = link(near).secure(client).expect("client");
        let mut far = server.join().expect("thread").expect("server");
        far.writer.write_all(b"true").expect("written");
        near.reader.read_exact(&mut [0; 4]).expect("read");
        flip.store(true, std::sync::atomic::Ordering::SeqCst);
        far.writer.write_all(b"false").expect("written");
        assert_eq!(near.reader.read(&mut [0; 8]).expect_err("forged").kind(), io::ErrorKind::InvalidData);
    }
}
