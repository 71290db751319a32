//! Received names: what is normalised and what is refused (spec 03 §10).

use super::error::FileListError;

/// Longest path in bytes.
pub(super) const MAX_PATH: usize = 4095;

/// Writes the normal form of the received name `raw` to `path`: no empty or `.` components, no
/// trailing slash; `.` for the top, `/.` for the root of `-R`.
///
/// # Errors
/// [`FileListError::EmptyName`], [`FileListError::NulByte`], and [`FileListError::UnsafeName`] for
/// a `..` component, or a leading `/` unless `relative`.
pub(super) fn normalize(raw: &[u8], relative: bool, path: &mut Vec<u8>) -> Result<(), FileListError> {
    path.clear();
    if raw.is_empty() {
        return Err(FileListError::EmptyName);
    }
    if raw.contains(&0) {
        return Err(FileListError::NulByte { text: raw.into() });
    }
    let absolute = raw[0] == b'/';
    if absolute && !relative {
        return Err(FileListError::UnsafeName { name: raw.into() });
    }
    for component in raw.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(FileListError::UnsafeName { name: raw.into() }),
            _ => {
                if absolute || !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    if path.is_empty() {
        path.extend_from_slice(if absolute { b"/." } else { b"." });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(raw: &[u8], relative: bool) -> Result<Vec<u8>, FileListError> {
        let mut path = Vec::new();
        normalize(raw, relative, &mut path).map(|()| path)
    }

    #[test]
    fn slashes_and_dots_are_normalised() {
        for (raw, path) in [
            ("a/b", "a/b"),
            ("a//b", "a/b"),
            ("./a", "a"),
            ("a/./b/", "a/b"),
            (".", "."),
            ("./", "."),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(normal(raw.as_bytes(), false), Ok(path.into()), "{raw}");
        }
        assert_eq!(normal(b"/tmp//x", true), Ok(b"/tmp/x".into()));
        assert_eq!(normal(b"/", true), Ok(b"/.".into()));
    }

    #[test]
    fn names_that_leave_the_transfer_are_refused() {
        for raw in ["../evil", "a/../b", "..", "a/.."] {
            let error = normal(raw.as_bytes(), true).expect_err(raw);
            assert_eq!(error.to_string(), format!("ABORTING due to unsafe pathname from sender: {raw}"));
        }
        assert!(matches!(normal(b"/etc/x", false), Err(FileListError::UnsafeName { .. })));
        assert_eq!(normal(b"", true), Err(FileListError::EmptyName));
        assert!(matches!(normal(b"a\0b", true), Err(FileListError::NulByte { .. })));
    }
}
