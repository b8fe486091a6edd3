//! The daemon, as the command line sees it: one request, one bounded answer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::http::body::ProblemDocument;
use crate::http::short;

use super::out::{Exit, Failure};

/// Fifty thousand explained policies fit; whoever answers more is not our daemon.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// A little longer than the daemon's own limit, so that it can say why.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(35);
/// The same for looks at repositories and at the whole journal.
const LOOK_TIME_MAX: Duration = Duration::from_secs(320);

/// The way to the daemon.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: Runtime,
}

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    /// Word for word.
    pub document: Vec<u8>,
}

impl Answer {
    /// Reads the answer.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.document).map_err(|error| {
            Failure::new(Exit::Failed, format!("failed to read the daemon's answer: {error}"))
                .hint("are the daemon and this program of the same version?")
        })
    }
}

impl Client {
    /// Returns the way to the daemon at a socket.
    pub fn new(socket: PathBuf) -> Result<Client, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))?;
        Ok(Client { socket, runtime })
    }

    /// Asks for something.
    pub fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.request(Method::GET, path, None, Vec::new(), ANSWER_TIME_MAX)
    }

    /// Asks for something that has to come within a span.
    pub fn get_within(&self, path: &str, limit: Duration) -> Result<Answer, Failure> {
        self.request(Method::GET, path, None, Vec::new(), limit)
    }

    /// Asks for something that may take minutes.
    pub fn look(&self, path: &str) -> Result<Answer, Failure> {
        self.request(Method::GET, path, None, Vec::new(), LOOK_TIME_MAX)
    }

    /// Has something done.
    pub fn post(&self, path: &str, key: Option<&str>, body: Vec<u8>) -> Result<Answer, Failure> {
        self.request(Method::POST, path, key, body, LOOK_TIME_MAX)
    }

    /// Has something removed.
    pub fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.request(Method::DELETE, path, None, Vec::new(), ANSWER_TIME_MAX)
    }

    /// Waits a moment before asking again.
    pub fn pause(&self, span: Duration) {
        // Inside, where the runtime's clock is.
        self.runtime.block_on(async { tokio::time::sleep(span).await });
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut request = Request::builder().method(method).uri(path).header("host", "snapkeep");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::new(Exit::Usage, format!("failed to form the request: {error}")))?;
        let (status, document) = self.runtime.block_on(async {
            match tokio::time::timeout(limit, exchange(&self.socket, request)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let message = format!("the daemon did not answer within {} s", limit.as_secs());
                    Err(Failure::new(Exit::Unreachable, message))
                }
            }
        })?;
        if (200..300).contains(&status) {
            return Ok(Answer { document });
        }
        match serde_json::from_slice::<ProblemDocument>(&document) {
            Ok(problem) => Err(Failure::Refused { problem: Box::new(problem), document }),
            Err(_) => Err(Failure::new(Exit::Failed, format!("the daemon answered with status {status}"))),
        }
    }
}

async fn exchange(socket: &Path, request: Request<Full<Bytes>>) -> Result<(u16, Vec<u8>), Failure> {
    let stream = match short(socket) {
        Ok((_directory, path)) => UnixStream::connect(path).await,
        Err(error) => Err(error),
    };
    let stream = stream.map_err(|error| unreachable(socket, &error))?;
    let broke_off =
        |error: &dyn std::fmt::Display| Failure::new(Exit::Unreachable, format!("the daemon broke off: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broke_off(&error))?;
    // It ends with the answer: with the connection, or with this function's runtime.
    let driven = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| broke_off(&error))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let document = body.map_err(|error| broke_off(&error))?.to_bytes().to_vec();
    driven.abort();
    Ok((status, document))
}

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let message = format!("failed to reach the daemon at {}: {error}", socket.display());
    let failure = Failure::new(Exit::Unreachable, message);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => failure.hint(
            "is it running? start it with `systemctl start snapkeep` or `snapkeep run`; \
             for a set-up of your own add `--config FILE`",
        ),
        io::ErrorKind::PermissionDenied => {
            failure.hint("the socket is for the daemon's user and group; join that group, or use sudo")
        }
        _ => failure,
    }
}

/// Returns a name as it may stand in a path or a query.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Returns the query for some names, or for all.
pub fn names_query(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("name={}", encode(&names.join(","))) }
}
