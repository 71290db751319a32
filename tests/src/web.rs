//! Requests over HTTP, one a connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long an answer may take, on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status line and headers.
    pub head: String,
    /// What is behind them.
    pub body: String,
}

impl Answer {
    /// The status code; 0 if there was no answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default()
    }
}

/// Sends a request to `address` and reads the whole answer; `headers` are lines that end with `\r\n`.
///
/// # Panics
/// If nobody listens, or nobody answers in time.
#[must_use]
#[track_caller]
pub fn request(address: &str, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = send(address, method, path, headers, body);
    let (head, length) = read_head(&mut stream);
    let mut body = Vec::new();
    match length {
        // Not every server closes when it is asked to.
        Some(length) if method != "HEAD" => {
            stream.take(length).read_to_end(&mut body).unwrap();
        }
        _ => drop(stream.read_to_end(&mut body).unwrap()),
    }
    Answer { head, body: String::from_utf8_lossy(&body).into_owned() }
}

/// The same without a body, by `GET`.
///
/// # Panics
/// Those of [`request`].
#[must_use]
#[track_caller]
pub fn get(address: &str, path: &str, headers: &str) -> Answer {
    request(address, "GET", path, headers, "")
}

/// Sends a request and reads only the head of the answer; the body stays in the connection.
///
/// # Panics
/// Those of [`request`].
#[must_use]
#[track_caller]
pub fn begin(address: &str, path: &str, headers: &str) -> (TcpStream, Answer) {
    let mut stream = send(address, "GET", path, headers, "");
    let (head, _) = read_head(&mut stream);
    (stream, Answer { head, body: String::new() })
}

fn send(address: &str, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = if headers.contains("Host: ") { String::new() } else { format!("Host: {address}\r\n") };
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    let request =
        format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{length}{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn read_head(stream: &mut TcpStream) -> (String, Option<u64>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(head.trim_ascii_end()).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    (head, length)
}
