use proptest::prelude::*;

use super::*;
use crate::delta::CompressionKind;
use crate::session::CompatFlags;

const OLD: &[u8] = b"The quick brown fox jumps over the lazy dog.\n";
const HELLO: &[u8] = b"hello hello hello hello\n";
const FORMS: [Option<CompressionKind>; 5] = [
    None,
    Some(CompressionKind::Zlib),
    Some(CompressionKind::Zlibx),
    Some(CompressionKind::Lz4),
    Some(CompressionKind::Zstd),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    Literal(Vec<u8>),
    Block(u32),
}

fn negotiated(kind: Option<CompressionKind>, protocol: u8) -> Negotiated {
    let mut negotiated = Negotiated::new(protocol, CompatFlags::default());
    negotiated.compression = kind.and_then(|kind| Compression::new(kind, None));
    negotiated
}

fn encoder(kind: Option<CompressionKind>) -> TokenEncoder {
    TokenEncoder::new(&negotiated(kind, 31)).expect("starts")
}

fn decoder(kind: Option<CompressionKind>) -> TokenDecoder {
    TokenDecoder::new(&negotiated(kind, 31)).expect("starts")
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("ascii"), 16).expect("hex");
    digits.chunks(2).map(byte).collect()
}

fn blocks(range: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = Op> {
    range.map(Op::Block)
}

fn literal(data: &[u8]) -> Op {
    Op::Literal(data.to_vec())
}

/// OLD to NEW, and OLD to DIC: two blocks, a literal, three blocks.
fn around(data: &[u8]) -> Vec<Op> {
    blocks(0..=1).chain([literal(data)]).chain(blocks(2..=4)).collect()
}

fn old_blocks() -> Vec<Vec<u8>> {
    OLD.chunks(10).map(<[u8]>::to_vec).collect()
}

fn content(basis: &[Vec<u8>], index: u32) -> &[u8] {
    basis.get(index as usize).map_or(&[], |block| block)
}

fn encode(encoder: &mut TokenEncoder, ops: &[Op], basis: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.start_file();
    for op in ops {
        match op {
            Op::Literal(data) => encoder.literal(data, &mut out).expect("compresses"),
            Op::Block(index) => encoder.block(*index, content(basis, *index), &mut out).expect("compresses"),
        }
    }
    encoder.end(&mut out).expect("compresses");
    out
}

/// Decodes one file from an input that grows by `steps` bytes, over and over, whenever more is needed.
fn decode(
    decoder: &mut TokenDecoder,
    wire: &[u8],
    basis: &[Vec<u8>],
    steps: &[usize],
) -> Result<Vec<Op>, TokenError> {
    let mut ops: Vec<Op> = Vec::new();
    let mut grow = steps.iter().cycle();
    let (mut start, mut end) = (0, 0);
    loop {
        let mut input = Cursor::new(&wire[start..end]);
        let block = match decoder.next(&mut input) {
            Ok(Token::End) => {
                assert_eq!(start + input.position(), wire.len(), "everything is read");
                return Ok(ops);
            }
            Ok(Token::Literal(data)) => {
                match ops.last_mut() {
                    Some(Op::Literal(all)) => all.extend_from_slice(data),
                    _ if data.is_empty() => {}
                    _ => ops.push(literal(data)),
                }
                None
            }
            Ok(Token::Block(index)) => {
                ops.push(Op::Block(index));
                Some(index)
            }
            Err(error) => {
                let Some(missing) = error.missing() else { return Err(error) };
                assert!(missing > 0 && input.position() == 0);
                assert!(end < wire.len(), "more is asked for than was written");
                end = wire.len().min(end + grow.next().copied().unwrap_or(1).max(1));
                continue;
            }
        };
        start += input.position();
        if let Some(index) = block {
            decoder.insert_history(content(basis, index))?;
        }
    }
}

fn decode_one(kind: Option<CompressionKind>, wire: &[u8], count: u32) -> Result<Vec<Op>, TokenError> {
    let mut decoder = decoder(kind);
    decoder.start_file(count, false);
    decode(&mut decoder, wire, &old_blocks(), &[usize::MAX / 2])
}

#[test]
fn plain_tokens_have_the_golden_form() {
    let golden = unhex("ffffffff feffffff 09000000 73756464656e6c7920 fdffffff fcffffff fbffffff 00000000");
    let ops = around(b"suddenly ");
    assert_eq!(encode(&mut encoder(None), &ops, &old_blocks()), golden);
    assert_eq!(decode_one(None, &golden, 5), Ok(ops));
}

#[test]
fn long_literals_are_written_in_chunks_and_read_at_any_length() {
    let data = vec![7; 40_000];
    let wire = encode(&mut encoder(None), &[literal(&data)], &[]);
    assert_eq!(&wire[..4], 32_768_u32.to_le_bytes());
    assert_eq!(&wire[32_772..32_776], 7_232_u32.to_le_bytes());
    let mut one = 40_000_u32.to_le_bytes().to_vec();
    one.extend_from_slice(&data);
    one.extend_from_slice(&[0; 4]);
    assert_eq!(decode_one(None, &one, 0), Ok(vec![literal(&data)]));
}

#[test]
fn block_indexes_out_of_range_are_refused_in_every_form() {
    for (token, index) in [(-6_i32, 5), (i32::MIN, 2_147_483_647)] {
        let error = decode_one(None, &token.to_le_bytes(), 5).expect_err("out of range");
        assert_eq!(error.to_string(), format!("Invalid block index {index} (count=5) [receiver]"));
        assert_eq!(error.exit_code(), ExitCode::PROTOCOL);
    }
    for kind in [CompressionKind::Zlib, CompressionKind::Zstd] {
        let error = decode_one(Some(kind), &unhex("c4 0200 00"), 5).expect_err("out of range");
        assert_eq!(error, TokenError::BlockIndex { index: 5, count: 5 });
    }
}

#[test]
fn runs_have_the_golden_form() {
    let tokens = [0, 100, 163, 164, 5, 6, 7, 70_000, 70_001, 3];
    let ops: Vec<Op> = tokens.into_iter().map(Op::Block).collect();
    let golden = unhex("80 2064000000 ff0100 21050000000200 21701101000100 2003000000 00");
    let kind = Some(CompressionKind::Zlibx);
    assert_eq!(encode(&mut encoder(kind), &ops, &[]), golden);
    assert_eq!(decode_one(kind, &golden, 70_002), Ok(ops));
}

#[test]
fn a_run_ends_at_65536_tokens() {
    let ops: Vec<Op> = blocks(0..=69_999)
        .chain([literal(b"hello")])
        .chain(blocks(70_000..=140_000))
        .chain([literal(b"x")])
        .collect();
    let golden = unhex("c0ffff c16f11 4007ca48cdc9c90700 c1ffff c17011 4003aa0000 00");
    let kind = Some(CompressionKind::Zlibx);
    assert_eq!(decode_one(kind, &golden, 140_001), Ok(ops.clone()));
    let written = encode(&mut encoder(kind), &ops, &[]);
    assert_eq!(written[..8], golden[..8]);
    assert_eq!(decode_one(kind, &written, 140_001), Ok(ops));
}

#[test]
fn compressed_captures_are_read() {
    use CompressionKind::{Lz4, Zlib, Zlibx, Zstd};
    let new: [(CompressionKind, &str); 4] = [
        (Zlib, "c00100 400b2a2e4d4949cdcba9540000 c10200 00"),
        (Zlibx, "c00100 400b2a2e4d4949cdcba9540000 c10200 00"),
        (Lz4, "c00100 400a9073756464656e6c7920 c10200 00"),
        (Zstd, "c00100 401228b52ffd005848000073756464656e6c7920 c10200 00"),
    ];
    for (kind, wire) in new {
        assert_eq!(decode_one(Some(kind), &unhex(wire), 5), Ok(around(b"suddenly ")), "{kind}");
    }
    let dic: [(CompressionKind, &str); 4] = [
        (Zlib, "400d4acc4b5128c1144f2dd6510000"),
        (Zlibx, "401d4acc4b5128c94855282ccd4cce56482aca2fcf5348cbaf482dd6510000"),
        (Lz4, "401df00c616e642074686520717569636b2062726f776e20666f7865732c20"),
        (Zstd, "402428b52ffd0058d80000616e642074686520717569636b2062726f776e20666f7865732c20"),
    ];
    for (kind, record) in dic {
        let wire = unhex(&format!("c00100 {record} c10200 00"));
        let expected = around(b"and the quick brown foxes, ");
        assert_eq!(decode_one(Some(kind), &wire, 5), Ok(expected), "{kind}");
    }
}

#[test]
fn matched_blocks_help_zlib_and_not_zlibx() {
    let length =
        |kind| encode(&mut encoder(Some(kind)), &around(b"and the quick brown foxes, "), &old_blocks()).len();
    assert!(length(CompressionKind::Zlib) < length(CompressionKind::Zlibx));
}

#[test]
fn a_session_of_three_captured_files_is_read() {
    let sessions: [(CompressionKind, [&str; 3]); 4] = [
        (
            CompressionKind::Zstd,
            [
                "401628b52ffd00586c00003868656c6c6f200a0100994b11 00",
                "400f6000007365636f6e642066696c650a 00",
                "00",
            ],
        ),
        (
            CompressionKind::Zlib,
            ["400cca48cdc9c957c84027b90000 00", "400e2a4e4dcecf4b5148cbcc49e50200 00", "00"],
        ),
        (
            CompressionKind::Zlibx,
            ["400cca48cdc9c957c84027b90000 00", "400e2a4e4dcecf4b5148cbcc49e50200 00", "00"],
        ),
        (
            CompressionKind::Lz4,
            ["400f6968656c6c6f20060050656c6c6f0a 00", "400dc07365636f6e642066696c650a 00", "00"],
        ),
    ];
    for (kind, files) in sessions {
        let mut decoder = decoder(Some(kind));
        for (wire, data) in files.into_iter().zip([HELLO, b"second file\n", b""]) {
            decoder.start_file(0, false);
            let ops = decode(&mut decoder, &unhex(wire), &[], &[1]).expect("decodes");
            assert_eq!(ops, if data.is_empty() { vec![] } else { vec![literal(data)] }, "{kind}");
        }
    }
}

#[test]
fn hostile_records_are_refused() {
    use CompressionKind::{Lz4, Zlib, Zlibx, Zstd};
    let all = [Zlib, Zlibx, Lz4, Zstd];
    for kind in all {
        for wire in ["20 ffffffff", "20 ffffff7f", "21 feffff7f 0100", "21 00000000 0000", "c0 0000"] {
            let error = decode_one(Some(kind), &unhex(wire), u32::MAX).expect_err(wire);
            assert_eq!(error.to_string(), "invalid token number in compressed stream", "{kind} {wire}");
            assert_eq!(error.exit_code(), ExitCode::PROTOCOL);
        }
        for wire in ["01", "1f", "22", "3f"] {
            let error = decode_one(Some(kind), &unhex(wire), 5).expect_err(wire);
            assert!(matches!(error, TokenError::UnknownRecord { .. }), "{kind} {wire}");
        }
        let error = decode_one(Some(kind), &unhex("4000"), 5).expect_err("empty record");
        assert_eq!(error.exit_code(), ExitCode::STREAM);
    }
    let refused = |kind, wire: &str| decode_one(Some(kind), &unhex(wire), 5).expect_err(wire);
    // The sender kept the four bytes; a truncated stream; a final block.
    assert_eq!(refused(Zlibx, "400f2a2e4d4949cdcba95400000000ffff 00"), TokenError::LostSync);
    assert_eq!(refused(Zlibx, "40072a2e4d4949cdcb 00"), TokenError::LostSync);
    assert_eq!(refused(Zlib, "4003030000 00"), TokenError::Corrupt { codec: "deflate" });
    assert_eq!(refused(Lz4, "400100 00"), TokenError::Corrupt { codec: "lz4" });
    assert_eq!(refused(Zstd, "4004deadbeef 00"), TokenError::Corrupt { codec: "zstd" });
}

#[test]
fn lz4_records_decode_to_32912_bytes_at_most() {
    for (length, accepted) in [(32_912, true), (32_913, false)] {
        let packed = lz4_flex::block::compress(&vec![0; length]);
        let mut wire = vec![0x40 | (packed.len() >> 8) as u8, packed.len() as u8];
        wire.extend_from_slice(&packed);
        wire.push(0);
        assert_eq!(decode_one(Some(CompressionKind::Lz4), &wire, 0).is_ok(), accepted, "{length}");
    }
}

#[test]
fn incompressible_lz4_input_is_halved() {
    let data: Vec<u8> = noise(1, 20_000);
    let wire = encode(&mut encoder(Some(CompressionKind::Lz4)), &[literal(&data)], &[]);
    let first = usize::from(wire[0] & 0x3f) << 8 | usize::from(wire[1]);
    assert_eq!(first, 8225);
    assert_eq!(decode_one(Some(CompressionKind::Lz4), &wire, 0), Ok(vec![literal(&data)]));
}

#[test]
fn a_discarded_file_needs_no_history_and_keeps_the_session_alive() {
    let basis = old_blocks();
    for kind in FORMS {
        let (mut encoder, mut decoder) = (encoder(kind), decoder(kind));
        let first = encode(&mut encoder, &around(b"and the quick brown foxes, "), &basis);
        let second = encode(&mut encoder, &[literal(HELLO)], &basis);
        decoder.start_file(5, true);
        assert!(!decoder.wants_history());
        let discarded = decode(&mut decoder, &first, &[], &[3]).expect("is skipped");
        assert_eq!(discarded.iter().filter(|op| matches!(op, Op::Block(_))).count(), 5);
        decoder.start_file(0, false);
        assert_eq!(decode(&mut decoder, &second, &basis, &[3]), Ok(vec![literal(HELLO)]), "{kind:?}");
    }
}

#[test]
fn stored_deflate_is_read_like_any_other() {
    let negotiated = negotiated(Some(CompressionKind::Zlib), 31);
    let stored = Compression { kind: CompressionKind::Zlib, level: 0 };
    let mut encoder = TokenEncoder::with_compression(Some(stored), &negotiated).expect("starts");
    let ops = [literal(&noise(3, 200_000)), Op::Block(2), literal(HELLO)];
    let wire = encode(&mut encoder, &ops, &old_blocks());
    assert!(wire.len() > 200_000);
    assert_eq!(decode_one(Some(CompressionKind::Zlib), &wire, 5), Ok(ops.to_vec()));
}

#[test]
fn blocks_above_64_kib_enter_the_history_at_every_protocol_and_level() {
    let basis: Vec<Vec<u8>> = (0..3).map(|seed| noise(seed, 100_000)).collect();
    for protocol in [29, 30, 31] {
        for level in 0..=9 {
            let mut negotiated = negotiated(Some(CompressionKind::Zlib), protocol);
            negotiated.compression = Some(Compression { kind: CompressionKind::Zlib, level });
            let mut ops = Vec::new();
            for (index, block) in (0..).zip(&basis) {
                ops.push(Op::Block(index));
                ops.push(literal(&block[90_000..]));
                ops.push(Op::Block(index));
                ops.push(literal(&block[20_000..34_000]));
            }
            let mut encoder = TokenEncoder::new(&negotiated).expect("starts");
            let wire = encode(&mut encoder, &ops, &basis);
            let mut decoder = TokenDecoder::new(&negotiated).expect("starts");
            decoder.start_file(3, false);
            assert_eq!(decode(&mut decoder, &wire, &basis, &[5000]), Ok(ops), "{protocol} {level}");
        }
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| step()).collect()
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..50),
        proptest::collection::vec(0_u8..3, 1..3000),
        (any::<u64>(), 1_usize..60_000).prop_map(|(seed, length)| noise(seed, length)),
        (any::<u8>(), 1_usize..100_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

/// Operations with adjoining literals merged, as a decoder reports them.
fn operations(block_count: u32) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![data().prop_map(Op::Literal), (0..block_count).prop_map(Op::Block)];
    proptest::collection::vec(op, 0..12).prop_map(|ops| {
        let mut merged: Vec<Op> = Vec::new();
        for op in ops {
            match (merged.last_mut(), op) {
                (Some(Op::Literal(all)), Op::Literal(more)) => all.extend(more),
                (_, op) => merged.push(op),
            }
        }
        merged
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sessions_survive_the_wire_in_every_form_and_any_pieces(
        basis in proptest::collection::vec(data(), 6),
        files in proptest::collection::vec(operations(6), 1..4),
        steps in proptest::collection::vec(1_usize..20_000, 1..8),
        pieces in 1_usize..5,
        level in 1_i32..=9,
    ) {
        for kind in FORMS {
            let mut negotiated = negotiated(kind, 31);
            if let Some(compression) = &mut negotiated.compression {
                compression.level = level;
            }
            let mut encoder = TokenEncoder::new(&negotiated).expect("starts");
            let mut decoder = TokenDecoder::new(&negotiated).expect("starts");
            for ops in &files {
                let mut split = Vec::new();
                for op in ops {
                    match op {
                        Op::Literal(data) => {
                            let length = data.len().div_ceil(pieces).max(1);
                            split.extend(data.chunks(length).map(literal));
                        }
                        Op::Block(_) => split.push(op.clone()),
                    }
                }
                let wire = encode(&mut encoder, &split, &basis);
                decoder.start_file(6, false);
                prop_assert_eq!(&decode(&mut decoder, &wire, &basis, &steps), &Ok(ops.clone()), "{:?}", kind);
            }
        }
    }

    #[test]
    fn no_input_makes_the_decoder_panic(
        wire in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0x40), Just(0x80)], 0..200),
    ) {
        for kind in FORMS {
            let mut decoder = decoder(kind);
            decoder.start_file(100, false);
            let mut input = Cursor::new(&wire);
            while let Ok(token) = decoder.next(&mut input) {
                let block = matches!(token, Token::Block(_));
                if token == Token::End || (block && decoder.insert_history(b"block").is_err()) {
                    break;
                }
            }
        }
    }
}
