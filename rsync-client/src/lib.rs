//! client

mod connect;
mod error;

pub use error::ClientError;
