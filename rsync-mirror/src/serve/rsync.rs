//! The `rsyncd.conf` of a site: a module for each job. The daemon reads it for every connection, so a client
//! gets the tree that was published last, whole.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::published;
use crate::config::{Config, SiteJob};
use crate::durable;

/// Why there is no configuration for the daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonConfigError {
    /// A job cannot be a module, or a parameter cannot stand in the file.
    #[error("{what} cannot be in the rsyncd.conf of the site: {reason}")]
    Line {
        /// The job or the parameter.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Writes the configuration of the site's rsync daemon to `rsyncd.conf` in its state directory, at once;
/// answers its path, or nothing if the site has no such daemon.
///
/// # Errors
/// A job whose name or place `rsyncd.conf` cannot express, and a file that cannot be written.
pub fn write_daemon_config(config: &Config) -> Result<Option<PathBuf>, DaemonConfigError> {
    if config.site.serve.rsync.is_empty() {
        return Ok(None);
    }
    let text = daemon_config(config)?;
    let path = config.site.state_dir.join("rsyncd.conf");
    durable::replace(&path, text.as_bytes())
        .map_err(|source| DaemonConfigError::File { path: path.clone(), source })?;
    Ok(Some(path))
}

fn daemon_config(config: &Config) -> Result<String, DaemonConfigError> {
    let site = &config.site;
    let mut text =
        String::from("# Made by rsync-mirror from its own configuration; changes here are lost.\n");
    let own = [
        ("log file", value(&site.log_dir().join("rsyncd.log"))),
        ("lock file", value(&site.state_dir.join("rsyncd.lock"))),
        ("use chroot", Ok("no".to_owned())),
        ("munge symlinks", Ok("no".to_owned())),
        ("reverse lookup", Ok("no".to_owned())),
        ("exclude", Ok(".~tmp~/".to_owned())),
    ];
    for (name, value) in own {
        let value = value.map_err(|reason| DaemonConfigError::Line { what: name.to_owned(), reason })?;
        let _ = writeln!(text, "{name} = {value}");
    }
    for (name, value) in &site.serve.rsync_settings {
        if name.starts_with('[') || name.chars().chain(value.chars()).any(char::is_control) {
            let reason = "it is no parameter in one line".to_owned();
            return Err(DaemonConfigError::Line { what: name.clone(), reason });
        }
        let _ = writeln!(text, "{name} = {value}");
    }
    for job in &config.jobs {
        module(&mut text, job)
            .map_err(|reason| DaemonConfigError::Line { what: job.job.name.clone(), reason })?;
    }
    Ok(text)
}

fn module(text: &mut String, job: &SiteJob) -> Result<(), String> {
    let name = &job.job.name;
    if name.chars().any(|letter| letter.is_control() || "[]".contains(letter)) || name.trim() != name {
        return Err("its name is no name of a module".to_owned());
    }
    let _ = writeln!(text, "[{name}]\npath = {}", value(&published(job))?);
    if let Some(comment) = &job.about.description {
        // It is only shown: what does not fit into a line is left out.
        let _ = writeln!(text, "comment = {}", comment.lines().next().unwrap_or_default().replace('%', ""));
    }
    Ok(())
}

/// A path as the value of a parameter.
fn value(path: &Path) -> Result<String, String> {
    let text = path.to_str().filter(|text| {
        !text.chars().any(|letter| letter.is_control() || letter == '%')
            && text.trim() == *text
            && !text.ends_with('\\')
    });
    text.map(str::to_owned).ok_or_else(|| format!("rsyncd.conf cannot name {}", path.display()))
}
