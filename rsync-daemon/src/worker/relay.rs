//! The front's end of a session's line.

use std::io;

use bstr::BString;
use rsync_engine::{OwnerIds, SystemIds, SystemOwners};
use rsync_proto::flist::OwnerNames;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{MESSAGE_LIMIT, ORDER_LIMIT, Report};
use crate::log::Log;
use crate::metrics::Outcome;
use crate::order::SessionOrder;
use crate::packed::{FRAME_HEADER, Packed, frame, frame_length, unframe};

/// Hands a session its order and does what it asks, until it is over; answers how it ended.
///
/// # Errors
/// When the line ends before the session said that it is over.
pub(super) async fn attend(
    mut line: UnixStream,
    order: SessionOrder,
    log: &Log,
    worker: u32,
) -> io::Result<Outcome> {
    line.write_all(&frame(&order, ORDER_LIMIT)?).await?;
    drop(order);
    loop {
        let answer = match receive(&mut line).await? {
            Report::Log(severity, text) => {
                log.line(worker, severity, &text);
                continue;
            }
            Report::Ended(outcome) => return Ok(outcome),
            Report::User(uid) => {
                let name = blocking(move || SystemOwners::default().user(uid)).await;
                frame(&name.map(BString::from), MESSAGE_LIMIT)?
            }
            Report::Group(gid) => {
                let name = blocking(move || SystemOwners::default().group(gid)).await;
                frame(&name.map(BString::from), MESSAGE_LIMIT)?
            }
            Report::UserId(name) => frame(&blocking(move || SystemIds.user(&name)).await, MESSAGE_LIMIT)?,
            Report::GroupId(name) => frame(&blocking(move || SystemIds.group(&name)).await, MESSAGE_LIMIT)?,
        };
        line.write_all(&answer).await?;
    }
}

/// Reads one message.
pub(super) async fn receive<T: Packed>(line: &mut UnixStream) -> io::Result<T> {
    let mut header = [0; FRAME_HEADER];
    line.read_exact(&mut header).await?;
    let mut body = vec![0; frame_length(header, MESSAGE_LIMIT)?];
    line.read_exact(&mut body).await?;
    Ok(unframe(&body)?)
}

async fn blocking<T: Send + 'static>(find: impl FnOnce() -> Option<T> + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(find).await.ok().flatten()
}
