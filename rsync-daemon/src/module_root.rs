//! What a session of a module needs of the system, made while the daemon still is who it is
//! (spec 09 §9, 10 SEC-024).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use rsync_engine::Dir;
use rsync_engine::tree::Tree;
use rsync_proto::filter::FilterError;
use rsync_proto::session::Refusal;
use rsync_proto::text::describe_errno;

use crate::config::{Module, expand};
use crate::identity::Identity;
use crate::rules::HiddenRules;
use crate::session::Served;

/// A module, ready to be read from.
pub(crate) struct ModuleRoot {
    pub(crate) served: Served,
    /// Its path, for the log.
    pub(crate) path: BString,
    pub(crate) identity: Identity,
    /// What clients do not see.
    pub(crate) rules: HiddenRules,
    /// Links are stored unusable.
    pub(crate) munges_links: bool,
    /// Links are stored so that they lead nowhere but into the module.
    pub(crate) keeps_links_inside: bool,
    /// It seems to be the root of the system.
    pub(crate) seems_root: bool,
    /// Names of owners do not count.
    pub(crate) numeric_ids: bool,
}

/// Why a module cannot be served.
#[derive(Debug)]
pub(crate) struct RootError {
    /// What the client is told; `None` closes the connection.
    pub(crate) refusal: Option<Refusal>,
    log: String,
}

impl RootError {
    /// What the log says.
    pub(crate) fn log_text(&self) -> &str {
        &self.log
    }

    fn of_rules(error: FilterError) -> Self {
        Self::silent(format!("rsync: [Receiver] {error}"))
    }

    fn silent(log: impl ToString) -> Self {
        Self { refusal: None, log: log.to_string() }
    }
}

impl From<Refusal> for RootError {
    fn from(refusal: Refusal) -> Self {
        Self { log: refusal.to_string(), refusal: Some(refusal) }
    }
}

/// The directory whose existence makes munged links usable.
const MUNGE_DIRECTORY: &[u8] = b"rsyncd-munged";

impl ModuleRoot {
    /// Resolves and opens everything; `tree` is served instead of a directory, if there is one, and
    /// `variables` are those of `%NAME%`.
    pub(crate) fn open(
        module: &Module,
        tree: Option<Arc<dyn Tree>>,
        variables: &dyn Fn(&str) -> Option<BString>,
    ) -> Result<Self, RootError> {
        let settings = &module.settings;
        let expanded = |text: &Option<BString>| match text {
            Some(text) => expand(text, variables).map(Some).map_err(RootError::silent),
            None => Ok(None),
        };
        let mut rules = HiddenRules {
            filter: expanded(&settings.filter)?,
            include_from: expanded(&settings.include_from)?,
            include: expanded(&settings.include)?,
            exclude_from: expanded(&settings.exclude_from)?,
            exclude: expanded(&settings.exclude)?,
            files: Vec::new(),
        };
        if let Some(tree) = tree {
            rules.read_files().map_err(RootError::of_rules)?;
            return Ok(Self {
                served: Served::Tree(tree),
                path: expanded(&settings.path)?.unwrap_or_default(),
                // It is read as the program that hosts it.
                identity: Identity::default(),
                rules,
                munges_links: settings.munge_symlinks.unwrap_or(false),
                keeps_links_inside: false,
                seems_root: true,
                numeric_ids: settings.numeric_ids.unwrap_or(true),
            });
        }
        let identity =
            Identity::resolve(expanded(&settings.uid)?.as_ref(), expanded(&settings.gid)?.as_ref())?;
        let path = expanded(&settings.path)?.ok_or(Refusal::NoPath)?;
        let has_inner = path.find(b"/./").is_some_and(|at| path.len() > at + 3);
        let is_root = rustix::process::geteuid().is_root();
        let as_in_chroot = settings.use_chroot.unwrap_or(has_inner || is_root);
        let module_path = path;
        let path = PathBuf::from(module_path.to_os_str_lossy().into_owned());
        let dir = Dir::open_trusted(&path).map_err(|error| RootError {
            refusal: Some(if as_in_chroot { Refusal::Chroot } else { Refusal::Chdir }),
            log: {
                let reason = describe_errno(error.raw_os_error().unwrap_or_default());
                let path = path.display();
                let call = if as_in_chroot { format!("chroot(\"{path}\")") } else { format!("chdir {path}") };
                format!("rsync: [Receiver] {call} failed: {reason}")
            },
        })?;
        let is_part = !as_in_chroot || has_inner;
        let munges_links = settings.munge_symlinks.unwrap_or(is_part);
        if munges_links {
            check_munge_directory(if as_in_chroot { Some(&dir) } else { None })?;
        }
        rules.read_files().map_err(RootError::of_rules)?;
        Ok(Self {
            served: Served::Directory(dir),
            identity,
            rules,
            munges_links,
            keeps_links_inside: is_part && module_path != "/",
            path: module_path,
            seems_root: as_in_chroot,
            numeric_ids: settings.numeric_ids.unwrap_or(as_in_chroot),
        })
    }
}

/// Munged links lead to a directory that must not exist; `None` looks in the system's root.
fn check_munge_directory(root: Option<&Dir>) -> Result<(), RootError> {
    let exists = match root {
        Some(dir) => dir.stat(MUNGE_DIRECTORY).is_ok(),
        None => Path::new("/rsyncd-munged").is_dir(),
    };
    if exists {
        return Err(RootError {
            refusal: Some(Refusal::MungeDirectoryExists),
            log: "Symlink munging is unsafe when a /rsyncd-munged directory exists.".into(),
        });
    }
    Ok(())
}
