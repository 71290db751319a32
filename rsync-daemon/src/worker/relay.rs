//! The front's end of a session's line.

use std::io;

use bstr::BString;
use rsync_engine::SystemOwners;
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
            Report::User(uid) => look_up(move |names| names.user(uid)).await,
            Report::Group(gid) => look_up(move |names| names.group(gid)).await,
        };
        line.write_all(&frame(&answer, MESSAGE_LIMIT)?).await?;
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

async fn look_up(
    find: impl FnOnce(&mut SystemOwners) -> Option<Vec<u8>> + Send + 'static,
) -> Option<BString> {
    let found = tokio::task::spawn_blocking(move || find(&mut SystemOwners::default()));
    found.await.ok().flatten().map(BString::from)
}
