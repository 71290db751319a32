//! `RSYNC_PROXY`: an HTTP proxy between the client and the daemon (spec 01 §1.2).

use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bstr::{BString, ByteSlice};

use crate::ClientError;

/// Longest request and longest line of a reply, in bytes.
const MAX_LINE: usize = 1023;

/// A proxy that is asked to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: BString,
    pub(crate) port: u16,
    /// `USER:PASS`, if given.
    credentials: Option<BString>,
}

impl Proxy {
    /// Reads `[USER:PASS@]HOST:PORT`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ClientError> {
        let text = &text[..text.len().min(MAX_LINE)];
        let (credentials, host) = match text.rfind_byte(b'@') {
            Some(at) => (Some(&text[..at]), &text[at + 1..]),
            None => (None, text),
        };
        if credentials.is_some_and(|credentials| !credentials.contains(&b':')) {
            return Err(proxy("invalid proxy specification: should be USER:PASS@HOST:PORT"));
        }
        let invalid = || proxy("invalid proxy specification: should be HOST:PORT");
        let (host, port) = host.split_once_str(b":").ok_or_else(invalid)?;
        let port = port.to_str().ok().and_then(|port| port.parse().ok()).ok_or_else(invalid)?;
        Ok(Self { host: host.into(), port, credentials: credentials.map(BString::from) })
    }

    /// The request for a connection to `host`.
    pub(super) fn request(&self, host: &[u8], port: u16) -> Result<Vec<u8>, ClientError> {
        if host.iter().any(|&byte| byte < 0x20 || byte == 0x7f) {
            return Err(proxy("invalid control character in proxy CONNECT host"));
        }
        let mut request = [b"CONNECT ", host, format!(":{port} HTTP/1.0\r\n").as_bytes()].concat();
        if let Some(credentials) = &self.credentials {
            let line = format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(credentials));
            request.extend_from_slice(line.as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        if request.len() > MAX_LINE {
            return Err(proxy("proxy CONNECT request too long"));
        }
        Ok(request)
    }

    /// Sends the request and reads the reply; afterwards the stream is the daemon's.
    pub(super) fn ask(&self, stream: &mut (impl Read + Write), request: &[u8]) -> Result<(), ClientError> {
        stream.write_all(request).map_err(ClientError::socket("write to the proxy"))?;
        let status = read_line(stream, "proxy response line too long")?;
        let accepted = status
            .strip_prefix(b"HTTP/")
            .map(|rest| rest.trim_start_with(|byte| byte.is_ascii_digit() || byte == '.'))
            .is_some_and(|rest| rest.trim_start_with(|byte| byte == ' ').starts_with(b"2"));
        if !accepted {
            return Err(proxy(&format!("bad response from proxy -- {}", status.as_bstr())));
        }
        while !read_line(stream, "proxy response header line too long")?.is_empty() {}
        Ok(())
    }
}

/// Reads byte by byte, so that nothing of what follows is taken.
fn read_line(stream: &mut impl Read, too_long: &str) -> Result<Vec<u8>, ClientError> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(ClientError::socket("read from the proxy"))?;
        if byte[0] == b'\n' {
            return Ok(line.strip_suffix(b"\r").unwrap_or(&line).to_vec());
        }
        if line.len() == MAX_LINE {
            return Err(proxy(too_long));
        }
        line.push(byte[0]);
    }
}

fn proxy(text: &str) -> ClientError {
    ClientError::Proxy { text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Peer {
        reply: &'static [u8],
        heard: Vec<u8>,
    }

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.reply.read(buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
            self.heard.write(buffer)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn ask(specification: &[u8], reply: &'static [u8]) -> Result<Peer, ClientError> {
        let mut peer = Peer { reply, heard: Vec::new() };
        let proxy = Proxy::parse(specification)?;
        proxy.ask(&mut peer, &proxy.request(b"host", 873)?)?;
        Ok(peer)
    }

    #[test]
    fn the_request_has_the_golden_form_and_nothing_behind_the_reply_is_read() {
        let peer =
            ask(b"al:pa:ss@proxy:3128", b"HTTP/1.1 200 OK\r\nVia: x\n\r\n@RSYNCD: 32.0").expect("accepted");
        assert_eq!(
            peer.heard.as_bstr(),
            "CONNECT host:873 HTTP/1.0\r\nProxy-Authorization: Basic YWw6cGE6c3M=\r\n\r\n"
        );
        assert_eq!(peer.reply, b"@RSYNCD: 32.0");
        let peer = ask(b"proxy:3128", b"HTTP/1.0   2\n\n").expect("accepted");
        assert_eq!(peer.heard.as_bstr(), "CONNECT host:873 HTTP/1.0\r\n\r\n");
    }

    #[test]
    fn bad_specifications_and_replies_are_told_in_the_words_of_rsync() {
        let text =
            |specification: &[u8], reply| ask(specification, reply).err().map(|error| error.to_string());
        let want = |text: &str| Some(text.to_owned());
        assert_eq!(text(b"proxy", b""), want("invalid proxy specification: should be HOST:PORT"));
        assert_eq!(text(b"u@p:1", b""), want("invalid proxy specification: should be USER:PASS@HOST:PORT"));
        assert_eq!(text(b"p:1", b"HTTP/1.0 403 no\r\n"), want("bad response from proxy -- HTTP/1.0 403 no"));
        assert_eq!(text(b"p:1", b"SSH-2.0 2\n"), want("bad response from proxy -- SSH-2.0 2"));
        assert_eq!(text(b"p:1", &[b'a'; 2000]), want("proxy response line too long"));
        let long = Proxy::parse(b"p:1").expect("valid").request(&[b'h'; 1100], 1);
        assert_eq!(long.map_err(|error| error.to_string()), Err("proxy CONNECT request too long".to_owned()));
        let control = Proxy::parse(b"p:1").expect("valid").request(b"a\nb", 1);
        assert_eq!(
            control.map_err(|error| error.to_string()),
            Err("invalid control character in proxy CONNECT host".to_owned())
        );
    }
}
