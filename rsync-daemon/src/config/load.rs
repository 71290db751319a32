//! From files to a [`Config`]: scopes, directives, fall-backs (spec 09 §2).

use std::collections::HashMap;
use std::path::Path;

use bstr::{BString, ByteSlice};

use super::grammar::{Item, folded, items};
use super::parameters::{GlobalSettings, ModuleSettings, Problem};
use super::rows::{GLOBAL_ROWS, MODULE_ROWS, find};
use super::{Config, ConfigError, Finding, Gravity, Module, Place, Sources};
use crate::files::to_path;

/// Most files that include each other.
const DEPTH_LIMIT: usize = 32;

/// What reading came to.
pub(super) struct Loaded {
    pub(super) config: Config,
    /// Everything that makes it useless, in the order of the files.
    pub(super) errors: Vec<ConfigError>,
    /// Where each parameter was assigned last.
    pub(super) places: Places,
}

/// Where parameters were assigned: by section (`None` is global scope) and folded name. The empty name
/// is the section's own place.
#[derive(Default)]
pub(super) struct Places(HashMap<(Option<usize>, Vec<u8>), Place>);

impl Places {
    /// The place of a module's parameter, of its global default, or of the module.
    pub(super) fn of(&self, module: Option<usize>, name: &str) -> Option<Place> {
        let name = folded(name.as_bytes());
        let found = self.0.get(&(module, name.clone())).or_else(|| self.0.get(&(None, name)));
        found.or_else(|| self.0.get(&(module, Vec::new()))).cloned()
    }
}

/// Reads `path` and all it includes; `overrides` are `NAME=VALUE` assignments of the command line.
pub(super) fn load(path: &Path, overrides: &[BString], sources: &dyn Sources) -> Loaded {
    let mut loader = Loader {
        sources,
        overrides,
        globals: GlobalSettings::default(),
        defaults: ModuleSettings::default(),
        modules: Vec::new(),
        current: None,
        notes: Vec::new(),
        errors: Vec::new(),
        place: Place::CommandLine,
        places: Places::default(),
        in_first_globals: true,
    };
    loader.file(path, 0);
    loader.end_first_globals();
    loader.finish()
}

struct Loader<'a> {
    sources: &'a dyn Sources,
    overrides: &'a [BString],
    globals: GlobalSettings,
    defaults: ModuleSettings,
    modules: Vec<Module>,
    /// Index of the module whose section this is; `None` in global scope.
    current: Option<usize>,
    notes: Vec<Finding>,
    errors: Vec<ConfigError>,
    /// Where we are.
    place: Place,
    places: Places,
    in_first_globals: bool,
}

impl Loader<'_> {
    fn file(&mut self, path: &Path, depth: usize) {
        if depth > DEPTH_LIMIT {
            return self.errors.push(ConfigError::TooDeep { path: path.into(), limit: DEPTH_LIMIT });
        }
        let text = match self.sources.read(path) {
            Ok(text) => text,
            Err(source) => {
                return self.errors.push(ConfigError::Unreadable { path: path.into(), source });
            }
        };
        for (line, item) in items(&text) {
            self.place = Place::Line(path.into(), line);
            match item {
                Ok(Item::Section(name)) => self.section(name),
                Ok(Item::Parameter(name, value)) => self.parameter(&name, &value),
                Ok(Item::Directive(name, value)) => self.directive(&name, &value, depth),
                Ok(Item::Ignored(note)) => self.note(note),
                Err(error) => self.malformed(error.0),
            }
        }
    }

    fn malformed(&mut self, text: String) {
        self.errors.push(ConfigError::Grammar { place: self.place.clone(), text });
    }

    fn note(&mut self, text: String) {
        self.notes.push(Finding { place: Some(self.place.clone()), gravity: Gravity::Warning, text });
    }

    fn section(&mut self, name: BString) {
        if folded(&name) == b"global" {
            self.current = None;
            return;
        }
        self.end_first_globals();
        let known = self.modules.iter().position(|module| folded(&module.section) == folded(&name));
        self.current = Some(known.unwrap_or(self.modules.len()));
        if known.is_none() {
            self.places.0.insert((self.current, Vec::new()), self.place.clone());
            let mut settings = self.defaults.clone();
            for row in MODULE_ROWS {
                if let Some(field) = row.optional_text() {
                    *field(&mut settings) = None;
                }
            }
            self.modules.push(Module { section: name.clone(), name, settings });
        }
    }

    /// The command line's assignments count as the end of the first global section.
    fn end_first_globals(&mut self) {
        if !std::mem::take(&mut self.in_first_globals) {
            return;
        }
        let here = std::mem::replace(&mut self.place, Place::CommandLine);
        for text in self.overrides {
            let (name, value) = text.split_once_str("=").unwrap_or((text.as_slice(), b""));
            if find(GLOBAL_ROWS, name).is_none() && find(MODULE_ROWS, name).is_none() {
                self.errors.push(ConfigError::UnknownOverride { name: name.into() });
            } else {
                self.parameter(name, value.trim_start());
            }
        }
        self.place = here;
    }

    fn parameter(&mut self, name: &[u8], value: &[u8]) {
        let shown = name.as_bstr();
        let (assigned, main_name) = if let Some(row) = find(MODULE_ROWS, name) {
            let settings = match self.current {
                Some(index) => &mut self.modules[index].settings,
                None => &mut self.defaults,
            };
            (row.assign(settings, value), row.names[0])
        } else if let Some(row) = find(GLOBAL_ROWS, name) {
            if self.current.is_some() {
                return self.note(format!("Global parameter {shown} found in module section!"));
            }
            (row.assign(&mut self.globals, value), row.names[0])
        } else {
            if !name.starts_with(b"-") {
                self.note(format!("Unknown Parameter encountered: \"{shown}\""));
            }
            return self.note(format!("IGNORING unknown parameter \"{shown}\""));
        };
        self.places.0.insert((self.current, folded(main_name.as_bytes())), self.place.clone());
        match assigned {
            Ok(()) => {}
            Err(Problem::Bad(note)) => self.note(note),
            Err(Problem::Unsupported(name)) => {
                let module =
                    self.current.map_or_else(|| "global".into(), |index| self.modules[index].name.clone());
                self.errors.push(ConfigError::Unsupported { place: self.place.clone(), name, module });
            }
        }
    }

    fn directive(&mut self, name: &[u8], value: &[u8], depth: usize) {
        let target = to_path(value);
        let (is_include, extension) = match name.to_ascii_lowercase().as_slice() {
            b"include" => (true, "conf"),
            b"merge" => (false, "inc"),
            _ => return self.malformed(format!("Unknown directive: &{}.", name.as_bstr())),
        };
        let files = match self.sources.expand_directory(&target, extension) {
            Ok(files) => files,
            Err(source) => return self.errors.push(ConfigError::Unreadable { path: target, source }),
        };
        for file in files {
            if is_include {
                let defaults = (self.globals.clone(), self.defaults.clone());
                self.current = None;
                self.file(&file, depth + 1);
                self.current = None;
                (self.globals, self.defaults) = defaults;
            } else {
                self.file(&file, depth + 1);
            }
        }
    }

    fn finish(mut self) -> Loaded {
        for module in &mut self.modules {
            for row in MODULE_ROWS {
                if let Some(field) = row.optional_text() {
                    let unset = field(&mut module.settings);
                    if unset.is_none() {
                        unset.clone_from(field(&mut self.defaults));
                    }
                }
            }
            if let Some(name) = &module.settings.name {
                module.name.clone_from(name);
            }
        }
        let config = Config {
            globals: self.globals,
            defaults: self.defaults,
            modules: self.modules,
            notes: self.notes,
        };
        Loaded { config, errors: self.errors, places: self.places }
    }
}
