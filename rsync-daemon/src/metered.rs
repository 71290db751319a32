//! A link whose bytes are counted.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rsync_engine::Link;
use rsync_proto::exit::ExitCode;

use crate::metrics::{Meter, Outcome};

/// The counts of a link, which go on while it is used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    sent: Arc<Meter>,
    received: Arc<Meter>,
}

impl Meters {
    /// The same link, with its bytes counted here.
    pub(crate) fn measure(&self, mut link: Link) -> Link {
        link.reader = Box::new(MeteredReader { inner: link.reader, meter: Arc::clone(&self.received) });
        link.writer = Box::new(MeteredWriter { inner: link.writer, meter: Arc::clone(&self.sent) });
        link
    }

    /// What a session that ended with `code` came to.
    pub(crate) fn outcome(&self, code: ExitCode) -> Outcome {
        Outcome { code: code.code().into(), sent: self.sent.bytes(), received: self.received.bytes() }
    }
}

struct MeteredReader {
    inner: Box<dyn Read + Send>,
    meter: Arc<Meter>,
}

impl Read for MeteredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.add(count);
        Ok(count)
    }
}

struct MeteredWriter {
    inner: Box<dyn Write + Send>,
    meter: Arc<Meter>,
}

impl Write for MeteredWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.meter.add(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
