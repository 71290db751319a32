//! Records what the sender of a session says to its receiver, as the sending or the receiving client
//! hears it.

use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use rsync_proto::session::{BatchFlags, BatchHead, Negotiated};

use crate::EngineError;

/// Where a batch is written to; clones write to the same.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<BufWriter<Box<dyn Write + Send>>>>);

impl Recorder {
    /// Begins a batch file with the options of the session to come.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(writer: Box<dyn Write + Send>, flags: BatchFlags) -> io::Result<Self> {
        let mut writer = BufWriter::with_capacity(64 << 10, writer);
        writer.write_all(&flags.0.to_le_bytes())?;
        writer.flush()?;
        Ok(Self(Arc::new(Mutex::new(writer))))
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(&self) -> Result<(), EngineError> {
        self.with(Write::flush)
    }

    /// Records the agreement, before any data.
    pub(crate) fn start(&self, negotiated: &Negotiated) -> Result<(), EngineError> {
        let mut head = Vec::new();
        BatchHead::put_agreement(negotiated, &mut head);
        self.record(&head)
    }

    /// Records data of the stream.
    pub(crate) fn record(&self, data: &[u8]) -> Result<(), EngineError> {
        self.with(|writer| writer.write_all(data))
    }

    fn with(
        &self,
        write: impl FnOnce(&mut BufWriter<Box<dyn Write + Send>>) -> io::Result<()>,
    ) -> Result<(), EngineError> {
        let failed = |source| EngineError::FileIo { text: "cannot write the batch file".into(), source };
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)).map_err(failed)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}
