//! The command line of `rsyncd`.

use std::path::PathBuf;

use clap::Parser;

/// Serves modules to rsync clients, read-only.
#[derive(Parser)]
#[command(name = "rsyncd", version)]
pub(crate) struct Arguments {
    /// Configuration file, read anew for each connection.
    #[arg(long, value_name = "FILE", default_value = "/etc/rsyncd.conf")]
    pub(crate) config: PathBuf,
    /// Assign a global parameter, as at the end of the first global section.
    #[arg(long, short = 'M', value_name = "NAME=VALUE")]
    pub(crate) dparam: Vec<String>,
    /// Address to listen on; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Vec<String>,
    /// Port to listen on.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Log here; otherwise `log file` of the configuration, or the system log.
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// Stay in the foreground, and log to standard error unless a log file is named.
    #[arg(long)]
    pub(crate) no_detach: bool,
    /// Tell everything that is wrong with the configuration, and the values in effect; serve nobody.
    #[arg(long)]
    pub(crate) check_config: bool,
}
