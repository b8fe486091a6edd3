//! Servers that speak TLS with the certificates of the fixtures, which are good for `localhost` and `127.0.0.1` from
//! 2020 to 2120.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::fmt::rfc2822::DateTimePrinter;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use snapkeep::lifecycle::time::Timestamp;

/// More questions than any test asks.
const QUESTIONS_MAX: usize = 16;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

pub fn config() -> Arc<rustls::ServerConfig> {
    let chain = CertificateDer::pem_file_iter(fixture("server.pem")).expect("a file");
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.map(|one| one.expect("a certificate")).collect(), key)
        .expect("a pair");
    Arc::new(config)
}

/// Returns the head of an answer that was made at `at`.
pub fn dated(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.millis()).expect("a date");
    let at = DateTimePrinter::new().timestamp_to_rfc9110_string(&at).expect("a date");
    format!("HTTP/1.1 200 OK\r\ndate: {at}\r\ncontent-length: 5\r\n\r\n")
}

/// A server that says the same to everybody, and notes what it was asked.
pub struct Teller {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Teller {
    /// `None` is no answer at all: the connection stays open until the test is over.
    pub fn new(is_tls: bool, answer: impl Fn() -> Option<String> + Send + 'static) -> Teller {
        Teller::at("127.0.0.1", is_tls, answer)
    }

    /// The same at another address of this machine; the certificate is for `127.0.0.1` and `localhost` alone.
    pub fn at(address: &str, is_tls: bool, answer: impl Fn() -> Option<String> + Send + 'static) -> Teller {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        // Whoever asks no more leaves it waiting; it ends with the tests.
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for _ in 0..QUESTIONS_MAX {
                let Ok((stream, _)) = listener.accept() else { return };
                let other = stream.try_clone().expect("another handle");
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let is_answered = if is_tls {
                    let connection = rustls::ServerConnection::new(config()).expect("a connection");
                    tell(rustls::StreamOwned::new(connection, stream), &answer, &noted)
                } else {
                    tell_plainly(stream, &answer, &noted)
                };
                if is_answered {
                    let _ = other.shutdown(Shutdown::Write);
                } else {
                    kept.push(other);
                }
            }
        });
        Teller { port, asked }
    }

    /// Returns the heads of what it was asked.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("whole").clone()
    }
}

/// Answers whatever comes, as a server does that is spoken to in another tongue.
fn tell_plainly(mut stream: TcpStream, answer: &impl Fn() -> Option<String>, noted: &Mutex<Vec<String>>) -> bool {
    let mut first = [0; 4096];
    if let Ok(read @ 1..) = stream.read(&mut first) {
        noted.lock().expect("whole").push(String::from_utf8_lossy(&first[..read]).into_owned());
        let answer = answer().unwrap_or_default();
        let _ = stream.write_all(answer.as_bytes());
    }
    true
}

/// Returns the head of what somebody asks, as far as it comes.
pub fn head(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    for _ in 0..100 {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(read) if read > 0 && line != "\r\n" => head.push_str(&line),
            _ => break,
        }
    }
    head
}

/// Returns whether there was an answer.
fn tell(stream: impl Read + Write, answer: &impl Fn() -> Option<String>, noted: &Mutex<Vec<String>>) -> bool {
    let mut stream = BufReader::new(stream);
    let head = head(&mut stream);
    if head.is_empty() {
        // No greeting that was accepted: whoever it was has gone.
        return true;
    }
    noted.lock().expect("whole").push(head);
    let Some(answer) = answer() else { return false };
    let _ = stream.get_mut().write_all(answer.as_bytes());
    let _ = stream.get_mut().flush();
    true
}
