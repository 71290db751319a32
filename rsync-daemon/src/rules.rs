//! What a module hides (spec 09 §9): the rules of its parameters, and of the files they name.

use bstr::BString;
use rsync_proto::filter::{
    FilterError, FilterNote, Filters, Grammar, OpenFailure, RuleFile, RuleFiles, Verdict,
};
use rsync_proto::text::describe_errno;

use crate::files::{CONFIG_LIMIT, read_trusted, to_path};
use crate::packed::packed_struct;

/// The parameters, expanded, with the texts of the files: a session builds its filters from them without
/// reading anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HiddenRules {
    pub(crate) filter: Option<BString>,
    pub(crate) include_from: Option<BString>,
    pub(crate) include: Option<BString>,
    pub(crate) exclude_from: Option<BString>,
    pub(crate) exclude: Option<BString>,
    /// Path and text of every file that was read.
    pub(crate) files: Vec<(BString, BString)>,
}

packed_struct!(HiddenRules { filter, include_from, include, exclude_from, exclude, files });

impl HiddenRules {
    /// Reads the files that the rules name.
    ///
    /// # Errors
    /// [`FilterError`] for a rule that is none and a file that cannot be read.
    pub(crate) fn read_files(&mut self) -> Result<(), FilterError> {
        let mut read = FilesRead(Vec::new());
        self.build(&mut read)?;
        self.files = read.0;
        Ok(())
    }

    /// The filters; [`HiddenRules::read_files`] came before.
    ///
    /// # Errors
    /// Those of [`HiddenRules::read_files`].
    pub(crate) fn filters(&self) -> Result<Filters, FilterError> {
        self.build(&mut FilesKept(&self.files))
    }

    fn build(&self, files: &mut dyn RuleFiles) -> Result<Filters, FilterError> {
        let mut filters = Filters::for_module();
        if let Some(words) = &self.filter {
            filters.add_words(words, Grammar::Full, files)?;
        }
        for (verdict, from, patterns) in [
            (Verdict::Include, &self.include_from, &self.include),
            (Verdict::Exclude, &self.exclude_from, &self.exclude),
        ] {
            if let Some(path) = from {
                filters.add_file(verdict, path, files)?;
            }
            if let Some(words) = patterns {
                filters.add_words(words, Grammar::Old(verdict), files)?;
            }
        }
        Ok(filters)
    }
}

/// Reads files, and keeps their texts.
struct FilesRead(Vec<(BString, BString)>);

impl RuleFiles for FilesRead {
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        let RuleFile::Named(path) = file else { return Err(OpenFailure { reason: String::new() }) };
        let text = read_trusted(&to_path(path), CONFIG_LIMIT);
        let text = text.map_err(|error| OpenFailure {
            reason: describe_errno(error.raw_os_error().unwrap_or_default()),
        })?;
        self.0.push((path.into(), text.clone().into()));
        Ok(text)
    }

    fn note(&mut self, _: FilterNote) {}
}

/// Has only what was read before.
struct FilesKept<'a>(&'a [(BString, BString)]);

impl RuleFiles for FilesKept<'_> {
    fn read(&mut self, file: RuleFile<'_>) -> Result<Vec<u8>, OpenFailure> {
        let known = match file {
            RuleFile::Named(path) => self.0.iter().find(|known| known.0 == path),
            RuleFile::PerDirectory { .. } => None,
        };
        known.map(|known| known.1.to_vec()).ok_or_else(|| OpenFailure { reason: String::new() })
    }

    fn note(&mut self, _: FilterNote) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_proto::filter::Side;

    #[test]
    fn files_are_read_once() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("rules");
        std::fs::write(&path, "*.secret\n").expect("written");
        let path = BString::from(path.to_str().expect("text"));
        let mut rules = HiddenRules { exclude_from: Some(path.clone()), ..HiddenRules::default() };
        rules.read_files().expect("read");
        std::fs::remove_file(path.to_string()).expect("removed");
        let filters = rules.filters().expect("kept");
        assert!(filters.excludes_path(&filters.start(b""), b"a.secret", false, Side::Sender));
        assert!(rules.read_files().is_err());
    }
}
