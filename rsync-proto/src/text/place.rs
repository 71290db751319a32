//! The quoted full path that messages show for an entry (the `{Q}` of spec 07 §0).

/// An entry's path for messages: rendered as `"ROOT/NAME"`, and for a daemon `"NAME" (in MODULE)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The absolute directory that `name` is relative to; for a daemon the path inside the module.
    /// Not used when `name` is absolute, and may be empty.
    pub root: &'a [u8],
    /// The path below `root`.
    pub name: &'a [u8],
    /// The daemon module, if any.
    pub module: Option<&'a [u8]>,
}

impl<'a> Place<'a> {
    /// A place outside any module.
    #[must_use]
    pub fn new(root: &'a [u8], name: &'a [u8]) -> Self {
        Self { root, name, module: None }
    }

    /// Appends the quoted path to `out`.
    pub fn render(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        if !self.name.starts_with(b"/") && !self.root.is_empty() {
            out.extend_from_slice(self.root);
            if !self.root.ends_with(b"/") {
                out.push(b'/');
            }
        }
        out.extend_from_slice(self.name);
        out.push(b'"');
        if let Some(module) = self.module {
            out.extend_from_slice(b" (in ");
            out.extend_from_slice(module);
            out.push(b')');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::BString;

    fn rendered(place: Place<'_>) -> BString {
        let mut out = Vec::new();
        place.render(&mut out);
        out.into()
    }

    #[test]
    fn a_place_is_quoted_and_joined_with_one_slash() {
        assert_eq!(rendered(Place::new(b"/d", b"a/b")), "\"/d/a/b\"");
        assert_eq!(rendered(Place::new(b"/", b"a")), "\"/a\"");
        assert_eq!(rendered(Place::new(b"", b"a")), "\"a\"");
        assert_eq!(rendered(Place::new(b"/d", b"/abs")), "\"/abs\"");
    }

    #[test]
    fn a_place_in_a_daemon_names_the_module() {
        let place = Place { module: Some(b"mod"), ..Place::new(b"", b"sub/f") };
        assert_eq!(rendered(place), "\"sub/f\" (in mod)");
    }
}
