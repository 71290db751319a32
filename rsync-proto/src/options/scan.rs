//! The variables an option scan fills before the checks turn them into [`TransferOptions`].

use bstr::{BString, ByteSlice};

use super::choice::{BasisDirs, BasisKind, FilterArg, Reflink, StderrMode};
use super::error::{Halt, OptionError, shown};
use super::model::TransferOptions;
use super::value::{SizeRule, parse_minutes};
use super::verbosity::{Debug, Info};
use super::{Environment, stop};
use crate::session::ProtocolNumber;

/// Who named users or groups to map to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MapSource {
    #[default]
    Nobody,
    Map,
    Chown,
}

/// Variables of one scan, in the C rsync's values where the order of options matters.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// What needs no later decision is stored right here.
    pub(super) options: TransferOptions,
    /// 1 by `-a`, 2 by `-r`.
    pub(super) recurse: u32,
    /// 0 off, 2 typed, 4 old.
    pub(super) dirs: Option<u32>,
    pub(super) relative: Option<bool>,
    pub(super) no_implied_dirs: bool,
    pub(super) list_only: bool,
    pub(super) verbose: u32,
    pub(super) quiet: u32,
    pub(super) human: u32,
    pub(super) itemize: u32,
    pub(super) one_file_system: u32,
    pub(super) atimes: u32,
    pub(super) xattrs: u32,
    pub(super) hard_links: u32,
    pub(super) fuzzy: u32,
    pub(super) per_dir_filters: u32,
    pub(super) version: u32,
    pub(super) missing_args: u32,
    pub(super) append: u32,
    pub(super) old_args: Option<u32>,
    pub(super) secluded: Option<bool>,
    pub(super) files_from: Option<BString>,
    pub(super) usermap: MapSource,
    pub(super) groupmap: MapSource,
    pub(super) checksum_choice: Option<BString>,
    pub(super) compress: u32,
    pub(super) compress_choice: Option<BString>,
    pub(super) max_alloc: Option<BString>,
    pub(super) outbuf: Option<BString>,
    pub(super) write_batch: Option<BString>,
    pub(super) only_write_batch: Option<BString>,
    pub(super) read_batch: Option<BString>,
    pub(super) delete: bool,
    pub(super) delete_before: bool,
    /// 1 during, 2 delay.
    pub(super) delete_during: u32,
    pub(super) delete_after: bool,
    pub(super) max_delete: Option<i32>,
    pub(super) suffix: Option<BString>,
    pub(super) backup_dir: Option<BString>,
    pub(super) iconv: Option<BString>,
    pub(super) iconv_off: bool,
    pub(super) qsort: bool,
}

impl Scan {
    pub(super) fn new() -> Self {
        Self { human: 1, ..Self::default() }
    }
}

/// Value of a `--…-map` or `--chown` half.
fn set_map(
    map: &mut Option<BString>,
    source: &mut MapSource,
    value: &[u8],
    from: MapSource,
    name: &str,
    kind: &str,
) -> Result<(), Halt> {
    let text = match (*source, from) {
        (MapSource::Nobody, _) => {
            *source = from;
            *map = Some(value.into());
            return Ok(());
        }
        (MapSource::Chown, MapSource::Chown) => {
            format!("You can only specify a {kind}-affecting --chown once.")
        }
        (MapSource::Chown, _) => format!("{name} conflicts with prior --chown."),
        (MapSource::Map, MapSource::Chown) => format!("--chown conflicts with prior {name}."),
        (MapSource::Map, _) => format!("You can only specify {name} once."),
    };
    Err(OptionError::syntax(text).into())
}

pub(super) fn usermap(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    map_users(scan, value, MapSource::Map)
}

fn map_users(scan: &mut Scan, value: &[u8], from: MapSource) -> Result<(), Halt> {
    set_map(&mut scan.options.usermap, &mut scan.usermap, value, from, "--usermap", "user")?;
    scan.options.owner = true;
    Ok(())
}

pub(super) fn groupmap(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    map_groups(scan, value, MapSource::Map)
}

fn map_groups(scan: &mut Scan, value: &[u8], from: MapSource) -> Result<(), Halt> {
    set_map(&mut scan.options.groupmap, &mut scan.groupmap, value, from, "--groupmap", "group")?;
    scan.options.group = true;
    Ok(())
}

pub(super) fn chown(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let (user, group) = value.split_once_str(":").unwrap_or((value, b""));
    if !user.is_empty() {
        map_users(scan, &[b"*:", user].concat(), MapSource::Chown)?;
    }
    if !group.is_empty() {
        map_groups(scan, &[b"*:", group].concat(), MapSource::Chown)?;
    }
    Ok(())
}

fn basis_dir(scan: &mut Scan, kind: BasisKind, value: &[u8]) -> Result<(), Halt> {
    let name = basis_name(kind);
    let basis = scan.options.basis_dirs.get_or_insert_with(|| BasisDirs { kind, dirs: Vec::new() });
    if basis.kind != kind {
        let text = format!("ERROR: the {name} option conflicts with the {} option", basis_name(basis.kind));
        return Err(OptionError::syntax(text).into());
    }
    if basis.dirs.len() >= BasisDirs::MAX {
        return Err(OptionError::syntax(format!(
            "ERROR: at most {} {name} args may be specified",
            BasisDirs::MAX
        ))
        .into());
    }
    basis.dirs.push(value.into());
    Ok(())
}

/// The option that adds a directory of this kind.
pub(super) fn basis_name(kind: BasisKind) -> &'static str {
    match kind {
        BasisKind::Compare => "--compare-dest",
        BasisKind::Copy => "--copy-dest",
        BasisKind::Link => "--link-dest",
    }
}

pub(super) fn compare_dest(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    basis_dir(scan, BasisKind::Compare, value)
}

pub(super) fn copy_dest(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    basis_dir(scan, BasisKind::Copy, value)
}

pub(super) fn link_dest(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    basis_dir(scan, BasisKind::Link, value)
}

pub(super) fn info(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let server = scan.options.server;
    for item in value.split_str(",").filter(|item| !item.is_empty()) {
        let (name, level) = split_level(item);
        match name.to_ascii_uppercase().as_slice() {
            b"HELP" => return Err(Halt::InfoHelp),
            b"NONE" => Info::ALL.iter().for_each(|&word| scan.options.info.set_by_user(word, 0)),
            b"ALL" => Info::ALL.iter().for_each(|&word| scan.options.info.set_by_user(word, level)),
            upper => match Info::ALL.iter().find(|word| word.name().as_bytes() == upper) {
                Some(&word) => scan.options.info.set_by_user(word, level),
                None if server => {}
                None => {
                    return Err(
                        OptionError::plain(format!("Unknown --info item: \"{}\"", shown(name))).into()
                    );
                }
            },
        }
    }
    Ok(())
}

pub(super) fn debug(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let server = scan.options.server;
    for item in value.split_str(",").filter(|item| !item.is_empty()) {
        let (name, level) = split_level(item);
        match name.to_ascii_uppercase().as_slice() {
            b"HELP" => return Err(Halt::DebugHelp),
            b"NONE" => Debug::ALL.iter().for_each(|&word| scan.options.debug.set_by_user(word, 0)),
            b"ALL" => Debug::ALL.iter().for_each(|&word| scan.options.debug.set_by_user(word, level)),
            upper => match Debug::ALL.iter().find(|word| word.name().as_bytes() == upper) {
                Some(&word) => scan.options.debug.set_by_user(word, level),
                None if server => {}
                None => {
                    return Err(
                        OptionError::plain(format!("Unknown --debug item: \"{}\"", shown(name))).into()
                    );
                }
            },
        }
    }
    Ok(())
}

/// Name and level of one item: digits at the end, 1 without, 4 at most.
fn split_level(item: &[u8]) -> (&[u8], u8) {
    let digits = item.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (name, digits) = item.split_at(item.len() - digits);
    let level = match digits {
        b"" => 1,
        digits => {
            digits.iter().fold(0_u8, |level, digit| level.saturating_mul(10).saturating_add(digit - b'0'))
        }
    };
    (name, level.min(4))
}

pub(super) fn stderr_mode(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let modes = [("errors", StderrMode::Errors), ("all", StderrMode::All), ("client", StderrMode::Client)];
    let found = modes.iter().find(|(name, _)| !value.is_empty() && name.as_bytes().starts_with(value));
    match found {
        Some((_, mode)) => scan.options.stderr = *mode,
        None => {
            let text = format!("--stderr mode \"{}\" is not one of errors, all, or client", shown(value));
            return Err(OptionError::syntax(text).into());
        }
    }
    Ok(())
}

pub(super) fn reflink(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    scan.options.reflink = match value {
        b"auto" => Reflink::Auto,
        b"always" => Reflink::Always,
        b"never" => Reflink::Never,
        _ => {
            let text = format!("--reflink \"{}\" is not one of auto, always, or never", shown(value));
            return Err(OptionError::syntax(text).into());
        }
    };
    Ok(())
}

pub(super) fn archive(scan: &mut Scan) -> Result<(), Halt> {
    if scan.recurse == 0 {
        scan.recurse = 1;
    }
    let options = &mut scan.options;
    options.links = true;
    options.perms = true;
    options.times = true;
    options.group = true;
    options.owner = true;
    options.devices = true;
    options.specials = true;
    Ok(())
}

pub(super) fn per_dir_filter(scan: &mut Scan) -> Result<(), Halt> {
    scan.per_dir_filters += 1;
    let rule = match scan.per_dir_filters {
        1 => ": /.rsync-filter",
        2 => "- .rsync-filter",
        _ => return Ok(()),
    };
    scan.options.filters.push(FilterArg::Rule(rule.into()));
    Ok(())
}

/// `--progress` and its negation.
pub(super) fn progress(scan: &mut Scan, on: bool) {
    scan.options.progress = on;
    scan.options.progress_bar = false;
}

/// `--progress=bar`; nothing else is known.
pub(super) fn progress_style(scan: &mut Scan, value: &[u8]) -> bool {
    if value == b"bar" {
        scan.options.progress = false;
        scan.options.progress_bar = true;
    }
    value == b"bar"
}

/// The mode is chosen before anything is scanned, so that nothing in front can change it.
pub(super) fn restricted(_: &mut Scan) -> Result<(), Halt> {
    Err(OptionError::syntax("--restricted must be the first word").into())
}

pub(super) fn max_size(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let rule = SizeRule { name: "max-size", unit: b'b', min: None, max: None };
    scan.options.max_size = Some(rule.parse(value)?);
    Ok(())
}

pub(super) fn min_size(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let rule = SizeRule { name: "min-size", unit: b'b', min: None, max: None };
    scan.options.min_size = Some(rule.parse(value)?);
    Ok(())
}

pub(super) fn block_size(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let max = if scan.options.protocol.is_some_and(|protocol| ProtocolNumber(protocol).has_long_blocks()) {
        (1 << 29, "512.00M")
    } else {
        (1 << 17, "128.00K")
    };
    let rule = SizeRule { name: "block-size", unit: b'b', min: None, max: Some(max) };
    scan.options.block_size = u32::try_from(rule.parse(value)?).unwrap_or(u32::MAX);
    Ok(())
}

/// The value of `--max-alloc` or of its variable.
pub(super) fn max_alloc_bytes(value: &[u8]) -> Result<u64, OptionError> {
    SizeRule { name: "max-alloc", unit: b'b', min: Some((1 << 20, "1.00M")), max: None }.parse(value)
}

pub(super) fn bwlimit(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    let rule = SizeRule { name: "bwlimit", unit: b'k', min: Some((512, "512")), max: None };
    scan.options.bwlimit = (rule.parse(value)? + 512) / 1024;
    Ok(())
}

pub(super) fn chmod(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    if crate::meta::Chmod::default().append(value).is_err() {
        return Err(
            OptionError::syntax(format!("Invalid argument passed to --chmod ({})", shown(value))).into()
        );
    }
    scan.options.chmod.push(value.into());
    Ok(())
}

pub(super) fn remote_option(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    if !value.starts_with(b"-") {
        return Err(
            OptionError::syntax(format!("Remote option must start with a dash: {}", shown(value))).into()
        );
    }
    scan.options.remote_options.push(value.into());
    Ok(())
}

pub(super) fn crtimes(scan: &mut Scan) -> Result<(), Halt> {
    let who = if scan.options.server { "The server" } else { "This rsync" };
    Err(OptionError::syntax(format!("{who} does not support --crtimes (-N)")).into())
}

pub(super) fn stop_after(scan: &mut Scan, value: &[u8], environment: &Environment) -> Result<(), Halt> {
    let seconds = parse_minutes(value).and_then(|minutes| minutes.checked_mul(60));
    let Some(time) = seconds.and_then(|seconds| environment.clock.now.checked_add(seconds)) else {
        return Err(OptionError::syntax(format!("invalid --stop-after value: {}", shown(value))).into());
    };
    scan.options.stop_at = Some(time);
    Ok(())
}

pub(super) fn stop_at(scan: &mut Scan, value: &[u8], environment: &Environment) -> Result<(), Halt> {
    let Some(time) = stop::parse(value, environment.clock) else {
        return Err(OptionError::syntax(format!("invalid --stop-at format: {}", shown(value))).into());
    };
    if time <= environment.clock.now {
        return Err(
            OptionError::syntax(format!("--stop-at time is not in the future: {}", shown(value))).into()
        );
    }
    scan.options.stop_at = Some(time);
    Ok(())
}

pub(super) fn filter(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    scan.options.filters.push(FilterArg::Rule(value.into()));
    Ok(())
}

pub(super) fn exclude(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    scan.options.filters.push(FilterArg::Exclude(value.into()));
    Ok(())
}

pub(super) fn include(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    scan.options.filters.push(FilterArg::Include(value.into()));
    Ok(())
}

pub(super) fn exclude_from(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    scan.options.filters.push(FilterArg::ExcludeFrom(value.into()));
    Ok(())
}

pub(super) fn include_from(scan: &mut Scan, value: &[u8]) -> Result<(), Halt> {
    scan.options.filters.push(FilterArg::IncludeFrom(value.into()));
    Ok(())
}
