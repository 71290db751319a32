//! The first list: source arguments, requested names, and the directories above them (spec 06 §9.1, §10).

use std::io;
use std::sync::Arc;

use rsync_proto::exit::IoErrorFlags;
use rsync_proto::filter::{DirRules, Side, sanitize};
use rsync_proto::flist::{EntryFlags, split_path};
use rsync_proto::options::MissingArgs;
use rsync_proto::text::{Failure, Message};
use rustix::io::Errno;

use super::args::{ArgForm, SourceArg, parents};
use super::facts::{Spot, is_errno};
use super::files::join;
use super::lists::{ListUnderWay, RulesByOrigin, Scan, rules_of};
use crate::error::EngineError;
use crate::tree::{TreeDir, TreeStat};

/// A directory that names in the transfer are relative to.
pub(super) struct Origin {
    /// The base as written, and whether the whole of it was asked for: such names see other rules.
    pub(super) key: (Vec<u8>, bool),
    pub(super) dir: Arc<dyn TreeDir>,
    pub(super) absolute: Vec<u8>,
    /// A directory above a requested name is a link, which the user followed.
    pub(super) follows: bool,
    /// The parent of the last requested name, as the next one often has the same.
    last_parent: Option<(Vec<u8>, Arc<dyn TreeDir>)>,
}

/// The directory that a requested name is in, and what is known about the name.
type FoundSource = (Arc<dyn TreeDir>, TreeStat);

/// Something requested inside a directory that has a list of its own.
pub(super) struct Member {
    origin: u32,
    name: Vec<u8>,
    /// `None` for a directory that is only on the way.
    form: Option<ArgForm>,
}

impl Scan {
    /// Adds every source argument, or every requested name.
    pub(super) fn add_sources(
        &mut self,
        requested: Option<&mut dyn FnMut() -> Result<Option<Vec<u8>>, EngineError>>,
        list: &mut ListUnderWay<'_>,
    ) -> Result<(), EngineError> {
        let sources = std::mem::take(&mut self.sources);
        let Some(next) = requested else {
            return sources.iter().try_for_each(|source| self.add_source(list, None, source));
        };
        let base = sources.first().map(Vec::as_slice).unwrap_or_default();
        while let Some(name) = next()? {
            self.add_source(list, Some(base), &sanitize(&name, self.session().options.relative))?;
        }
        Ok(())
    }

    /// Adds one source argument; `base` is the directory that requested names are in.
    fn add_source(
        &mut self,
        list: &mut ListUnderWay<'_>,
        base: Option<&[u8]>,
        source: &[u8],
    ) -> Result<(), EngineError> {
        let options = &self.session().options;
        let relative = options.relative;
        let sanitized;
        let source = if self.module_name().is_some() && base.is_none() {
            sanitized = sanitize(source, relative);
            &sanitized
        } else {
            source
        };
        let mut arg = SourceArg::split(source, relative)?;
        if let Some(base) = base {
            arg.base = join(base, &arg.base);
        }
        let Some(origin) = self.find_origin(&arg) else { return Ok(()) };
        let rules = self.rules_at_start(origin);
        let Some((parent, found)) = self.look_at_source(list, origin, &arg, &rules)? else { return Ok(()) };
        let options = &self.session().options;
        let (recurse, dirs) = (options.recurse, options.dirs);
        let is_dir = found.stat.is_dir();
        if arg.form != ArgForm::DotDir && self.excludes(&rules, &arg.name, is_dir) {
            return Ok(());
        }
        if is_dir && !recurse && !dirs {
            self.examiner.say(Message::SkippingDirectory(&arg.name));
            return Ok(());
        }
        if arg.sends_dot && !self.sent_dot {
            self.sent_dot = true;
            self.add_implied(list, origin, b".")?;
        }
        let incremental = self.session().negotiated.incremental_recursion();
        if incremental && arg.parents().next().is_some() {
            return self.add_by_components(list, origin, &arg);
        }
        let mut around = rules;
        for above in arg.parents() {
            if !self.implied.contains(above) {
                self.add_implied(list, origin, above)?;
            }
            around = self.enter(origin, above, &around, None)?;
        }
        self.add_requested(list, origin, &arg, &*parent, &found, &around)
    }

    /// Adds the entry of a requested name and, where they belong in the same list, its contents.
    fn add_requested(
        &mut self,
        list: &mut ListUnderWay<'_>,
        origin: u32,
        arg: &SourceArg,
        parent: &dyn TreeDir,
        found: &TreeStat,
        rules: &DirRules,
    ) -> Result<(), EngineError> {
        let options = &self.session().options;
        let recurse = options.recurse;
        let contents = found.stat.is_dir() && (recurse || (options.dirs && arg.form.wants_contents()));
        let flags =
            if contents { EntryFlags::TOP_DIR.with(EntryFlags::CONTENT_DIR) } else { EntryFlags::NONE };
        if !self.add_found(list, origin, &arg.name, parent, found, flags)? {
            return Ok(());
        }
        let incremental = self.session().negotiated.incremental_recursion();
        if contents && (!incremental || arg.form == ArgForm::DotDir) {
            return self.add_contents(list, origin, &arg.name, rules, recurse);
        }
        if rules_of(&list.rules, origin).is_none() {
            list.rules.push((origin, rules.clone()));
        }
        Ok(())
    }

    /// With incremental recursion every directory above a name has its own list, in which the next
    /// component is: only the first one is in the first list.
    fn add_by_components(
        &mut self,
        list: &mut ListUnderWay<'_>,
        origin: u32,
        arg: &SourceArg,
    ) -> Result<(), EngineError> {
        let mut on_the_way = arg.parents();
        let Some(mut above) = on_the_way.next() else { return Ok(()) };
        if !self.implied.contains(above) {
            self.add_implied(list, origin, above)?;
        }
        for path in on_the_way {
            if self.implied.insert(path.to_vec()) {
                let member = Member { origin, name: path.to_vec(), form: None };
                self.members.entry(above.to_vec()).or_default().push(member);
            }
            above = path;
        }
        let member = Member { origin, name: arg.name.clone(), form: Some(arg.form) };
        self.members.entry(above.to_vec()).or_default().push(member);
        if rules_of(&list.rules, origin).is_none() {
            let rules = self.rules_at_start(origin);
            list.rules.push((origin, rules));
        }
        Ok(())
    }

    /// Adds what was requested inside the directory `dir`, whose own rules are those `around` it.
    pub(super) fn add_member(
        &mut self,
        list: &mut ListUnderWay<'_>,
        dir: &[u8],
        member: &Member,
        around: &RulesByOrigin,
    ) -> Result<(), EngineError> {
        let origin = member.origin;
        if rules_of(&list.rules, origin).is_none() {
            let parent = rules_of(around, origin).cloned().unwrap_or_default();
            let rules = self.enter(origin, dir, &parent, None)?;
            list.rules.push((origin, rules));
        }
        let Some(form) = member.form else { return self.add_implied(list, origin, &member.name) };
        let arg = SourceArg { base: Vec::new(), name: member.name.clone(), form, sends_dot: false };
        let rules = rules_of(&list.rules, origin).cloned().unwrap_or_default();
        let Some((parent, found)) = self.look_at_source(list, origin, &arg, &rules)? else { return Ok(()) };
        self.add_requested(list, origin, &arg, &*parent, &found, &rules)
    }

    /// Adds a directory above a requested name, whatever the user's filters say about it.
    fn add_implied(
        &mut self,
        list: &mut ListUnderWay<'_>,
        origin: u32,
        path: &[u8],
    ) -> Result<(), EngineError> {
        self.implied.insert(path.to_vec());
        let flags = EntryFlags::TOP_DIR.with(EntryFlags::IMPLIED_DIR);
        let found = self.parent_of(origin, path).and_then(|parent| {
            let found = parent.stat(split_path(path).1, true)?;
            Ok((parent, found))
        });
        match found {
            Ok((parent, found)) if found.stat.is_dir() => {
                self.add_found(list, origin, path, &*parent, &found, flags).map(|_| ())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.report_source(origin, path, &error);
                Ok(())
            }
        }
    }

    /// Adds an entry; answers whether it was.
    fn add_found(
        &mut self,
        list: &mut ListUnderWay<'_>,
        origin: u32,
        path: &[u8],
        parent: &dyn TreeDir,
        found: &TreeStat,
        flags: EntryFlags,
    ) -> Result<bool, EngineError> {
        let root = self.origin_at(origin).absolute.clone();
        let spot = Spot { dir: parent, name: split_path(path).1, path, root: &root };
        if !self.fill(spot, origin, found, flags) {
            return Ok(false);
        }
        self.entry.path.clear();
        self.entry.path.extend_from_slice(path);
        self.push(list)?;
        Ok(true)
    }

    /// Looks at a requested name, and does what the options say when it does not exist.
    fn look_at_source(
        &mut self,
        list: &mut ListUnderWay<'_>,
        origin: u32,
        arg: &SourceArg,
        rules: &DirRules,
    ) -> Result<Option<FoundSource>, EngineError> {
        let follow = arg.form.wants_contents();
        let hidden = self.is_hidden(rules, &arg.name);
        let parent = if hidden { Err(Errno::NOENT.into()) } else { self.parent_of(origin, &arg.name) };
        let found = parent.and_then(|parent| {
            let (_, name) = split_path(&arg.name);
            let mut found = parent.stat(name, false)?;
            if follow {
                found = parent.stat(name, true).ok().filter(|found| found.stat.is_dir()).unwrap_or(found);
            }
            let is_dir = found.stat.is_dir() && arg.form != ArgForm::DotDir;
            if is_dir && self.module_excludes(rules, &arg.name, true) {
                return Err(Errno::NOENT.into());
            }
            Ok((parent, found))
        });
        match found {
            Ok((parent, found)) if found.stat.kind() == rsync_proto::flist::Kind::Symlink => {
                let root = self.origin_at(origin).absolute.clone();
                let spot =
                    Spot { dir: &*parent, name: split_path(&arg.name).1, path: &arg.name, root: &root };
                Ok(self.examiner.look_through(spot, found, || false).map(|found| (parent.clone(), found)))
            }
            Ok(found) => Ok(Some(found)),
            Err(error) if is_errno(&error, Errno::NOENT) => match self.session().options.missing_args {
                MissingArgs::Ignore => Ok(None),
                MissingArgs::Delete => {
                    self.entry.clear();
                    self.entry.path.extend_from_slice(&arg.name);
                    self.push(list).map(|()| None)
                }
                MissingArgs::Error => {
                    self.report_source(origin, &arg.name, &error);
                    Ok(None)
                }
            },
            Err(error) => {
                self.report_source(origin, &arg.name, &error);
                Ok(None)
            }
        }
    }

    /// Whether the module's filters hide the name or a directory above it.
    fn is_hidden(&self, rules: &DirRules, name: &[u8]) -> bool {
        let Some(filters) = &self.module_filters else { return false };
        let start = filters.start(rules.current_dir());
        // Whether it is a directory is checked with its attributes, once the parents are known.
        parents(name).any(|above| self.module_excludes(rules, above, true))
            || filters.excludes_path(&start, name, false, Side::Sender)
    }

    fn report_source(&self, origin: u32, name: &[u8], error: &io::Error) {
        if !is_errno(error, Errno::NOENT) {
            self.examiner.io_error(IoErrorFlags::GENERAL);
        }
        let place = self.examiner.place_at(&self.origin_at(origin).absolute, name);
        self.examiner.fail(Failure::LinkStat(place), error);
    }

    /// Opens the directory that a requested name is in.
    fn parent_of(&mut self, origin: u32, path: &[u8]) -> io::Result<Arc<dyn TreeDir>> {
        let (above, name) = split_path(path);
        let origin = &mut self.origins[origin as usize];
        if name == b"." || matches!(above, b"" | b"/") {
            return Ok(origin.dir.clone());
        }
        if let Some((_, dir)) = origin.last_parent.as_ref().filter(|(known, _)| known == above) {
            return Ok(dir.clone());
        }
        let below = above.strip_prefix(b"/").unwrap_or(above);
        let dir = match origin.dir.open_dir(below, origin.follows) {
            Err(error) if is_errno(&error, Errno::LOOP) || is_errno(&error, Errno::NOTDIR) => {
                let dir = origin.dir.open_dir(below, true)?;
                origin.follows = true;
                dir
            }
            other => other?,
        };
        origin.last_parent = Some((above.to_vec(), dir.clone()));
        Ok(dir)
    }

    /// The origin of an argument, opened once for all arguments that share it; `None` after an error
    /// was reported.
    fn find_origin(&mut self, arg: &SourceArg) -> Option<u32> {
        let base = if arg.name.first() == Some(&b'/') { b"/".to_vec() } else { arg.base.clone() };
        let key = (base, arg.form == ArgForm::DotDir);
        if let Some(known) = self.origins.iter().position(|origin| origin.key == key) {
            return Some(known as u32);
        }
        let absolute = self.absolute(&arg.base);
        let opened = if self.module_hides_dir(&absolute) {
            Err(Errno::NOENT.into())
        } else {
            self.tree.open_base(&key.0)
        };
        match opened {
            Ok(dir) => {
                self.origins.push(Origin { key, dir, absolute, follows: false, last_parent: None });
                Some(self.origins.len() as u32 - 1)
            }
            Err(error) => {
                self.examiner.io_error(IoErrorFlags::GENERAL);
                let shown = match self.start_dir.is_empty() {
                    true => absolute.strip_prefix(b"/").unwrap_or(&absolute),
                    false => &absolute,
                };
                let place = self.examiner.place_at(b"", shown);
                self.examiner.fail(Failure::ChangeDir(place), &error);
                None
            }
        }
    }

    /// The directory that names relative to `base` are in, as messages and rules call it.
    fn absolute(&self, base: &[u8]) -> Vec<u8> {
        match collapse(&join(&self.start_dir, base)) {
            top if top == b"/" && self.start_dir.is_empty() => Vec::new(),
            absolute => absolute,
        }
    }

    fn module_hides_dir(&self, absolute: &[u8]) -> bool {
        let Some(filters) = &self.module_filters else { return false };
        let path = absolute.strip_prefix(b"/").unwrap_or(absolute);
        !path.is_empty() && filters.excludes_path(&filters.start(b""), path, true, Side::Sender)
    }

    fn rules_at_start(&self, origin: u32) -> DirRules {
        let absolute = &self.origin_at(origin).absolute;
        let current_dir = absolute.strip_prefix(b"/").unwrap_or(absolute);
        match &self.start_rules {
            Some(rules) => rules.with_current_dir(current_dir),
            None => self.filters.start(current_dir),
        }
    }

    fn module_name(&self) -> Option<&[u8]> {
        self.examiner.module.as_deref()
    }
}

/// An absolute path without `.`, `..` and repeated slashes; empty stays empty.
fn collapse(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return Vec::new();
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    [b"/", &parts.join(&b'/')[..]].concat()
}
