//! The binary setup of a session, from the first integer to the seed (spec 01 §4.1 to §4.4).
//!
//! [`ClientSetup`] and [`ServerSetup`] do no I/O. Their driver calls `advance` with what has come,
//! again after every [`Progress::Write`], until [`Progress::Done`]:
//!
//! ```text
//! loop { match connection.decode(|input| setup.advance(input))? {
//!     Progress::Write(bytes) => connection.write(&bytes)?,
//!     Progress::Done(negotiated) => break negotiated,
//! } }
//! ```

use super::agreement::{AlgorithmVariables, End, Entry, PeerLists, Terms};
use super::capabilities::Capabilities;
use super::error::SetupError;
use super::negotiated::{CompatFlags, NEWEST_PROTOCOL, Negotiated};
use crate::options::TransferOptions;
use crate::wire::{Cursor, put_varint, varint};

/// What the driver of a setup does next. One call of `advance` decodes at most one item, so that the
/// driver can consume it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send these bytes, if there are any, then advance.
    Write(Vec<u8>),
    /// Both ends agree.
    Done(Box<Negotiated>),
}

/// The client's half.
#[derive(Clone, Debug)]
pub struct ClientSetup {
    terms: Terms,
    entry: Entry,
    own: i32,
    offers_recursion: bool,
    negotiated: Negotiated,
    peer: PeerLists,
    step: ClientStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientStep {
    SayVersion,
    ReadVersion,
    ReadFlags,
    SayLists,
    ReadLists,
    SayChoices,
    ReadSeed,
}

impl ClientSetup {
    /// Starts the setup of a transfer in which this client receives, or sends.
    ///
    /// # Errors
    /// Options that no peer could take.
    pub fn new(
        entry: Entry,
        options: &TransferOptions,
        receiving: bool,
        variables: &AlgorithmVariables,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            terms: Terms::new(End::Client, options, variables)?,
            entry,
            own: options.protocol.unwrap_or(i32::from(NEWEST_PROTOCOL)),
            offers_recursion: options.allows_incremental_recursion(receiving),
            negotiated: Negotiated::new(NEWEST_PROTOCOL, CompatFlags::default()),
            peer: PeerLists::default(),
            step: if entry == Entry::Exchange { ClientStep::SayVersion } else { ClientStep::ReadVersion },
        })
    }

    /// Goes one step further.
    ///
    /// # Errors
    /// [`SetupError`], of which [`crate::wire::WireError::Incomplete`] asks for more.
    pub fn advance(&mut self, input: &mut Cursor<'_>) -> Result<Progress, SetupError> {
        let mut out = Vec::new();
        match self.step {
            ClientStep::SayVersion => {
                out.extend_from_slice(&self.own.to_le_bytes());
                self.step = ClientStep::ReadVersion;
            }
            ClientStep::ReadVersion => {
                let (peer, agreed) = versions(self.entry, self.own, input)?;
                let protocol = self.terms.protocol(self.own, peer, agreed)?;
                self.negotiated = Negotiated::new(protocol, CompatFlags::default());
                self.step = ClientStep::ReadFlags;
            }
            ClientStep::ReadFlags => {
                if self.negotiated.is_modern() {
                    let flags = CompatFlags(varint(input)?.cast_unsigned());
                    self.negotiated = Negotiated::new(self.negotiated.protocol(), flags);
                }
                if self.negotiated.incremental_recursion() && !self.offers_recursion {
                    return Err(SetupError::UnofferedRecursion);
                }
                self.terms.settle(&self.negotiated)?;
                let is_custom = self.terms.lists(&self.negotiated).iter().any(|list| list.is_custom);
                self.step = if is_custom { ClientStep::ReadLists } else { ClientStep::SayLists };
            }
            ClientStep::SayLists => {
                for list in self.terms.lists(&self.negotiated) {
                    list.put(&mut out)?;
                }
                self.step = ClientStep::ReadLists;
            }
            ClientStep::ReadLists => {
                self.peer = self.terms.read_lists(&self.negotiated, input)?;
                self.terms.conclude(&mut self.negotiated, &self.peer)?;
                let is_custom = self.terms.lists(&self.negotiated).iter().any(|list| list.is_custom);
                self.step = if is_custom { ClientStep::SayChoices } else { ClientStep::ReadSeed };
            }
            ClientStep::SayChoices => {
                self.terms.put_choices(&self.peer, &mut out)?;
                self.step = ClientStep::ReadSeed;
            }
            ClientStep::ReadSeed => {
                self.negotiated.seed = input.i32()?;
                return Ok(Progress::Done(Box::new(self.negotiated.clone())));
            }
        }
        Ok(Progress::Write(out))
    }
}

/// The server's half; a daemon's when the client asked for options that it refuses, too.
#[derive(Clone, Debug)]
pub struct ServerSetup {
    terms: Terms,
    entry: Entry,
    own: i32,
    capabilities: Capabilities,
    allows_recursion: bool,
    negotiated: Negotiated,
    step: ServerStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerStep {
    SayVersion,
    ReadVersion,
    SayFlagsAndLists,
    ReadLists,
    SaySeed,
    Done,
}

impl ServerSetup {
    /// Starts the setup of a transfer as the client's words in `options` say it. `random` seeds the
    /// block sums unless the client chose a seed.
    ///
    /// # Errors
    /// Choices that `variables` exclude.
    pub fn new(
        entry: Entry,
        options: &TransferOptions,
        variables: &AlgorithmVariables,
        random: i32,
    ) -> Result<Self, SetupError> {
        let receiving = !options.sender;
        let text = options.client_capabilities.as_ref().map(|text| text.as_slice());
        let capabilities = Capabilities::parse(text.unwrap_or_default());
        let mut negotiated = Negotiated::new(NEWEST_PROTOCOL, CompatFlags::default());
        negotiated.seed = if options.checksum_seed == 0 { random } else { options.checksum_seed };
        Ok(Self {
            terms: Terms::new(End::Server, options, variables)?,
            entry,
            own: i32::from(capabilities.server_protocol(NEWEST_PROTOCOL)),
            capabilities,
            allows_recursion: options.allows_incremental_recursion(receiving),
            negotiated,
            step: if entry == Entry::Exchange { ServerStep::SayVersion } else { ServerStep::ReadVersion },
        })
    }

    /// Goes one step further.
    ///
    /// # Errors
    /// [`SetupError`], of which [`crate::wire::WireError::Incomplete`] asks for more.
    pub fn advance(&mut self, input: &mut Cursor<'_>) -> Result<Progress, SetupError> {
        let mut out = Vec::new();
        match self.step {
            ServerStep::SayVersion => {
                out.extend_from_slice(&self.own.to_le_bytes());
                self.step = ServerStep::ReadVersion;
            }
            ServerStep::ReadVersion => {
                let (peer, agreed) = versions(self.entry, self.own, input)?;
                let protocol = self.terms.protocol(self.own, peer, agreed)?;
                let flags = self.capabilities.server_flags(self.allows_recursion);
                let seed = self.negotiated.seed;
                self.negotiated = Negotiated::new(protocol, flags);
                self.negotiated.seed = seed;
                self.step = ServerStep::SayFlagsAndLists;
            }
            ServerStep::SayFlagsAndLists => {
                self.put_flags(&mut out);
                if !self.capabilities.converts_targets() {
                    self.negotiated.keep_targets();
                }
                self.terms.settle(&self.negotiated)?;
                for list in self.terms.lists(&self.negotiated) {
                    list.put(&mut out)?;
                }
                self.step = ServerStep::ReadLists;
            }
            ServerStep::ReadLists => {
                let peer = self.terms.read_lists(&self.negotiated, input)?;
                self.terms.conclude(&mut self.negotiated, &peer)?;
                self.step = ServerStep::SaySeed;
            }
            ServerStep::SaySeed => {
                out.extend_from_slice(&self.negotiated.seed.to_le_bytes());
                self.step = ServerStep::Done;
            }
            ServerStep::Done => return Ok(Progress::Done(Box::new(self.negotiated.clone()))),
        }
        Ok(Progress::Write(out))
    }

    fn put_flags(&self, out: &mut Vec<u8>) {
        let flags = self.negotiated.compat().0;
        if !self.negotiated.is_modern() {
            return;
        }
        if self.capabilities.takes_raw_flags() {
            out.push(flags as u8);
        } else {
            put_varint(out, flags.cast_signed());
        }
    }
}

/// What the peer said and the lesser of both protocols.
fn versions(entry: Entry, own: i32, input: &mut Cursor<'_>) -> Result<(i32, i32), SetupError> {
    match entry {
        Entry::Greeted { peer, agreed } => Ok((peer, agreed)),
        Entry::Exchange => {
            let peer = input.i32()?;
            Ok((peer, own.min(peer)))
        }
    }
}

/// Longest I/O timeout a server may announce, in seconds.
const MAX_ANNOUNCED_TIMEOUT: i32 = 86_400;

/// The client's I/O timeout in seconds, 0 for none, after the daemon announced its own: it can only
/// become shorter (spec 01 §4.6).
#[must_use]
pub fn shortened_timeout(own: u32, announced: i32) -> u32 {
    match announced {
        1..=MAX_ANNOUNCED_TIMEOUT if own == 0 => announced.cast_unsigned(),
        1..=MAX_ANNOUNCED_TIMEOUT => own.min(announced.cast_unsigned()),
        _ => own,
    }
}

#[cfg(test)]
mod tests;
