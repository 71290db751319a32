//! Scalars, frames, items, sums and tokens.

use rsync_proto::delta::{Compression, CompressionKind, SumTable, Token, TokenDecoder};
use rsync_proto::phase::{FinalStatistics, ItemAttributes, decode_delete_stats};
use rsync_proto::sum::{SumHead, SumHeadLimits};
use rsync_proto::text::Role;
use rsync_proto::wire::{
    Cursor, Demux, Legal, NdxDecoder, NdxEncoder, longint, put_varint, put_varlong, varint, varint30,
    varlong, varlong30, vstring,
};

use crate::{Choices, drive};

/// Largest literal or block count that a target allows itself.
const LARGEST: u32 = 1 << 16;

/// Variable-length integers, strings and file indexes; what was written is read back.
pub fn integers(data: &[u8]) {
    let mut choices = Choices(data);
    let modern = choices.byte() & 1 == 1;
    let data = choices.rest();
    // Protocols use minima of 3 and more; below that not every value has a form.
    for minimum in 3..=8 {
        let mut input = Cursor::new(data);
        if let Ok(value) = varlong(&mut input, minimum) {
            let mut out = Vec::new();
            put_varlong(&mut out, value, minimum);
            assert_eq!(varlong(&mut Cursor::new(&out), minimum), Ok(value));
        }
        let _ = varlong30(&mut Cursor::new(data), minimum, modern);
    }
    if let Ok(value) = varint(&mut Cursor::new(data)) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        assert_eq!(varint(&mut Cursor::new(&out)), Ok(value));
    }
    let _ = varint30(&mut Cursor::new(data), modern);
    let _ = longint(&mut Cursor::new(data));
    let _ = vstring(&mut Cursor::new(data), 300);
    let decoded = |piece: usize| {
        let mut decoder = NdxDecoder::new(modern);
        let mut found = Vec::new();
        let end = drive(data, piece, |input| {
            found.push(decoder.decode(input)?);
            Ok::<_, rsync_proto::wire::NdxError>(true)
        });
        (found, end)
    };
    let whole = decoded(data.len());
    assert_eq!(decoded(1), whole);
    if !modern {
        return;
    }
    let mut encoder = NdxEncoder::new(modern);
    let mut out = Vec::new();
    whole.0.iter().for_each(|ndx| encoder.encode(&mut out, *ndx));
    let mut decoder = NdxDecoder::new(modern);
    let mut again = Cursor::new(&out);
    for ndx in &whole.0 {
        assert_eq!(decoder.decode(&mut again).as_ref(), Ok(ndx));
    }
}

/// Frames: the data stream and the messages are the same whatever the pieces.
pub fn frames(data: &[u8]) {
    let mut choices = Choices(data);
    let negotiated = choices.negotiated();
    let roles = choices.word();
    let legal = Legal::new(&negotiated, roles & 1 == 1, roles & 2 == 2, roles & 4 == 4);
    let data = choices.rest();
    let demuxed = |piece: usize| {
        let mut demux = Demux::new();
        demux.start_framing(legal);
        demux.start_counting();
        let (mut payload, mut messages, mut failed) = (Vec::new(), Vec::new(), false);
        for piece in data.chunks(piece.max(1)) {
            demux.spare(piece.len())[..piece.len()].copy_from_slice(piece);
            demux.filled(piece.len());
            loop {
                match demux.need(1) {
                    Ok(true) => {
                        payload.extend_from_slice(demux.payload());
                        let count = demux.payload().len();
                        demux.consume(count);
                    }
                    Ok(false) => break,
                    Err(_) => {
                        failed = true;
                        break;
                    }
                }
            }
            messages.extend(std::iter::from_fn(|| demux.next_message()));
            if failed {
                break;
            }
        }
        (payload, messages, failed)
    };
    let whole = demuxed(data.len());
    for piece in [1, 7] {
        assert_eq!(demuxed(piece), whole);
    }
}

/// What follows an item's index, and statistics.
pub fn items(data: &[u8]) {
    let mut choices = Choices(data);
    let negotiated = choices.negotiated();
    let data = choices.rest();
    if let Ok(attributes) = ItemAttributes::decode(&mut Cursor::new(data), &negotiated) {
        let mut out = Vec::new();
        if attributes.encode(&mut out, &negotiated).is_ok() {
            let again = ItemAttributes::decode(&mut Cursor::new(&out), &negotiated);
            assert_eq!(again.map(|again| again.xname), Ok(attributes.xname));
        }
    }
    let _ = FinalStatistics::decode(&mut Cursor::new(data), &negotiated);
    let _ = decode_delete_stats(&mut Cursor::new(data));
}

/// The head of a file's block sums, and the sums.
pub fn sums(data: &[u8]) {
    let mut choices = Choices(data);
    let negotiated = choices.negotiated();
    let data = choices.rest();
    let mut input = Cursor::new(data);
    let limits = SumHeadLimits { count: LARGEST, ..SumHeadLimits::new(&negotiated, Role::Sender) };
    let Ok(head) = SumHead::decode(&mut input, &limits) else { return };
    let rest = input.rest();
    let read = |piece: usize| {
        let mut table = SumTable::new(head);
        let end = drive(rest, piece, |input| table.read(input).map(|complete| !complete));
        (table.weak().to_vec(), end)
    };
    assert_eq!(read(rest.len()).0, read(1).0);
}

/// Token streams, plain and of each compression.
pub fn tokens(data: &[u8]) {
    let mut choices = Choices(data);
    let mut negotiated = choices.negotiated();
    let kind = usize::from(choices.byte());
    negotiated.compression =
        CompressionKind::ALL.get(kind % 5).and_then(|kind| Compression::new(*kind, None));
    let blocks = u32::from(choices.byte());
    let discard = choices.byte() & 1 == 1;
    let data = choices.rest();
    let decoded = |piece: usize| {
        let mut decoder = TokenDecoder::new(&negotiated).expect("a decoder");
        decoder.start_file(blocks, discard);
        let (mut literal, mut found) = (Vec::new(), Vec::new());
        let mut files = 0;
        let (_, failed) = drive(data, piece, |input| {
            match decoder.next(input)? {
                Token::Literal(bytes) => {
                    literal.extend_from_slice(bytes);
                    return Ok::<_, rsync_proto::delta::TokenError>(literal.len() < LARGEST as usize * 16);
                }
                Token::Block(index) => {
                    assert!(index < blocks, "block {index} of {blocks}");
                    found.push(index);
                }
                _ => {
                    files += 1;
                    decoder.start_file(blocks, discard);
                }
            }
            if decoder.wants_history() && !found.is_empty() {
                decoder.insert_history(b"the same block")?;
            }
            Ok(true)
        });
        (literal, found, files, failed)
    };
    let whole = decoded(data.len());
    if whole.0.len() < LARGEST as usize {
        let pieces = decoded(3);
        // A codec may find early or late that a record is corrupt, and give away some data before.
        assert!(whole.3 || pieces.3 || pieces == whole, "pieces change the data");
    }
}
