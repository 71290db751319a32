//! The steps of a scenario that make files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lsetxattr, makedev, mknodat,
    utimensat,
};
use serde_json::Value;

use super::{to_bytes, to_os};

/// The time of everything that has no other.
const DEFAULT_TIME: f64 = 1_000_000_000.0;

pub(super) struct Setup {
    root: PathBuf,
    /// Directories made since the last run, with the time they shall have; writing into them changes it.
    directories: Vec<(PathBuf, f64)>,
}

impl Setup {
    pub(super) fn new(root: PathBuf) -> Self {
        fs::create_dir(&root).unwrap();
        Self { root, directories: Vec::new() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Gives directories their times; the latest word about each counts.
    pub(super) fn settle_directories(&mut self) {
        let latest: BTreeMap<PathBuf, f64> = std::mem::take(&mut self.directories).into_iter().collect();
        for (path, time) in latest {
            if path.is_dir() && !path.is_symlink() {
                set_mtime(&path, time).unwrap();
            }
        }
    }

    pub(super) fn apply(&mut self, step: &Value) -> io::Result<()> {
        let text = |index: usize| to_bytes(step[index].as_str().unwrap());
        let path = self.root.join(to_os(&text(1)));
        match step[0].as_str().unwrap() {
            "dir" => {
                self.make_parents(&path)?;
                fs::create_dir_all(&path)?;
                set_mode(&path, &step[2], "755")?;
                self.directories.push((path, time_of(&step[2])));
            }
            "file" => self.write(&path, &text(2), &step[3])?,
            "gen" => {
                let (len, seed) = (step[2].as_u64().unwrap(), step[3].as_u64().unwrap());
                self.write(&path, &generated(len, seed), &step[4])?;
            }
            "zeros" => {
                let mut content = text(2).to_vec();
                content.resize(content.len() + usize::try_from(step[3].as_u64().unwrap()).unwrap(), 0);
                content.extend_from_slice(&text(4));
                self.write(&path, &content, &step[5])?;
            }
            "symlink" => {
                self.make_parents(&path)?;
                symlink(to_os(&text(2)), &path)?;
                set_mtime(&path, time_of(&step[3]))?;
            }
            "hard" => {
                self.make_parents(&path)?;
                fs::hard_link(self.root.join(to_os(&text(2))), &path)?;
            }
            "fifo" => self.make_node(&path, FileType::Fifo, 0, 0, 0o644)?,
            "node" => {
                let kind = if step[2] == "c" { FileType::CharacterDevice } else { FileType::BlockDevice };
                let number = |index: usize| u32::try_from(step[index].as_u64().unwrap()).unwrap();
                self.make_node(&path, kind, number(3), number(4), 0o600)?;
            }
            "mtime" => {
                let time = step[2].as_f64().unwrap();
                if path.is_dir() && !path.is_symlink() {
                    self.directories.push((path.clone(), time));
                }
                set_times(&path, None, Some((time as i64, 0)))?;
            }
            "atime" => {
                let seconds = step[2].as_i64().unwrap();
                set_times(&path, Some((seconds, 0)), None)?;
            }
            "chmod" => fs::set_permissions(&path, fs::Permissions::from_mode(octal(&text(2))))?,
            "own" => {
                let id = |index: usize| u32::try_from(step[index].as_u64().unwrap()).unwrap();
                lchown(&path, Some(id(2)), Some(id(3)))?;
            }
            "xattr" => lsetxattr(&path, to_os(&text(2)), &text(3), XattrFlags::empty())?,
            "acl" => lsetxattr(
                &path,
                "system.posix_acl_access",
                &acl(step[2].as_str().unwrap()),
                XattrFlags::empty(),
            )?,
            "rm" => {
                if path.symlink_metadata()?.is_dir() {
                    fs::remove_dir_all(&path)?;
                } else {
                    fs::remove_file(&path)?;
                }
            }
            other => return Err(io::Error::other(format!("no such step: {other}"))),
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, content: &[u8], options: &Value) -> io::Result<()> {
        self.make_parents(path)?;
        fs::write(path, content)?;
        set_mode(path, options, "644")?;
        set_mtime(path, time_of(options))
    }

    fn make_node(
        &mut self,
        path: &Path,
        kind: FileType,
        major: u32,
        minor: u32,
        mode: u32,
    ) -> io::Result<()> {
        self.make_parents(path)?;
        mknodat(CWD, path, kind, Mode::from_raw_mode(mode), makedev(major, minor))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        set_mtime(path, DEFAULT_TIME)
    }

    fn make_parents(&mut self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(&self.root);
        for directory in parent.ancestors().take_while(|&directory| directory != self.root) {
            if !directory.exists() {
                self.directories.push((directory.to_owned(), DEFAULT_TIME));
            }
        }
        fs::create_dir_all(parent)
    }
}

fn time_of(options: &Value) -> f64 {
    options["t"].as_f64().unwrap_or(DEFAULT_TIME)
}

fn set_mode(path: &Path, options: &Value, default: &str) -> io::Result<()> {
    let mode = octal(options["m"].as_str().unwrap_or(default).as_bytes());
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn octal(digits: &[u8]) -> u32 {
    u32::from_str_radix(std::str::from_utf8(digits).unwrap(), 8).unwrap()
}

fn set_mtime(path: &Path, time: f64) -> io::Result<()> {
    let seconds = time.floor();
    let time = Some((seconds as i64, ((time - seconds) * 1e9).round() as i64));
    set_times(path, time, time)
}

fn set_times(path: &Path, access: Option<(i64, i64)>, modification: Option<(i64, i64)>) -> io::Result<()> {
    let of = |time: Option<(i64, i64)>| match time {
        Some((tv_sec, tv_nsec)) => Timespec { tv_sec, tv_nsec: tv_nsec as _ },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    let times = Timestamps { last_access: of(access), last_modification: of(modification) };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn generated(len: u64, seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            (state >> 16 & 255) as u8
        })
        .collect()
}

/// `u:ID:PERMISSIONS` on top of mode 644, in the kernel's form.
fn acl(entry: &str) -> Vec<u8> {
    let fields: Vec<&str> = entry.split(':').collect();
    let letters = fields[2];
    let permissions = [('r', 4), ('w', 2), ('x', 1)]
        .iter()
        .map(|&(letter, bit)| if letters.contains(letter) { bit } else { 0 })
        .sum::<u16>();
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let nobody = u32::MAX;
    let named: u32 = fields[1].parse().unwrap();
    for (tag, permissions, id) in
        [(1_u16, 6_u16, nobody), (2, permissions, named), (4, 4, nobody), (16, 4, nobody), (32, 4, nobody)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
