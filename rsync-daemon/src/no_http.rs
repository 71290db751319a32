//! What stands for HTTP without the feature `http`: a configuration that wants it is an error.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::metrics::{Health, Metrics};

/// Why there is no HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// A parameter wants it.
    #[error("\"metrics address\" cannot be honoured: this program was built without HTTP")]
    Absent,
}

pub(crate) fn address(_: &str) -> Result<SocketAddr, MetricsError> {
    Err(MetricsError::Absent)
}

pub(crate) fn bind(_: SocketAddr) -> Result<TcpListener, MetricsError> {
    Err(MetricsError::Absent)
}

pub(crate) async fn serve(_: TcpListener, _: Arc<Metrics>, _: Arc<Health>) {}
