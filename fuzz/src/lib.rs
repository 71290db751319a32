//! What the fuzz targets do with their input: one function per decoder a hostile peer can reach.
//!
//! Every function must return, whatever the bytes. Stream decoders are also fed in small pieces, and
//! must then find the same as at once. `fuzz/run.sh` drives them with libFuzzer; `cargo test` runs
//! them over the seeds.

mod lists;
mod plain;
pub mod seeds;
mod stream;

pub use lists::{acls, file_list, xattrs};
pub use plain::{config, filters, names, options, session, setup, texts};
pub use stream::{frames, integers, items, sums, tokens};

use rsync_proto::session::{CompatFlags, Negotiated};
use rsync_proto::wire::{Cursor, NeedsInput};

/// Takes the choices of a target from the front of its input.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// An agreement: one byte for the protocol, two for the compatibility flags.
    fn negotiated(&mut self) -> Negotiated {
        let protocol = 27 + self.byte() % 6;
        Negotiated::new(protocol, CompatFlags(u32::from(self.word())))
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Decodes `data` item by item as a driver does: `step` sees what "arrived", at first `piece` bytes,
/// and after "needs more" some more. Ends at an error, when `step` says so, or with the input.
///
/// Answers how many bytes were consumed, and whether it ended by an error.
fn drive<E: NeedsInput>(
    data: &[u8],
    piece: usize,
    step: impl FnMut(&mut Cursor<'_>) -> Result<bool, E>,
) -> (usize, bool) {
    drive_as(data, piece, false, step)
}

/// The same for decoders that keep what they consumed when the input runs out.
fn drive_resuming<E: NeedsInput>(
    data: &[u8],
    piece: usize,
    step: impl FnMut(&mut Cursor<'_>) -> Result<bool, E>,
) -> (usize, bool) {
    drive_as(data, piece, true, step)
}

fn drive_as<E: NeedsInput>(
    data: &[u8],
    piece: usize,
    resumes: bool,
    mut step: impl FnMut(&mut Cursor<'_>) -> Result<bool, E>,
) -> (usize, bool) {
    let mut start = 0;
    let mut end = data.len().min(piece);
    loop {
        let mut input = Cursor::new(&data[start..end]);
        match step(&mut input) {
            Ok(go_on) => {
                let consumed = input.position();
                start += consumed;
                if !go_on || (start == data.len() && consumed == 0) {
                    return (start, false);
                }
                if consumed == 0 {
                    end = data.len().min(end + piece);
                }
            }
            Err(error) => match error.missing() {
                Some(missing) => {
                    assert!(missing > 0, "needs more, but nothing is missing");
                    if end == data.len() {
                        return (start, false);
                    }
                    if resumes {
                        start += input.position();
                    }
                    end = data.len().min(end.saturating_add(missing.max(piece)));
                }
                None => return (start, true),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_target_survives_its_seeds_and_what_is_near_them() {
        for (target, seeds) in super::seeds::all() {
            let run = super::seeds::target(target).expect("a target");
            for seed in seeds {
                run(&seed);
                for cut in 0..seed.len().min(64) {
                    run(&seed[..cut]);
                    let mut changed = seed.clone();
                    changed[cut] ^= 0x81;
                    run(&changed);
                }
            }
        }
    }
}
