//! The part of the setup that both ends share: version checks, and what the lists lead to
//! (spec 01 §4.1, §4.3).

use bstr::{BStr, BString};

use super::algorithms::{AlgorithmKind, AlgorithmList};
use super::error::SetupError;
use super::negotiated::{NEWEST_PROTOCOL, Negotiated, OLDEST_PROTOCOL};
use crate::delta::{Compression, CompressionKind};
use crate::options::{BasisKind, ChecksumNames, Compress, TransferOptions};
use crate::sum::{Checksum, ChecksumChoice};
use crate::wire::{Cursor, WireError};

/// Largest protocol number a peer may say.
const MAX_PEER_PROTOCOL: i32 = 40;
/// What is less is no protocol: a shell has spoken.
const LEAST_PEER_PROTOCOL: i32 = 20;

/// How the two ends tell each other their protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// As integers, over a remote shell or a local pipe.
    Exchange,
    /// They did in their greetings.
    Greeted {
        /// What the peer's greeting says.
        peer: i32,
        /// What [`super::Greeting::agree`] made of it.
        agreed: i32,
    },
}

/// The environment's lists, as far as they are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlgorithmVariables {
    /// `RSYNC_CHECKSUM_LIST`.
    pub checksum: Option<BString>,
    /// `RSYNC_COMPRESS_LIST`.
    pub compress: Option<BString>,
}

/// Which of a session's ends this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "Client",
            Self::Server => "Server",
        }
    }
}

/// What one end brings to the agreement.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    end: End,
    checksum: AlgorithmList,
    compress: AlgorithmList,
    checksum_choice: Option<ChecksumNames>,
    compress_choice: Compress,
    compress_level: Option<i32>,
    crtimes: bool,
    writes_batch: bool,
    /// Options that only some protocols have, with the least of those.
    demands: Vec<(String, u8)>,
}

/// What the peer sent, list by list; `None` before it came or where none comes.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerLists {
    pub(super) checksum: Option<BString>,
    pub(super) compress: Option<BString>,
}

impl Terms {
    pub(super) fn new(
        end: End,
        options: &TransferOptions,
        variables: &AlgorithmVariables,
    ) -> Result<Self, SetupError> {
        let is_server = end == End::Server;
        let list = |kind, variable: &Option<BString>| {
            AlgorithmList::ours(kind, variable.as_ref().map(|text| text.as_slice()), is_server)
        };
        let terms = Self {
            end,
            checksum: list(AlgorithmKind::Checksum, &variables.checksum),
            compress: list(AlgorithmKind::Compress, &variables.compress),
            checksum_choice: options.checksum_choice.clone(),
            compress_choice: options.compress,
            compress_level: options.compress_level,
            crtimes: options.crtimes,
            writes_batch: options.writes_batch() && !is_server,
            demands: demands(options),
        };
        if is_server {
            // That a digest is missing a server says when the client can read it.
            terms.check_refusals()?;
        } else if options.checksum
            && options.checksum_choice.as_ref().is_some_and(|c| c.pre_transfer == "none")
        {
            return Err(SetupError::NoPreTransferChecksum);
        }
        Ok(terms)
    }

    /// Explicit choices that the server's environment does not list.
    fn check_refusals(&self) -> Result<(), SetupError> {
        let refused = |kind, name: &str| SetupError::ChoiceRefused { kind, name: name.to_owned() };
        if let Some(choice) = self.checksum_choice.as_ref().filter(|_| self.checksum.is_custom) {
            for name in [&choice.transfer, &choice.pre_transfer] {
                if name != "auto" && !self.checksum.has(name) {
                    return Err(refused(AlgorithmKind::Checksum, name));
                }
            }
        }
        match explicit_compression(self.compress_choice) {
            Some(kind) if self.compress.is_custom && !self.compress.has(kind.name()) => {
                Err(refused(AlgorithmKind::Compress, kind.name()))
            }
            _ => Ok(()),
        }
    }

    /// ACLs and extended attributes do not travel, so no protocol is too old for them.
    pub(super) fn demand_nothing_of_the_wire(&mut self) {
        self.demands.retain(|(option, _)| !matches!(option.as_str(), "--acls" | "--xattrs"));
    }

    /// Checks the versions and says which protocol is used; `own` is what this end said.
    pub(super) fn protocol(&self, own: i32, peer: i32, agreed: i32) -> Result<u8, SetupError> {
        let (oldest, newest) = (i32::from(OLDEST_PROTOCOL), i32::from(NEWEST_PROTOCOL));
        let role = self.end.name();
        if own < oldest && peer >= LEAST_PEER_PROTOCOL {
            return Err(SetupError::ProtocolTooLow { min: OLDEST_PROTOCOL, role });
        }
        if agreed > newest && peer <= MAX_PEER_PROTOCOL {
            return Err(SetupError::ProtocolTooHigh { max: NEWEST_PROTOCOL, role });
        }
        if !(oldest..=MAX_PEER_PROTOCOL).contains(&peer) || !(oldest..=newest).contains(&agreed) {
            return Err(SetupError::VersionMismatch { peer });
        }
        let protocol = agreed as u8;
        match self.demands.iter().find(|(_, needed)| protocol < *needed) {
            None => Ok(protocol),
            Some((option, needed)) => Err(SetupError::OptionNeedsProtocol {
                option: option.clone(),
                needed: *needed,
                negotiated: protocol,
            }),
        }
    }

    /// Takes note of the protocol and the flags: batches record only what every reader knows.
    pub(super) fn settle(&mut self, negotiated: &Negotiated) -> Result<(), SetupError> {
        if self.crtimes && !negotiated.varint_flist_flags() {
            return Err(SetupError::NoCreationTimes);
        }
        if self.writes_batch {
            let checksum = if negotiated.is_modern() { "md5" } else { "md4" };
            self.checksum = AlgorithmList::only(AlgorithmKind::Checksum, checksum);
            self.compress = AlgorithmList::only(AlgorithmKind::Compress, "zlib");
        }
        Ok(())
    }

    /// The lists that travel in each direction, in their order.
    pub(super) fn lists(&self, negotiated: &Negotiated) -> Vec<&AlgorithmList> {
        if !negotiated.exchanges_algorithm_lists() {
            return Vec::new();
        }
        let checksum = self.checksum_choice.is_none().then_some(&self.checksum);
        let compress = (self.compress_choice == Compress::Negotiate).then_some(&self.compress);
        checksum.into_iter().chain(compress).collect()
    }

    /// What a peer that brings the same would send.
    pub(super) fn own_lists(&self, negotiated: &Negotiated) -> PeerLists {
        if !negotiated.exchanges_algorithm_lists() {
            return PeerLists::default();
        }
        let negotiates = self.compress_choice == Compress::Negotiate;
        PeerLists {
            checksum: self.checksum_choice.is_none().then(|| self.checksum.text().into()),
            compress: negotiates.then(|| self.compress.text().into()),
        }
    }

    /// Decodes the peer's lists.
    pub(super) fn read_lists(
        &self,
        negotiated: &Negotiated,
        input: &mut Cursor<'_>,
    ) -> Result<PeerLists, SetupError> {
        let mut peer = PeerLists::default();
        if !negotiated.exchanges_algorithm_lists() {
            return Ok(peer);
        }
        if self.checksum_choice.is_none() {
            peer.checksum = Some(self.read_list(&self.checksum, AlgorithmKind::Checksum, input)?);
        }
        if self.compress_choice == Compress::Negotiate {
            peer.compress = Some(self.read_list(&self.compress, AlgorithmKind::Compress, input)?);
        }
        Ok(peer)
    }

    fn read_list(
        &self,
        ours: &AlgorithmList,
        kind: AlgorithmKind,
        input: &mut Cursor<'_>,
    ) -> Result<BString, SetupError> {
        super::algorithms::peer_list(input).map_err(|error| match error {
            WireError::VstringTooLong { .. } => {
                SetupError::ListTooLong { error, failure: Box::new(self.no_common(kind, ours, b"".into())) }
            }
            error => error.into(),
        })
    }

    /// Fills in checksum and compression.
    pub(super) fn conclude(&self, negotiated: &mut Negotiated, peer: &PeerLists) -> Result<(), SetupError> {
        let implicit = negotiated.checksum;
        negotiated.checksum = match &self.checksum_choice {
            Some(choice) => ChecksumChoice {
                transfer: named(&choice.transfer, implicit.transfer)?,
                pre_transfer: named(&choice.pre_transfer, implicit.pre_transfer)?,
            },
            None => match &peer.checksum {
                Some(list) => {
                    let name = self.choose(&self.checksum, AlgorithmKind::Checksum, list.as_ref())?;
                    let checksum = named(name, implicit.transfer)?;
                    ChecksumChoice { transfer: checksum, pre_transfer: checksum }
                }
                None => {
                    self.check_implied(AlgorithmKind::Checksum, &self.checksum, implicit.transfer.name())?;
                    implicit
                }
            },
        };
        let kind = match (self.compress_choice, &peer.compress) {
            (Compress::Negotiate, Some(list)) => {
                let name = self.choose(&self.compress, AlgorithmKind::Compress, list.as_ref())?;
                CompressionKind::from_name(name.as_bytes())
            }
            (Compress::Negotiate, None) => {
                self.check_implied(AlgorithmKind::Compress, &self.compress, "zlib")?;
                Some(CompressionKind::Zlib)
            }
            (choice, _) => explicit_compression(choice),
        };
        negotiated.compression = kind.and_then(|kind| Compression::new(kind, self.compress_level));
        Ok(())
    }

    /// The client's order decides, at both ends.
    pub(super) fn choose(
        &self,
        ours: &AlgorithmList,
        kind: AlgorithmKind,
        peer: &BStr,
    ) -> Result<&'static str, SetupError> {
        let choice = match self.end {
            End::Client => ours.first_of_ours(peer),
            End::Server => ours.first_of_theirs(peer),
        };
        choice.ok_or_else(|| self.no_common(kind, ours, peer))
    }

    /// The lists as the client sends them once it has seen the server's: the choices alone.
    pub(super) fn put_choices(&self, peer: &PeerLists, out: &mut Vec<u8>) -> Result<(), SetupError> {
        for (ours, kind, list) in [
            (&self.checksum, AlgorithmKind::Checksum, &peer.checksum),
            (&self.compress, AlgorithmKind::Compress, &peer.compress),
        ] {
            if let Some(list) = list {
                AlgorithmList::only(kind, self.choose(ours, kind, list.as_ref())?).put(out)?;
            }
        }
        Ok(())
    }

    fn check_implied(
        &self,
        kind: AlgorithmKind,
        ours: &AlgorithmList,
        name: &'static str,
    ) -> Result<(), SetupError> {
        if ours.has(name) { Ok(()) } else { Err(self.no_common(kind, ours, name.into())) }
    }

    fn no_common(&self, kind: AlgorithmKind, ours: &AlgorithmList, peer: &BStr) -> SetupError {
        let (ours, peer) = (BString::from(ours.text()), BString::from(peer));
        let (server, client) = match self.end {
            End::Client => (peer, ours),
            End::Server => (ours, peer),
        };
        SetupError::NoCommonAlgorithm { kind, server, client }
    }
}

fn named(name: &str, implicit: Checksum) -> Result<Checksum, SetupError> {
    if name == "auto" {
        return Ok(implicit);
    }
    Checksum::from_name(name.as_bytes()).ok_or_else(|| SetupError::UnknownChecksum(name.to_owned()))
}

fn explicit_compression(choice: Compress) -> Option<CompressionKind> {
    match choice {
        Compress::Off | Compress::Negotiate => None,
        Compress::Zlib => Some(CompressionKind::Zlib),
        Compress::Zlibx => Some(CompressionKind::Zlibx),
        Compress::Lz4 => Some(CompressionKind::Lz4),
        Compress::Zstd => Some(CompressionKind::Zstd),
    }
}

fn demands(options: &TransferOptions) -> Vec<(String, u8)> {
    let mut demands = Vec::new();
    let mut demand = |given: bool, text: &str, needed| {
        if given {
            demands.push((text.to_owned(), needed));
        }
    };
    demand(options.acls, "--acls", 30);
    demand(options.xattrs > 0, "--xattrs", 30);
    demand(options.fuzzy > 0, "--fuzzy", 29);
    if let Some(basis) = &options.basis_dirs {
        let name = match basis.kind {
            BasisKind::Compare => "--compare-dest",
            BasisKind::Copy => "--copy-dest",
            BasisKind::Link => "--link-dest",
        };
        demand(options.inplace, &format!("{name} with --inplace"), 29);
        demand(basis.dirs.len() > 1, &format!("Using more than one {name} option"), 29);
    }
    demand(options.prune_empty_dirs, "--prune-empty-dirs", 29);
    demands
}
