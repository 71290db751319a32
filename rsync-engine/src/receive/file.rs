//! Receives the content of one file: tokens into a temporary file (or in place), verified, finished
//! (spec 05 §10, §11; 07 §6, §7).

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use rsync_proto::delta::{Token, TokenDecoder};
use rsync_proto::sum::{Digest, SumBytes, SumHead, SumHeadLimits};
use rsync_proto::text::{Event, Moment, Place, Progress, Role, Topic};

use super::shared::Request;
use crate::inbox::{Inbox, MessageSink};
use crate::{EngineError, Session};

/// Progress is reported each time so many bytes have come.
const SAY_EVERY: u64 = 256 << 10;

/// Blocks that follow each other are copied in one go, up to so many bytes.
const LONGEST_RUN: u64 = 256 << 10;

/// Where the content goes.
pub(crate) trait Output {
    /// Writes `data` at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// The file itself, where bytes may be put into it in any way: no holes are asked for.
    fn plain_file(&self) -> Option<&File>;
}

/// Where the content comes from.
pub(crate) trait Content {
    /// Brings the whole content of one file to its output.
    fn assemble(&mut self, assembly: Assembly<'_>) -> Result<Received, EngineError>;
}

/// The token stream of a sender.
pub(super) struct Tokens<'t> {
    pub(super) inbox: &'t mut Inbox,
    pub(super) sink: &'t mut dyn MessageSink,
    pub(super) decoder: &'t mut TokenDecoder,
}

impl Content for Tokens<'_> {
    fn assemble(&mut self, assembly: Assembly<'_>) -> Result<Received, EngineError> {
        assembly.receive(self.inbox, self.sink, self.decoder)
    }
}

/// What came for one file.
pub(crate) struct Received {
    /// Bytes of the new content.
    pub(crate) length: u64,
    /// The sender's digest is that of what was written.
    pub(crate) verified: bool,
    /// Literal data came, so that something is worth keeping.
    pub(crate) has_data: bool,
    /// The first failure of the output: the rest was discarded.
    pub(crate) write_error: Option<io::Error>,
    /// The digest of what was received.
    pub(crate) digest: SumBytes,
}

/// What the tokens of one file are applied to.
pub(crate) struct Assembly<'a> {
    pub(crate) session: &'a Session,
    pub(crate) name: &'a [u8],
    pub(crate) place: Place<'a>,
    pub(crate) request: Request,
    /// The state of the whole transfer when this file starts.
    pub(crate) progress: Progress<'static>,
    /// The file that block tokens copy from.
    pub(crate) basis: Option<&'a File>,
    /// The output is the basis itself.
    pub(crate) in_place: bool,
    /// The output is a new file that nobody sees before it is whole.
    pub(crate) new_file: bool,
    /// `None` discards the content: block tokens are then legal without a basis.
    pub(crate) output: Option<&'a mut dyn Output>,
    /// Set when literal data comes: something is worth keeping if the stream breaks off.
    pub(crate) has_data: &'a Cell<bool>,
}

/// The state of one file while its tokens arrive.
struct State {
    head: SumHead,
    offset: u64,
    digest: Digest,
    write_error: Option<io::Error>,
    /// The part of the basis that is to be copied before anything else happens: blocks that follow
    /// each other are one. `offset` lies behind it already.
    run: Range<u64>,
    buffer: Vec<u8>,
}

/// One step of the token stream.
enum Step {
    Literal,
    Block(u32),
    End,
}

/// Takes the content of a file that is not written, so that the stream stays in step.
pub(crate) fn discard(
    session: &Session,
    name: &[u8],
    (request, progress): (Request, Progress<'static>),
    content: &mut dyn Content,
) -> Result<(), EngineError> {
    let has_data = Cell::new(false);
    let assembly = Assembly {
        session,
        name,
        place: Place::new(b"", name),
        request,
        progress,
        basis: None,
        in_place: false,
        new_file: false,
        output: None,
        has_data: &has_data,
    };
    content.assemble(assembly).map(drop)
}

impl Assembly<'_> {
    /// Consumes head, tokens and digest of the file from `inbox`.
    fn receive(
        mut self,
        inbox: &mut Inbox,
        sink: &mut dyn MessageSink,
        tokens: &mut TokenDecoder,
    ) -> Result<Received, EngineError> {
        let negotiated = &self.session.negotiated;
        let limits = SumHeadLimits::new(negotiated, Role::Receiver);
        let head = inbox.decode(sink, |input| SumHead::decode(input, &limits))?;
        let checksum = negotiated.checksum.transfer;
        let mut state = State {
            head,
            offset: 0,
            digest: Digest::whole_file(checksum, negotiated.seed),
            write_error: None,
            run: 0..0,
            buffer: Vec::new(),
        };
        self.skip_prefix(&mut state)?;
        let mut said = None;
        tokens.start_file(state.head.count, self.output.is_none());
        loop {
            let step = inbox.decode(sink, |input| {
                tokens.next(input).map(|token| match token {
                    Token::Literal(data) => {
                        self.tell(state.offset, &mut said, false);
                        self.literal(&mut state, data);
                        Step::Literal
                    }
                    Token::Block(index) => Step::Block(index),
                    Token::End => Step::End,
                })
            })?;
            match step {
                Step::Literal => {}
                Step::Block(index) => {
                    self.tell(state.offset, &mut said, false);
                    self.block(&mut state, index, tokens)?;
                }
                Step::End => break,
            }
        }
        self.copy_run(&mut state);
        self.tell(state.offset, &mut said, true);
        let length = checksum.len();
        let ours = state.digest.finish();
        let equal = inbox.decode(sink, |input| input.take(length).map(|theirs| *theirs == *ours))?;
        let verified = equal && state.write_error.is_none();
        Ok(Received {
            length: state.offset,
            verified,
            has_data: self.has_data.get(),
            write_error: state.write_error,
            digest: ours,
        })
    }

    /// In append mode the prefix both ends have is kept, and hashed where that was agreed.
    fn skip_prefix(&mut self, state: &mut State) -> Result<(), EngineError> {
        let Some(at) = self.request.append_at else { return Ok(()) };
        if state.head.basis_len() != at {
            return Err(EngineError::protocol(
                "the sender appends at an offset that was not offered [receiver]",
            ));
        }
        state.offset = at;
        if !self.session.hashes_appended_prefix() {
            return Ok(());
        }
        let Some(basis) = self.basis else { return Ok(()) };
        let mut buffer = vec![0; 256 << 10];
        let mut offset = 0;
        while offset < at {
            let count = buffer.len().min((at - offset) as usize);
            match basis.read_exact_at(&mut buffer[..count], offset) {
                Ok(()) => state.digest.update(&buffer[..count]),
                Err(error) => {
                    state.write_error = Some(error);
                    return Ok(());
                }
            }
            offset += count as u64;
        }
        Ok(())
    }

    fn literal(&mut self, state: &mut State, data: &[u8]) {
        self.copy_run(state);
        self.has_data.set(true);
        state.digest.update(data);
        self.session.counters.literal.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.write(&mut state.write_error, state.offset, data);
        state.offset += data.len() as u64;
    }

    fn write(&mut self, failure: &mut Option<io::Error>, offset: u64, data: &[u8]) {
        if let (Some(output), None) = (&mut self.output, &failure)
            && let Err(error) = output.write(offset, data)
        {
            *failure = Some(error);
        }
    }

    fn block(&mut self, state: &mut State, index: u32, tokens: &mut TokenDecoder) -> Result<(), EngineError> {
        if index >= state.head.count {
            let count = state.head.count;
            return Err(EngineError::protocol(format!(
                "Invalid block index {index} (count={count}) [receiver]"
            )));
        }
        let length = state.head.len_of(index) as usize;
        self.session.counters.matched.fetch_add(length as u64, Ordering::Relaxed);
        if self.basis.is_none() && self.output.is_some() {
            let mut place = Vec::new();
            self.place.render(&mut place);
            let place = bstr::BStr::new(&place);
            let text = format!("got a block match with no basis file for {place} [receiver]");
            return Err(EngineError::protocol(text));
        }
        let start = state.head.offset_of(index);
        let run = state.run.end - state.run.start;
        if start != state.run.end || run + length as u64 > LONGEST_RUN {
            self.copy_run(state);
            state.run = start..start;
        }
        state.run.end += length as u64;
        state.offset += length as u64;
        if self.basis.is_some() && tokens.wants_history() {
            self.copy_run(state);
            tokens.insert_history(&state.buffer[..length])?;
        }
        Ok(())
    }

    /// Copies what is due of the basis, to the place before the present offset.
    fn copy_run(&mut self, state: &mut State) {
        let run = std::mem::take(&mut state.run);
        let length = (run.end - run.start) as usize;
        let (Some(basis), true) = (self.basis, length > 0) else { return };
        if state.buffer.len() < length {
            state.buffer.resize(length, 0);
        }
        let data = &mut state.buffer[..length];
        // A basis that shrank meanwhile yields zeros: the digest then fails and the file is redone.
        let read = read_full_at(basis, data, run.start).unwrap_or(0);
        data[read..].fill(0);
        state.digest.update(data);
        let offset = state.offset - length as u64;
        if !self.in_place || run.start != offset {
            self.write(&mut state.write_error, offset, data);
        }
    }

    /// Says how far the file is: before its first data, every so many bytes, and at its end.
    fn tell(&self, offset: u64, said: &mut Option<u64>, file_done: bool) {
        if !file_done && said.is_some_and(|said| offset - said < SAY_EVERY) {
            return;
        }
        *said = Some(offset);
        let session = self.session;
        if !session.events.wants(Topic::Progress) {
            return;
        }
        let moment = if file_done { Moment::FileDone } else { Moment::Running };
        let transfers = self.progress.transfers + u64::from(file_done);
        let progress = Progress { moment, name: self.name, offset, transfers, ..self.progress };
        session.events.emit(Event::Progress(progress));
    }
}

/// Reads as much of `buffer` as the file has at `offset`.
fn read_full_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
