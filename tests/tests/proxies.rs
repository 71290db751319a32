//! `RSYNC_PROXY`: what an HTTP proxy answers, and what the variable says, beside the C rsync (spec 01 §1.2,
//! SEC-134).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use bstr::ByteSlice;
use rsync_e2e::{Side, Tree, Twins};

/// A proxy that gives every client the same answer; answers its port.
fn proxy(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut piece = [0; 512];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                request.extend_from_slice(&piece[..count]);
                if request.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            // A client that has read enough may be gone.
            let _ = stream.write_all(&answer);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut request);
        }
    });
    port
}

fn through(answer: &[u8], words: &[&str]) -> Twins {
    let address = format!("127.0.0.1:{}", proxy(answer.to_vec()));
    Twins::new(Tree::new().dir("d")).variable("RSYNC_PROXY", &address).run(words.iter().copied())
}

const PULL: &[&str] = &["-r", "rsync://some.host/pub", "d/"];

#[test]
fn answers_of_a_proxy_are_judged_like_c() {
    let long = "x".repeat(2000);
    let refused = "HTTP/1.0 200 OK\r\n\r\n@RSYNCD: 31.0 md5\n@ERROR: nothing here\n";
    for answer in [
        refused,
        &refused.replace("\r\n\r\n", "\r\nVia: somebody\r\nX: y\r\n\r\n"),
        &refused.replace("\r\n", "\n"),
        "HTTP/1.0 403 Forbidden\r\n\r\n",
        "HTTP/1.1 300\r\n\r\n",
        "HTTP/20 OK\r\n\r\n",
        "GARBAGE\r\n\r\n",
        "\r\n\r\n",
        &format!("HTTP/1.0 200 {long}\r\n\r\n"),
        &format!("HTTP/1.0 200 OK\r\nX: {long}\r\n\r\n"),
    ] {
        through(answer.as_bytes(), PULL).assert_same();
    }
}

#[test]
fn hosts_that_would_break_the_request_are_refused_like_c() {
    let answer = b"HTTP/1.0 200 OK\r\n\r\n";
    let long = format!("rsync://{}/pub", "h".repeat(1100));
    for host in ["rsync://ho\x01st/pub", "rsync://ho\x7fst/pub", "ho\nst::pub", long.as_str()] {
        through(answer, &["-r", host, "d/"]).assert_same();
    }
    for value in ["localhost", "user@localhost:1", "user:secret@localhost", ":1"] {
        Twins::new(Tree::new().dir("d"))
            .variable("RSYNC_PROXY", value)
            .run(PULL.iter().copied())
            .assert_same();
    }
}

/// The C rsync reads on as long as header lines come, and shows what a proxy says as it is.
#[test]
fn a_proxy_neither_keeps_a_client_nor_steers_its_terminal() {
    let endless = [b"HTTP/1.0 200 OK\r\n".to_vec(), b"X-Header: again\r\n".repeat(100_000)].concat();
    let twin = through(&endless, PULL).with(Side::Ours);
    let (code, _, errors) = &twin.runs[0];
    assert_eq!(*code, 10, "{errors:?}");
    assert!(errors.iter().any(|line| line.contains("too many proxy response header lines")), "{errors:?}");
    let twin = through(b"HTTP/1.0 500 \x1b[2Jgone\r\n\r\n", PULL).with(Side::Ours);
    let (code, _, errors) = &twin.runs[0];
    assert_eq!(*code, 10, "{errors:?}");
    assert!(!errors.iter().any(|line| line.as_bytes().contains_str("\x1b")), "{errors:?}");
    assert!(errors.iter().any(|line| line.contains("\\#033[2Jgone")), "{errors:?}");
}
