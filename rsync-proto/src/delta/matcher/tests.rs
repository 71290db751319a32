use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::sum::{SumHead, SumHeadSizing};

const OLD: &[u8] = b"The quick brown fox jumps over the lazy dog.\n";
const NEW: &[u8] = b"The quick brown fox suddenly jumps over the lazy dog.\n";

/// A file in memory that insists on windows that move forward and stay inside.
struct Memory<'a> {
    data: &'a [u8],
    offset: u64,
}

impl Source for Memory<'_> {
    type Error = Infallible;

    fn window(&mut self, offset: u64, length: usize) -> Result<&[u8], Infallible> {
        assert!(offset >= self.offset, "the window moves back");
        self.offset = offset;
        Ok(&self.data[offset as usize..offset as usize + length])
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    Literal(Vec<u8>),
    Block(u32),
}

#[derive(Default)]
struct Ops(Vec<Op>);

impl Sink<Infallible> for Ops {
    fn literal(&mut self, data: &[u8]) -> Result<(), Infallible> {
        assert!(!data.is_empty());
        match self.0.last_mut() {
            Some(Op::Literal(all)) => all.extend_from_slice(data),
            _ => self.0.push(Op::Literal(data.to_vec())),
        }
        Ok(())
    }

    fn block(&mut self, index: u32, _block: &[u8]) -> Result<(), Infallible> {
        self.0.push(Op::Block(index));
        Ok(())
    }
}

fn head(basis: &[u8], block_size: u32, redo: bool) -> SumHead {
    let sizing = SumHeadSizing { block_size, max_block_len: 131_072, digest_len: 16, redo };
    SumHead::for_basis(basis.len() as u64, &sizing).expect("countable")
}

fn search(head: SumHead, basis: &[u8], source: &[u8], in_place: bool) -> (Vec<Op>, MatchStats) {
    let rules = MatchRules { checksum: Checksum::Xxh128, seed: 12345, in_place };
    let table = SumTable::of_basis(head, rules.checksum, rules.seed, basis);
    let mut ops = Ops::default();
    let mut memory = Memory { data: source, offset: 0 };
    let Ok(stats) = Matcher::new(table, rules).run(&mut memory, source.len() as u64, &mut ops);
    (ops.0, stats)
}

fn apply(head: &SumHead, ops: &[Op], basis: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for op in ops {
        match op {
            Op::Literal(data) => out.extend_from_slice(data),
            Op::Block(index) => {
                let start = head.offset_of(*index) as usize;
                out.extend_from_slice(&basis[start..start + head.len_of(*index) as usize]);
            }
        }
    }
    out
}

fn apply_in_place(head: &SumHead, ops: &[Op], basis: &[u8]) -> Vec<u8> {
    let mut file = basis.to_vec();
    let mut at = 0;
    for op in ops {
        let data = match op {
            Op::Literal(data) => data.clone(),
            Op::Block(index) => {
                let start = head.offset_of(*index) as usize;
                file[start..start + head.len_of(*index) as usize].to_vec()
            }
        };
        file.resize(file.len().max(at + data.len()), 0);
        file[at..at + data.len()].copy_from_slice(&data);
        at += data.len();
    }
    file.truncate(at);
    file
}

fn literal(data: &[u8]) -> Op {
    Op::Literal(data.to_vec())
}

#[test]
fn the_reference_texts_give_the_golden_tokens() {
    let (ops, stats) = search(head(OLD, 10, false), OLD, NEW, false);
    let golden =
        [Op::Block(0), Op::Block(1), literal(b"suddenly "), Op::Block(2), Op::Block(3), Op::Block(4)];
    assert_eq!(ops, golden);
    let expected =
        MatchStats { matches: 5, hash_hits: 5, false_alarms: 0, literal_data: 9, matched_data: 45 };
    assert_eq!(stats, expected);
}

#[test]
fn in_place_no_block_is_used_that_was_overwritten() {
    let (ops, _) = search(head(OLD, 10, false), OLD, NEW, true);
    let rest = literal(b"suddenly jumps over the lazy dog.\n");
    assert_eq!(ops, [Op::Block(0), Op::Block(1), rest]);
}

#[test]
fn a_partial_file_is_continued() {
    let partial = &NEW[..31];
    let (ops, _) = search(head(partial, 10, false), partial, NEW, true);
    assert_eq!(ops, [Op::Block(0), Op::Block(1), Op::Block(2), literal(&NEW[30..])]);
}

#[test]
fn equal_blocks_are_taken_in_order() {
    let data = [b'x'; 40];
    let all: Vec<Op> = (0..4).map(Op::Block).collect();
    for in_place in [false, true] {
        assert_eq!(search(head(&data, 10, false), &data, &data, in_place).0, all);
    }
}

#[test]
fn without_a_basis_everything_is_literal() {
    let (ops, stats) = search(SumHead::NULL, b"", NEW, false);
    assert_eq!(ops, [literal(NEW)]);
    assert_eq!((stats.matches, stats.literal_data), (0, 54));
    assert_eq!(search(SumHead::NULL, b"", b"", false).0, []);
}

#[test]
fn a_basis_of_one_short_block_matches_at_the_end() {
    let (ops, _) = search(head(b"dog.\n", 10, false), b"dog.\n", NEW, false);
    assert_eq!(ops, [literal(&NEW[..49]), Op::Block(0)]);
}

#[test]
fn too_many_equal_weak_sums_leave_a_position_unmatched() {
    // Swapping bytes so that both sums stay: +1 -2 +1 keeps s1 and s2.
    let block = |salt: u8| {
        let mut block = [3_u8, 50, 17, 90, 61, 5, 77, 33, 9, 110, 71, 42];
        for bit in 0..4 {
            let delta = salt >> bit & 1;
            block[bit * 3] += delta;
            block[bit * 3 + 1] -= 2 * delta;
            block[bit * 3 + 2] += delta;
        }
        block
    };
    let mut basis = block(1).to_vec();
    for _ in 0..1500 {
        basis.extend_from_slice(&block(2));
    }
    assert_eq!(Rolling::of(&block(1)), Rolling::of(&block(2)));
    let source = [&b"-"[..], &block(4), &block(1)].concat();
    let (ops, stats) = search(head(&basis, 12, true), &basis, &source, false);
    // The expected block is still found at once.
    assert_eq!(ops, [literal(&source[..13]), Op::Block(0)]);
    assert!(stats.false_alarms >= 1);
    let twice = [&source[..], &block(1)].concat();
    let (ops, _) = search(head(&basis, 12, true), &basis, &twice, false);
    assert_eq!(ops[1..], [Op::Block(0), literal(&block(1))]);
}

#[test]
fn a_large_file_is_searched_through_small_windows() {
    let basis: Vec<u8> =
        (0..1_500_000_u32).map(|i| (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    let mut source = basis.clone();
    source.splice(700_000..700_000, [1, 2, 3]);
    source.splice(100_000..100_700, (0..=255).cycle().take(500_000));
    let head = head(&basis, 0, false);
    let (ops, stats) = search(head, &basis, &source, false);
    assert_eq!(apply(&head, &ops, &basis), source);
    assert!(stats.literal_data < 510_000, "{stats:?}");
    assert_eq!(stats.literal_data + stats.matched_data, source.len() as u64);
}

/// A source made of pieces of the basis, shifted, repeated and mixed with new bytes.
fn case() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let basis = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        proptest::collection::vec(0_u8..2, 0..400),
    ];
    let pieces = proptest::collection::vec(
        (any::<prop::sample::Index>(), 0_usize..90, proptest::collection::vec(0_u8..4, 0..12)),
        0..12,
    );
    (basis, pieces).prop_map(|(basis, pieces)| {
        let mut source = Vec::new();
        for (start, length, new) in pieces {
            let start = start.index(basis.len() + 1);
            source.extend_from_slice(&basis[start..basis.len().min(start + length)]);
            source.extend_from_slice(&new);
        }
        (basis, source)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn applying_the_operations_gives_the_source((basis, source) in case(), block_size in 1_u32..40) {
        let head = head(&basis, block_size, true);
        let (ops, stats) = search(head, &basis, &source, false);
        prop_assert_eq!(apply(&head, &ops, &basis), &source[..]);
        prop_assert_eq!(stats.literal_data + stats.matched_data, source.len() as u64);
    }

    #[test]
    fn applying_the_operations_in_place_gives_the_source((basis, source) in case(), block_size in 1_u32..40) {
        let head = head(&basis, block_size, true);
        let (ops, _) = search(head, &basis, &source, true);
        prop_assert_eq!(apply_in_place(&head, &ops, &basis), source);
    }

    #[test]
    fn an_unchanged_file_is_all_blocks((basis, _) in case(), block_size in 1_u32..40, in_place: bool) {
        let head = head(&basis, block_size, true);
        let expected: Vec<Op> = (0..head.count).map(Op::Block).collect();
        prop_assert_eq!(search(head, &basis, &basis, in_place).0, expected);
    }
}
