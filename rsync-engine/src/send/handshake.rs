//! What happens between the seed and the file list: framing, filter rules, forwarded names
//! (spec 01 §4.5 to §4.8).

use rsync_proto::filter::{Dialect, Filters, ReceivedRules, RequestReader, RuleFiles, list_is_sent};
use rsync_proto::flist::FileListError;
use rsync_proto::options::{FilesFrom, RemoveSource};
use rsync_proto::wire::{Legal, Message};

use super::{Agreed, SendSetup};
use crate::inbox::{Inbox, MessageSink};
use crate::outbox::Outbox;
use crate::{EngineError, Session};

/// Bytes that a forwarded name costs beyond its own.
const NAME_OVERHEAD: u64 = size_of::<Vec<u8>>() as u64;

/// Both halves of the connection before the reader thread takes one.
pub(super) struct Handshake<'a> {
    pub(super) inbox: &'a mut Inbox,
    pub(super) outbox: &'a mut Outbox,
    pub(super) session: &'a Session,
}

impl Handshake<'_> {
    /// Starts framing where this session has it, and counting.
    pub(super) fn start_framing(&mut self, legal: Legal) {
        let Session { negotiated, options, server, .. } = self.session;
        let is_modern = negotiated.is_modern();
        let removes = options.remove_source != RemoveSource::No;
        let (reads_frames, writes_frames) =
            if *server { (is_modern || removes, true) } else { (true, is_modern) };
        self.inbox.demux().start_counting();
        if reads_frames {
            self.inbox.demux().start_framing(legal);
        }
        self.outbox.mux().start_counting();
        if writes_frames {
            self.outbox.mux().start_framing(legal.of_peer());
        }
    }

    /// Exchanges filter rules and names.
    pub(super) fn agree(&mut self, setup: SendSetup<'_>) -> Result<Agreed, EngineError> {
        let SendSetup { mut filters, rule_files, announced_timeout } = setup;
        if self.session.server {
            if let Some(seconds) = announced_timeout.and_then(|seconds| i32::try_from(seconds).ok()) {
                self.outbox.message(&Message::IoTimeout(seconds))?;
                self.outbox.flush()?;
            }
            self.receive_filters(&mut filters, rule_files)?;
        } else {
            self.send_filters(&filters)?;
        }
        if self.session.options.cvs_exclude {
            filters.add_cvs_after_exchange(&self.session.negotiated, !self.session.server);
        }
        let names = self.names_are_forwarded().then(|| self.receive_names()).transpose()?;
        Ok(Agreed { filters, names })
    }

    fn send_filters(&mut self, filters: &Filters) -> Result<(), EngineError> {
        let Session { negotiated, options, .. } = self.session;
        let dialect = Dialect { negotiated, client_is_sender: true };
        let mut rules = Vec::new();
        dialect.encode(filters, &mut rules)?;
        let is_sent = list_is_sent(
            negotiated,
            true,
            options.prune_empty_dirs,
            options.deletes(),
            options.delete_excluded,
        );
        if is_sent {
            self.outbox.data::<EngineError>(|out| {
                out.extend_from_slice(&rules);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn receive_filters(
        &mut self,
        filters: &mut Filters,
        rule_files: &mut dyn RuleFiles,
    ) -> Result<(), EngineError> {
        let negotiated = &self.session.negotiated;
        let grammar = ReceivedRules::grammar(negotiated);
        let mut rules = ReceivedRules::default();
        loop {
            let rule = self.inbox.decode(&mut Early(self.session), |input| {
                rules.decode(input).map(|rule| rule.map(<[u8]>::to_vec))
            })?;
            let Some(rule) = rule else { return Ok(()) };
            filters.add_received(&rule, grammar, rule_files)?;
        }
    }

    fn names_are_forwarded(&self) -> bool {
        match &self.session.options.files_from {
            Some(FilesFrom::Local(path)) => self.session.server && *path == "-",
            Some(FilesFrom::Remote { .. }) => !self.session.server,
            None => false,
        }
    }

    fn receive_names(&mut self) -> Result<Vec<Vec<u8>>, EngineError> {
        let limit = self.session.options.max_alloc;
        let charset = self.session.argument_charset();
        let unframed = self.inbox.demux().is_framed() && !self.session.negotiated.frames_names();
        let legal = Legal::new(
            &self.session.negotiated,
            !self.session.server,
            true,
            self.session.options.remove_source != RemoveSource::No,
        );
        self.outbox.flush()?;
        if unframed {
            self.inbox.demux().start_raw()?;
        }
        let mut names = Vec::new();
        let mut bytes = 0_u64;
        loop {
            let name = self.inbox.decode(&mut Early(self.session), |input| {
                RequestReader::decode(input).map(|name| name.map(<[u8]>::to_vec))
            })?;
            let Some(name) = name else { break };
            bytes += name.len() as u64 + NAME_OVERHEAD;
            if limit > 0 && bytes > limit {
                return Err(FileListError::MaxAlloc { limit }.into());
            }
            names.push(match charset {
                Some(charset) => charset.text_from_wire(&name),
                None => name,
            });
        }
        if unframed {
            self.inbox.demux().start_framing(legal);
        }
        Ok(names)
    }
}

/// Handles what the peer says before the lists.
struct Early<'a>(&'a Session);

impl MessageSink for Early<'_> {
    fn message(&mut self, message: Message) -> Result<(), EngineError> {
        self.0.take_message_or_exit(message)
    }
}
