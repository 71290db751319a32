//! Links of streams that are no descriptors of our own: any reader and writer, or a file that is read.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::event::PollFlags;

use super::{Link, LinkControl, aborted};

impl Link {
    /// Makes a link of any two streams, which may block. [`LinkControl::abort`] takes effect between two
    /// of their operations, and the I/O timeout not at all: whoever needs that gives the streams timeouts
    /// of their own, or ends them.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn of_streams(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let control = LinkControl::new()?;
        Ok(Self {
            reader: Box::new(StreamHalf { stream: reader, control: control.clone() }),
            writer: Box::new(StreamHalf { stream: writer, control: control.clone() }),
            control,
        })
    }

    /// Makes a link that only reads, and loses what is written. The mode of the descriptor, which others
    /// may share, stays as it is.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn reading(fd: OwnedFd) -> io::Result<Self> {
        let control = LinkControl::new()?;
        let reader = Box::new(PolledReader { fd, control: control.clone() });
        Ok(Self { reader, writer: Box::new(io::sink()), control })
    }
}

/// One direction of a link of streams.
struct StreamHalf<S> {
    stream: S,
    control: LinkControl,
}

impl<S: Read> Read for StreamHalf<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.control.is_aborted() {
                return Err(aborted());
            }
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.control.touch();
                    return result;
                }
            }
        }
    }
}

impl<S: Write> Write for StreamHalf<S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            if self.control.is_aborted() {
                return Err(aborted());
            }
            match self.stream.write(buffer) {
                Ok(0) if !buffer.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => return self.stream.flush().map(|()| count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A descriptor that may block, and is read when there is something.
struct PolledReader {
    fd: OwnedFd,
    control: LinkControl,
}

impl Read for PolledReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.control.wait(&self.fd, PollFlags::IN)?;
            match rustix::io::read(&self.fd, &mut *buffer) {
                Ok(count) => {
                    self.control.touch();
                    return Ok(count);
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn any_streams_carry_bytes_until_the_link_is_aborted() {
        let (ours, mut theirs) = UnixStream::pair().expect("socket pair");
        let mut link = Link::of_streams(&b"pong"[..], ours).expect("link");
        link.writer.write_all(b"ping").expect("writes");
        let mut text = String::new();
        link.reader.read_to_string(&mut text).expect("reads");
        let mut heard = [0; 4];
        theirs.read_exact(&mut heard).expect("arrives");
        assert_eq!((text.as_str(), &heard), ("pong", b"ping"));
        link.control.abort();
        let error = link.writer.write(b"x").expect_err("aborted");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn a_reader_that_waits_is_woken_by_an_abort() {
        let (ours, _theirs) = UnixStream::pair().expect("socket pair");
        let mut link = Link::reading(ours.into()).expect("link");
        let control = link.control.clone();
        let reader = std::thread::spawn(move || link.reader.read(&mut [0; 8]).map_err(|error| error.kind()));
        control.abort();
        assert_eq!(reader.join().expect("reader"), Err(io::ErrorKind::ConnectionAborted));
    }
}
