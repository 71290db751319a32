//! Names of a local copy whose halves have different charsets (`--iconv=LOCAL,REMOTE`): lists carry those
//! of the destination, sources are opened and shown by their own (spec 03 §5, 08 §9).

use std::collections::HashMap;

use rsync_proto::flist::{Conversion, Entry, Unconverted};

/// Translates between the two sides.
pub(super) struct LocalNames {
    source: Conversion,
    destination: Conversion,
    /// Paths at the source, by those at the destination, that converting back would not find: some
    /// charsets have two codes for one character.
    detours: HashMap<Vec<u8>, Vec<u8>>,
}

impl LocalNames {
    pub(super) fn new(source: Conversion, destination: Conversion) -> Self {
        Self { source, destination, detours: HashMap::new() }
    }

    /// Gives an entry the name and the target that it has at the destination.
    pub(super) fn convert(&mut self, entry: &mut Entry) -> Result<(), Unconverted> {
        let (wire, target) = self.source.to_wire(&entry.path, &entry.target)?;
        let path = self.destination.name_from_wire(&wire)?;
        entry.target = self.destination.target_from_wire(&target)?;
        let source = std::mem::replace(&mut entry.path, path);
        if self.converted_back(&entry.path) != source {
            self.detours.insert(without_slash(&entry.path).to_vec(), source);
        }
        Ok(())
    }

    /// The path at the source of what is called `path` at the destination.
    pub(super) fn source_path(&self, path: &[u8]) -> Vec<u8> {
        self.detours.get(without_slash(path)).cloned().unwrap_or_else(|| self.converted_back(path))
    }

    /// The target at the source of a link with this target at the destination.
    pub(super) fn source_target(&self, target: &[u8]) -> Vec<u8> {
        if self.source.targets { self.converted_back(target) } else { target.to_vec() }
    }

    fn converted_back(&self, text: &[u8]) -> Vec<u8> {
        self.source.charset.text_from_wire(&self.destination.charset.text_to_wire(text))
    }
}

fn without_slash(path: &[u8]) -> &[u8] {
    path.strip_prefix(b"/").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use rsync_proto::charset::Charset;

    use super::*;

    fn names(source: &str, destination: &str) -> LocalNames {
        let conversion = |name: &str| Conversion {
            charset: Charset::named(name.as_bytes()).expect("charset"),
            targets: true,
        };
        LocalNames::new(conversion(source), conversion(destination))
    }

    #[test]
    fn an_entry_is_found_again_by_its_converted_name() {
        let mut names = names("latin1", "utf8");
        let mut entry = Entry { path: b"d\xe4/f".to_vec(), target: b"\xe9".to_vec(), ..Entry::default() };
        assert_eq!(names.convert(&mut entry), Ok(()));
        assert_eq!((entry.path.as_slice(), entry.target.as_slice()), ("dä/f".as_bytes(), "é".as_bytes()));
        assert_eq!(names.source_path(&entry.path), b"d\xe4/f");
        assert_eq!(names.source_target(&entry.target), b"\xe9");
    }

    #[test]
    fn a_second_code_of_a_character_is_remembered() {
        // Shift JIS has this character as 8790 and as 81e0.
        let mut names = names("sjis", "utf8");
        for code in [b"\x87\x90", b"\x81\xe0"] {
            let mut entry = Entry { path: code.to_vec(), ..Entry::default() };
            assert_eq!(names.convert(&mut entry), Ok(()));
            assert_eq!(entry.path, "≒".as_bytes());
            assert_eq!(names.source_path(&entry.path), code);
            names.detours.clear();
        }
    }
}
