//! Servers of what a site mirrors, each of the trees that were published last (spec 11 §2.4).

mod http;
mod rsync;

use std::path::PathBuf;

pub use http::file_server;
pub use rsync::{DaemonConfigError, write_daemon_config};

use crate::config::SiteJob;
use crate::job::Publish;

/// Where readers find the tree of a job.
fn published(job: &SiteJob) -> PathBuf {
    let destination = &job.job.destination;
    match job.job.publish {
        Publish::Delay => destination.clone(),
        Publish::Generation(_) | Publish::Snapshot(_) => destination.join("current"),
    }
}
