//! `--fuzzy`: how alike two file names are (spec 07 §6.5).

/// One unit of distance; scores are 16.16 fixed point.
const UNIT: u32 = 1 << 16;
/// Names further apart than this never serve as a basis.
pub(crate) const WORST_SCORE: u32 = 25 * UNIT;

/// The distance between `candidate` and `wanted`, or `None` when it is surely above `limit`.
///
/// The smaller it is, the better `candidate` serves as basis of `wanted`.
pub(crate) fn score(candidate: &[u8], wanted: &[u8], limit: u32) -> Option<u32> {
    let names = distance(candidate, wanted, Some(limit))?;
    let suffixes = distance(suffix(candidate), suffix(wanted), None)?;
    Some(names.wrapping_add(suffixes.wrapping_mul(10)))
}

fn distance(a: &[u8], b: &[u8], limit: Option<u32>) -> Option<u32> {
    if a.is_empty() || b.is_empty() {
        let rest = if a.is_empty() { b } else { a };
        let bytes = rest.iter().fold(0_u32, |sum, &byte| sum.wrapping_add(byte as i8 as u32));
        return Some((rest.len() as u32).wrapping_mul(UNIT).wrapping_add(bytes));
    }
    if limit.is_some_and(|limit| a.len().abs_diff(b.len()) as u64 * u64::from(UNIT) > u64::from(limit)) {
        return None;
    }
    let mut row: Vec<u32> = (0..=b.len() as u32).map(|column| column.wrapping_mul(UNIT)).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = (i as u32 + 1).wrapping_mul(UNIT);
        for (j, &to) in b.iter().enumerate() {
            let (above, left) = (row[j + 1], row[j]);
            let substitute = if from == to { 0 } else { UNIT + u32::from(from.abs_diff(to)) };
            let side = if above < left {
                above.wrapping_add(UNIT + u32::from(from))
            } else {
                left.wrapping_add(UNIT + u32::from(to))
            };
            row[j + 1] = side.min(diagonal.wrapping_add(substitute));
            diagonal = above;
        }
    }
    row.last().copied()
}

/// The part of a name that says what kind of file it is.
fn suffix(name: &[u8]) -> &[u8] {
    let start = name.iter().position(|&byte| byte != b'.').unwrap_or(name.len());
    let name = &name[start..];
    let had_tilde = name.len() > 1 && name.ends_with(b"~");
    let kept = if had_tilde { &name[..name.len() - 1] } else { name };
    let mut best: &[u8] = b"";
    let mut end = kept.len();
    while let Some(dot) = kept[..end].iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0) {
        let piece = &kept[dot..end];
        end = dot;
        if is_backup_suffix(piece, name, had_tilde) {
            continue;
        }
        let all_digits = piece.len() > 1 && piece[1..].iter().all(u8::is_ascii_digit);
        if !all_digits {
            return piece;
        }
        best = if best.is_empty() { piece } else { best };
        best = if all_digits { piece } else { best };
    }
    best
}

/// Whether `piece` only marks `name` as somebody's backup copy.
fn is_backup_suffix(piece: &[u8], name: &[u8], had_tilde: bool) -> bool {
    let named = matches!(piece, b".bak" | b".old" | b".orig") && name.ends_with(piece);
    let numbered = had_tilde
        && !matches!(piece.len(), 4 | 5)
        && piece.starts_with(b".~")
        && piece.get(2).is_some_and(u8::is_ascii_digit);
    named || numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_table() {
        let table = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/spec/data/scenarios/fuzzy-distance.tsv"
        ))
        .expect("the vectors");
        let mut checked = 0;
        let mut wrong = Vec::new();
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [wanted, candidate, expected, ..] = columns[..] else { continue };
            let Some((whole, low)) = expected.split_once('.') else { continue };
            let (Ok(whole), Ok(low)) = (whole.parse::<u32>(), low.parse::<u32>()) else { continue };
            checked += 1;
            let got = score(candidate.as_bytes(), wanted.as_bytes(), WORST_SCORE);
            let want = whole.wrapping_mul(UNIT) + low;
            if got.unwrap_or(u32::MAX) != want && !(got.is_none() && want > WORST_SCORE) {
                wrong.push(format!("{wanted} {candidate}: {got:?}, not {want}"));
            }
        }
        assert!(checked >= 45, "only {checked} vectors");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
