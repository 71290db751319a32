//! The front's end of a session's line.

use std::io;

use bstr::BString;
use rsync_engine::{OwnerIds, SystemIds, SystemOwners};
use rsync_proto::exit::ExitCode;
use rsync_proto::flist::OwnerNames;
use rsync_proto::text::{Role, VERSION, exit_line};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{MESSAGE_LIMIT, ORDER_LIMIT, Report};
use crate::converter::{Converter, ConverterLost, Question};
use crate::log::{Log, WARNING};
use crate::metrics::Outcome;
use crate::order::SessionOrder;
use crate::packed::{FRAME_HEADER, Packed, PackedError, frame, frame_length, unframe};

/// Hands a session its order and does what it asks, until it is over; answers how it ended. With a
/// `converter` names and ids are its own.
///
/// # Errors
/// When the line ends before the session said that it is over.
pub(super) async fn attend(
    mut line: UnixStream,
    order: SessionOrder,
    log: &Log,
    worker: u32,
    converter: Option<Converter>,
) -> io::Result<Outcome> {
    line.write_all(&frame(&order, ORDER_LIMIT)?).await?;
    let is_sender = order.is_sender();
    drop(order);
    let mut lost = false;
    let outcome = loop {
        let answer = match receive(&mut line).await? {
            // What it says after that is about the end that was made of it.
            Report::Log(..) | Report::Asked(_) if lost => continue,
            Report::Log(severity, text) => {
                log.line(worker, severity, &text);
                continue;
            }
            Report::Ended(outcome) => break outcome,
            Report::Asked(question) => answer(question, converter.clone()).await,
        };
        match answer {
            Ok(answer) => line.write_all(&answer?).await?,
            Err(error) => {
                lost = true;
                log.line(worker, WARNING, error.to_string().as_bytes());
                let role = if is_sender { Role::Sender } else { Role::EarlyReceiver };
                let last = exit_line(ExitCode::SOCKET_IO, role, (file!(), line!()), VERSION);
                log.line(worker, WARNING, last.unwrap_or_default().as_bytes());
                // The session ends when it cannot be told.
                line.shutdown().await?;
            }
        }
    };
    if let Some(converter) = converter {
        converter.end();
    }
    Ok(if lost { Outcome { code: ExitCode::SOCKET_IO.code().into(), ..outcome } } else { outcome })
}

type Answer = Result<Result<Vec<u8>, PackedError>, ConverterLost>;

/// The answer to a question, of the converter or else of the system.
async fn answer(question: Question, converter: Option<Converter>) -> Answer {
    let framed = move || {
        Ok(match (question, converter) {
            (question @ (Question::User(_) | Question::Group(_)), Some(converter)) => {
                frame(&converter.ask(&question)?, MESSAGE_LIMIT)
            }
            (question, Some(converter)) => frame(&converter.ask_id(&question)?, MESSAGE_LIMIT),
            (Question::User(uid), None) => {
                frame(&SystemOwners::default().user(uid).map(BString::from), MESSAGE_LIMIT)
            }
            (Question::Group(gid), None) => {
                frame(&SystemOwners::default().group(gid).map(BString::from), MESSAGE_LIMIT)
            }
            (Question::UserId(name), None) => frame(&SystemIds.user(&name), MESSAGE_LIMIT),
            (Question::GroupId(name), None) => frame(&SystemIds.group(&name), MESSAGE_LIMIT),
        })
    };
    // Nobody else is to wait for it.
    tokio::task::spawn_blocking(framed).await.unwrap_or(Err(ConverterLost))
}

/// Reads one message.
pub(super) async fn receive<T: Packed>(line: &mut UnixStream) -> io::Result<T> {
    let mut header = [0; FRAME_HEADER];
    line.read_exact(&mut header).await?;
    let mut body = vec![0; frame_length(header, MESSAGE_LIMIT)?];
    line.read_exact(&mut body).await?;
    Ok(unframe(&body)?)
}
