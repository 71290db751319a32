//! What a session of a module needs of the system, made while the daemon still is who it is
//! (spec 09 §9, 10 SEC-024).

use std::path::Path;
use std::sync::Arc;

use bstr::{BString, ByteSlice};
use rsync_engine::Dir;
use rsync_engine::tree::Tree;
use rsync_proto::exit::ExitCode;
use rsync_proto::filter::FilterError;
use rsync_proto::session::Refusal;
use rsync_proto::text::describe_errno;

use crate::config::ModuleSettings;
use crate::files::to_path;
use crate::identity::{Identity, Own};
use crate::rules::HiddenRules;
use crate::session::Served;

/// What a module's parameters come to for a client, before anything of it is opened.
pub(crate) struct ModulePlan {
    identity: Identity,
    /// What clients do not see.
    rules: HiddenRules,
    path: BString,
    tree: Option<Arc<dyn Tree>>,
}

/// A module, ready to be read from.
pub(crate) struct ModuleRoot {
    pub(crate) served: Served,
    /// Its path, for the log.
    pub(crate) path: BString,
    pub(crate) identity: Identity,
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
    /// What the log says.
    pub(crate) log: String,
    /// How the C daemon's process would end, about which the log has a line; `None` for one that only
    /// refuses.
    pub(crate) code: Option<ExitCode>,
}

impl RootError {
    fn of_rules(error: FilterError) -> Self {
        let log = match &error {
            FilterError::CannotOpen { .. } => format!("rsync: [Receiver] {error}"),
            error => error.to_string(),
        };
        Self { refusal: None, log, code: Some(error.exit_code()) }
    }

    fn refused(refusal: Refusal, log: String) -> Self {
        Self { refusal: Some(refusal), log, code: None }
    }
}

/// The directory whose existence makes munged links usable.
const MUNGE_DIRECTORY: &[u8] = b"rsyncd-munged";

impl ModulePlan {
    /// Resolves the names of users and groups; `settings` have no `%NAME%` any more, and `tree` is served
    /// instead of a directory, if there is one.
    pub(crate) fn new(
        module: &BString,
        settings: &ModuleSettings,
        tree: Option<Arc<dyn Tree>>,
        own: Own,
    ) -> Result<Self, RootError> {
        let identity = match &tree {
            // It is read as the program that hosts it.
            Some(_) => Identity::default(),
            None => {
                Identity::resolve(settings.uid.as_ref(), settings.gid.as_ref(), own).map_err(|refusal| {
                    let log = refusal.to_string().replacen('i', "I", 1);
                    RootError::refused(refusal, log)
                })?
            }
        };
        let path = match (&settings.path, &tree) {
            (None, None) => {
                let log = format!("No path specified for module {module}");
                return Err(RootError::refused(Refusal::NoPath, log));
            }
            (path, _) => path.clone().unwrap_or_default(),
        };
        let rules = HiddenRules {
            filter: settings.filter.clone(),
            include_from: settings.include_from.clone(),
            include: settings.include.clone(),
            exclude_from: settings.exclude_from.clone(),
            exclude: settings.exclude.clone(),
            files: Vec::new(),
        };
        Ok(Self { identity, rules, path, tree })
    }

    /// Reads the rules that hide files.
    pub(crate) fn with_rules(mut self) -> Result<Self, RootError> {
        self.rules.read_files().map_err(RootError::of_rules)?;
        Ok(self)
    }

    /// Whether the C daemon would change its root: as the module says, or else as `own` could.
    pub(crate) fn is_in_chroot(&self, settings: &ModuleSettings, own: Own) -> bool {
        self.tree.is_some() || settings.use_chroot.unwrap_or(self.has_inner() || own.is_root())
    }

    fn has_inner(&self) -> bool {
        self.path.find(b"/./").is_some_and(|at| self.path.len() > at + 3)
    }

    /// Opens the module's directory.
    pub(crate) fn open(self, settings: &ModuleSettings, own: Own) -> Result<ModuleRoot, RootError> {
        let (in_chroot, has_inner) = (self.is_in_chroot(settings, own), self.has_inner());
        let Self { identity, rules, path, tree } = self;
        if let Some(tree) = tree {
            return Ok(ModuleRoot {
                served: Served::Tree(tree),
                path,
                identity,
                rules,
                munges_links: settings.munge_symlinks.unwrap_or(false),
                keeps_links_inside: false,
                seems_root: in_chroot,
                numeric_ids: settings.numeric_ids.unwrap_or(true),
            });
        }
        let place = to_path(&path);
        let dir = Dir::open_trusted(&place).map_err(|error| {
            let reason = describe_errno(error.raw_os_error().unwrap_or_default());
            let (refusal, call) = if in_chroot {
                (Refusal::Chroot, format!("chroot(\"{path}\")"))
            } else {
                (Refusal::Chdir, format!("chdir {path}"))
            };
            RootError::refused(refusal, format!("rsync: [Receiver] {call} failed: {reason}"))
        })?;
        let is_part = !in_chroot || has_inner;
        let munges_links = settings.munge_symlinks.unwrap_or(is_part);
        if munges_links {
            check_munge_directory(if in_chroot { Some(&dir) } else { None })?;
        }
        let identity = identity.of(own).map_err(|error| {
            let log = error.to_string();
            RootError::refused(Refusal::Identity(error.call), log)
        })?;
        Ok(ModuleRoot {
            served: Served::Directory(dir),
            identity,
            rules,
            munges_links,
            keeps_links_inside: is_part && path != "/",
            path,
            seems_root: !is_part,
            numeric_ids: settings.numeric_ids.unwrap_or(in_chroot && settings.name_converter.is_none()),
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
            code: Some(ExitCode::UNSUPPORTED),
        });
    }
    Ok(())
}
