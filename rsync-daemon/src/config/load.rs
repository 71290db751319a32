//! From files to a [`Config`]: scopes, directives, fall-backs (spec 09 §2).

use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};

use super::grammar::{Item, folded, items};
use super::parameters::{GLOBAL_ROWS, GlobalSettings, Kind, MODULE_ROWS, ModuleSettings, Problem, find};
use super::{Config, ConfigError, Module, Sources};

/// Most files that include each other.
const DEPTH_LIMIT: usize = 32;

/// Reads `path` and all it includes; `overrides` are `NAME=VALUE` assignments of the command line.
pub(super) fn load(path: &Path, overrides: &[BString], sources: &dyn Sources) -> Result<Config, ConfigError> {
    let mut loader = Loader {
        sources,
        overrides,
        globals: GlobalSettings::default(),
        defaults: ModuleSettings::default(),
        modules: Vec::new(),
        current: None,
        notes: Vec::new(),
        in_first_globals: true,
    };
    loader.file(path, 0)?;
    loader.end_first_globals()?;
    Ok(loader.finish())
}

struct Loader<'a> {
    sources: &'a dyn Sources,
    overrides: &'a [BString],
    globals: GlobalSettings,
    defaults: ModuleSettings,
    modules: Vec<Module>,
    /// Index of the module whose section this is; `None` in global scope.
    current: Option<usize>,
    notes: Vec<String>,
    in_first_globals: bool,
}

impl Loader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> Result<(), ConfigError> {
        if depth > DEPTH_LIMIT {
            return Err(ConfigError::TooDeep { path: path.into(), limit: DEPTH_LIMIT });
        }
        let text = self
            .sources
            .read(path)
            .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
        let items =
            items(&text).map_err(|error| ConfigError::Grammar { path: path.into(), text: error.0 })?;
        for item in items {
            match item {
                Item::Section(name) => self.section(name)?,
                Item::Parameter(name, value) => self.parameter(&name, &value)?,
                Item::Directive(name, value) => self.directive(path, &name, &value, depth)?,
                Item::Ignored(note) => self.notes.push(note),
            }
        }
        Ok(())
    }

    fn section(&mut self, name: BString) -> Result<(), ConfigError> {
        if folded(&name) == b"global" {
            self.current = None;
            return Ok(());
        }
        self.end_first_globals()?;
        let known = self.modules.iter().position(|module| folded(&module.section) == folded(&name));
        self.current = Some(known.unwrap_or(self.modules.len()));
        if known.is_none() {
            let mut settings = self.defaults.clone();
            for row in MODULE_ROWS {
                if let Kind::Text(field) | Kind::Path(field) = row.kind {
                    *field(&mut settings) = None;
                }
            }
            self.modules.push(Module { section: name.clone(), name, settings });
        }
        Ok(())
    }

    /// The command line's assignments count as the end of the first global section.
    fn end_first_globals(&mut self) -> Result<(), ConfigError> {
        if std::mem::take(&mut self.in_first_globals) {
            for text in self.overrides {
                let (name, value) = text.split_once_str("=").unwrap_or((text.as_slice(), b""));
                if find(GLOBAL_ROWS, name).is_none() && find(MODULE_ROWS, name).is_none() {
                    return Err(ConfigError::UnknownOverride { name: name.into() });
                }
                self.parameter(name, value.trim_start())?;
            }
        }
        Ok(())
    }

    fn parameter(&mut self, name: &[u8], value: &[u8]) -> Result<(), ConfigError> {
        let shown = name.as_bstr();
        let assigned = if let Some(row) = find(MODULE_ROWS, name) {
            let settings = match self.current {
                Some(index) => &mut self.modules[index].settings,
                None => &mut self.defaults,
            };
            row.assign(settings, value)
        } else if let Some(row) = find(GLOBAL_ROWS, name) {
            if self.current.is_some() {
                self.notes.push(format!("Global parameter {shown} found in module section!"));
                return Ok(());
            }
            row.assign(&mut self.globals, value)
        } else {
            if !name.starts_with(b"-") {
                self.notes.push(format!("Unknown Parameter encountered: \"{shown}\""));
            }
            self.notes.push(format!("IGNORING unknown parameter \"{shown}\""));
            return Ok(());
        };
        match assigned {
            Ok(()) => Ok(()),
            Err(Problem::Bad(note)) => {
                self.notes.push(note);
                Ok(())
            }
            Err(Problem::Unsupported(name)) => Err(ConfigError::Unsupported {
                name,
                module: self
                    .current
                    .map_or_else(|| "global".into(), |index| self.modules[index].name.clone()),
            }),
        }
    }

    fn directive(&mut self, from: &Path, name: &[u8], value: &[u8], depth: usize) -> Result<(), ConfigError> {
        let target = PathBuf::from(value.to_os_str_lossy().into_owned());
        let (is_include, extension) = match name.to_ascii_lowercase().as_slice() {
            b"include" => (true, "conf"),
            b"merge" => (false, "inc"),
            _ => {
                let text = format!("Unknown directive: &{}.", name.as_bstr());
                return Err(ConfigError::Grammar { path: from.into(), text });
            }
        };
        let files = self
            .sources
            .expand_directory(&target, extension)
            .map_err(|source| ConfigError::Unreadable { path: target, source })?;
        for file in files {
            if is_include {
                let defaults = (self.globals.clone(), self.defaults.clone());
                self.current = None;
                self.file(&file, depth + 1)?;
                self.current = None;
                (self.globals, self.defaults) = defaults;
            } else {
                self.file(&file, depth + 1)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Config {
        for module in &mut self.modules {
            for row in MODULE_ROWS {
                if let Kind::Text(field) | Kind::Path(field) = row.kind {
                    let unset = field(&mut module.settings);
                    if unset.is_none() {
                        unset.clone_from(field(&mut self.defaults));
                    }
                }
            }
            if let Some(name) = &module.settings.name {
                module.name.clone_from(name);
            }
            if !module.settings.read_only {
                let note = format!(
                    "module {}: this daemon never writes, \"read only = no\" is ignored",
                    module.name
                );
                self.notes.push(note);
            }
        }
        Config { globals: self.globals, defaults: self.defaults, modules: self.modules, notes: self.notes }
    }
}
