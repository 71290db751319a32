//! Which symbolic links leave the transfer: a test of text only (spec 03 §4, spec 10 SEC-013).

/// Whether the link at `path` (relative to the transfer root) with this `target` points, or may
/// point, outside the transfer.
#[must_use]
pub(crate) fn is_unsafe(target: &[u8], path: &[u8]) -> bool {
    if matches!(target, [] | [b'/', ..]) {
        return true;
    }
    let after_climb = skip_leading_climb(target);
    let climbs_later = after_climb.windows(4).any(|four| four == b"/../");
    if climbs_later || (target.len() > 3 && target.ends_with(b"/..")) {
        return true;
    }
    let mut depth = 0_usize;
    let above = path.iter().rposition(|&byte| byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
    for component in above.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => depth = 0,
            _ => depth += 1,
        }
    }
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// What follows the run of `../` (slashes may repeat) at the start of `target`.
fn skip_leading_climb(target: &[u8]) -> &[u8] {
    let mut rest = target;
    while let Some(after) = rest.strip_prefix(b"../") {
        let slashes = after.iter().take_while(|&&byte| byte == b'/').count();
        rest = &after[slashes..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_judged_as_recorded() {
        for target in ["a", "../x", "..", "./z", "../d/y", "..//y"] {
            assert!(!is_unsafe(target.as_bytes(), b"d/link"), "{target}");
        }
        for target in ["", "/abs", "../d/../y", "b/../c", "x/..", "../..", "a/..//b", "d/../../x"] {
            assert!(is_unsafe(target.as_bytes(), b"d/link"), "{target}");
        }
        assert!(is_unsafe(b"..", b"link"));
    }
}
