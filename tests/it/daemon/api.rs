//! What a program says to the daemon's socket, byte for byte, and what it hears.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::place::Place;
use crate::support::wait::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    /// Returns the answer in what was heard.
    pub fn of(heard: &[u8]) -> Answer {
        let text = String::from_utf8_lossy(heard);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Answer { status, head: head.to_string(), text: if is_chunked { unchunked(body) } else { body.to_string() } }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Checks the status, and returns the body.
    #[track_caller]
    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

impl Place {
    /// Returns a connection to the daemon.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path("state/api.sock")).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream
    }

    /// Asks, with headers of one's own, and returns what was heard; nothing of it where the line broke.
    pub fn said(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: snapkeep\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let mut heard = Vec::new();
        // A daemon that refuses early, or is killed, hangs up before it has heard all.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let _ = stream.read_to_end(&mut heard);
        Answer::of(&heard)
    }

    pub fn ask(&self, method: &str, path: &str) -> Answer {
        self.said(method, path, "", b"")
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.said(method, path, "content-type: application/json\r\n", body.to_string().as_bytes())
    }
}

impl Place {
    /// Asks and does not wait for the answer.
    pub fn begin(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> UnixStream {
        let mut stream = self.connect();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: snapkeep\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        let whole = [head.as_bytes(), body].concat();
        stream.write_all(&whole).expect("the daemon takes it");
        stream
    }
}
