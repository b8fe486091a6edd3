//! The policies of a running server that speaks OpenSearch's API: read, page by page, and nothing else.
//!
//! Every wait and every answer has a bound, no redirect is followed, and nothing that was given as a
//! secret is in a message.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::out::{Exit, Failure};
use crate::config::sm::POLICIES;
use crate::tls::{self, NoAuthority, NoConnection};

/// Below what OpenSearch answers at most, 10,000, and few enough for one answer.
const PAGE: usize = 500;
/// More than anybody has; a server that says more is not believed.
const POLICIES_MAX: u64 = 100_000;
/// Five hundred policies of sixty kilobytes each.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// All answers together: a hundred thousand policies of two kilobytes, and some.
const BYTES_MAX: usize = 256 << 20;
/// Whoever answers in smaller pieces than OpenSearch's own twenty at a time wants to be read for ever.
const PAGES_MAX: usize = 5000;
/// For one answer, connection included.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// A server's own words, as far as they help.
const REASON_CHARACTERS_MAX: usize = 200;

/// Who asks.
pub enum Credentials {
    /// Nobody in particular.
    None,
    /// A user with a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// Whoever has the token.
    Bearer(String),
}

/// A server.
pub struct Remote {
    host: String,
    port: u16,
    /// What stands before the API's own path.
    prefix: String,
    authorization: Option<HeaderValue>,
    secrets: Vec<String>,
    tls: Option<TlsConnector>,
    answer_time: Duration,
}

/// Whether a text is the address of a server, and no file.
pub fn is_address(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.starts_with("http://") || text.starts_with("https://")
}

impl Remote {
    /// Returns the server at an address. `ca` is trusted in place of the system's certificates.
    pub fn new(address: &str, credentials: &Credentials, ca: Option<PathBuf>) -> Result<Remote, Failure> {
        let usage = |message: &str| Failure::new(Exit::Usage, message);
        let uri: Uri = address.parse().map_err(|_| usage("the address is no URL"))?;
        let authority = uri.authority().ok_or_else(|| usage("the address has no host"))?;
        if authority.as_str().contains('@') {
            // It stands in the list of processes already; at least it goes no further.
            return Err(usage("the address holds a user or a password")
                .hint("give --user NAME and --password-file FILE; what stands on a command line everybody can read"));
        }
        if uri.query().is_some() {
            return Err(usage("the address has a query").hint("give host and port: https://host:9200"));
        }
        let is_tls = uri.scheme_str() == Some("https");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_string();
        let (authorization, secrets) = header(credentials)?;
        if authorization.is_some() && !is_tls && !is_here(&host) {
            return Err(usage("a password or token would cross the network unencrypted").hint("use https://"));
        }
        if ca.is_some() && !is_tls {
            return Err(usage("--ca means nothing without https://"));
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Remote {
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            host,
            prefix: path.strip_suffix(POLICIES).unwrap_or(path).to_string(),
            authorization,
            secrets,
            tls: if is_tls { Some(connector(ca)?) } else { None },
            answer_time: ANSWER_TIME,
        })
    }

    /// Returns the server with another bound for each of its answers.
    #[must_use]
    pub fn with_answer_time(mut self, answer_time: Duration) -> Remote {
        self.answer_time = answer_time;
        self
    }

    /// Returns every policy there, as the entries of a list, or why not.
    pub fn policies(&self) -> Result<Vec<Value>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("failed to start: {error}")))?;
        let policies = runtime.block_on(self.pages());
        // A name that is still being looked up has nobody to wait for it.
        runtime.shutdown_background();
        policies
    }

    async fn pages(&self) -> Result<Vec<Value>, Failure> {
        let mut found: BTreeMap<String, Value> = BTreeMap::new();
        let (mut from, mut bytes) = (0, 0);
        for _ in 0..PAGES_MAX {
            let (total, page, length) = self.page(from).await?;
            bytes += length;
            if bytes > BYTES_MAX {
                return Err(self.failed(format!("answers with more than {} MB", BYTES_MAX >> 20)));
            }
            if total > POLICIES_MAX {
                return Err(self.failed(format!("claims to have {total} policies")));
            }
            from += page.len();
            let is_empty = page.is_empty();
            for (index, policy) in page.into_iter().enumerate() {
                let id = policy.get("_id").and_then(Value::as_str);
                let id = id.map_or_else(|| format!("\u{1}{from} {index}"), str::to_string);
                found.insert(id, policy);
            }
            if from as u64 >= total {
                // One that was made or deleted meanwhile has moved the others between the pages.
                return match found.len() as u64 == total {
                    true => Ok(found.into_values().collect()),
                    false => Err(self.failed("changed its policies while they were read").hint("try again")),
                };
            }
            if is_empty {
                return Err(self.failed(format!("listed {} of {total} policies", found.len())));
            }
        }
        Err(self.failed(format!("answers with more than {PAGES_MAX} pages")))
    }

    /// Returns how many policies there are, those that come after `from`, and the length of the answer.
    async fn page(&self, from: usize) -> Result<(u64, Vec<Value>, usize), Failure> {
        let path = format!("{}{POLICIES}?from={from}&size={PAGE}", self.prefix);
        let answer = match tokio::time::timeout(self.answer_time, self.exchange(&path)).await {
            Ok(answer) => answer?,
            Err(_) => {
                let message = format!("did not answer within {} s", self.answer_time.as_secs_f32());
                return Err(self.unreachable(message));
            }
        };
        let length = answer.len();
        let mut answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| self.failed(format!("answered with something that is no JSON: {error}")))?;
        let total = answer.get("total_policies").and_then(Value::as_u64);
        let policies = match answer.get_mut("policies").map(Value::take) {
            Some(Value::Array(policies)) => Some(policies),
            _ => None,
        };
        match (total, policies) {
            (Some(total), Some(policies)) => Ok((total, policies, length)),
            _ => Err(self.failed("answered with something that is no list of policies")),
        }
    }

    async fn exchange(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| self.unreachable(format!("cannot be reached: {error}")))?;
        let Some(tls) = &self.tls else { return self.ask(stream, path).await };
        let stream = tls::connect(tls, &self.host, stream).await.map_err(|error| match &error {
            NoConnection::Name(_) => Failure::new(Exit::Usage, error.to_string()),
            NoConnection::Untrusted(_) => {
                let failure = self.unreachable(error.to_string());
                failure.hint("--ca FILE names the certificate of whoever signed the server's")
            }
        })?;
        self.ask(stream, path).await
    }

    async fn ask<S>(&self, stream: S, path: &str) -> Result<Vec<u8>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broke_off = |error: &dyn std::fmt::Display| self.unreachable(format!("broke off: {error}"));
        let mut request = Request::get(path)
            .header(HOST, tls::authority(&self.host, self.port))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("snapkeep/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| Failure::new(Exit::Usage, format!("failed to form the request: {error}")))?;
        let answer = tls::ask(&http1::Builder::new(), stream, request).await;
        let (answer, driven) = answer.map_err(|error| broke_off(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        drop(driven);
        let body = body.map_err(|error| match error.downcast_ref::<http_body_util::LengthLimitError>() {
            Some(_) => self.failed(format!("answers with more than {} MB", ANSWER_BYTES_MAX >> 20)),
            None => broke_off(&error),
        });
        match status {
            StatusCode::OK => Ok(body?.to_bytes().to_vec()),
            status => Err(self.refused(status, &body.map(|body| body.to_bytes()).unwrap_or_default())),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let reason = serde_json::from_slice::<Value>(body).ok().and_then(|body| {
            let error = body.get("error").unwrap_or(&body);
            let reason = error.get("reason").or_else(|| error.get("detail")).unwrap_or(error);
            reason.as_str().map(|reason| reason.chars().take(REASON_CHARACTERS_MAX).collect::<String>())
        });
        let said = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        let failure = self.failed(format!("answered with status {}{said}", status.as_u16()));
        match status.as_u16() {
            300..=399 => failure.hint("redirects are not followed: give the address it leads to"),
            401 if self.authorization.is_none() => failure.hint("give --user NAME, or --token-file FILE"),
            401 => failure.hint("the password or token is not accepted"),
            403 => failure.hint("the user may not list snapshot management's policies"),
            404 | 405 => failure.hint("is there snapshot management at this address?"),
            _ => failure,
        }
    }

    fn failed(&self, message: impl AsRef<str>) -> Failure {
        Failure::new(Exit::Failed, self.told(message.as_ref()))
    }

    fn unreachable(&self, message: impl AsRef<str>) -> Failure {
        Failure::new(Exit::Unreachable, self.told(message.as_ref()))
    }

    /// Returns a message about the server. A server may answer with what it was sent.
    fn told(&self, message: &str) -> String {
        let plain = |message: String, secret: &String| message.replace(secret.as_str(), "…");
        let message = self.secrets.iter().filter(|secret| !secret.is_empty()).fold(message.to_string(), plain);
        format!("{}:{} {message}", self.host, self.port)
    }
}

fn header(credentials: &Credentials) -> Result<(Option<HeaderValue>, Vec<String>), Failure> {
    let (value, secrets) = match credentials {
        Credentials::None => return Ok((None, Vec::new())),
        Credentials::Basic { user, .. } if user.contains(':') => {
            return Err(Failure::new(Exit::Usage, "the user's name may hold no colon"));
        }
        Credentials::Basic { user, password } => {
            let both = STANDARD.encode(format!("{user}:{password}"));
            (format!("Basic {both}"), vec![both, password.clone()])
        }
        Credentials::Bearer(token) => (format!("Bearer {token}"), vec![token.clone()]),
    };
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| Failure::new(Exit::Usage, "the token holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok((Some(value), secrets))
}

/// Whether nobody else sees what is sent there.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn connector(ca: Option<PathBuf>) -> Result<TlsConnector, Failure> {
    tls::connector(ca.as_deref()).map_err(|error| match &error {
        NoAuthority::Unread { .. } => {
            Failure::new(Exit::Usage, error.to_string()).hint("--ca names a file with certificates in PEM")
        }
        NoAuthority::Nobody => Failure::new(Exit::Usage, error.to_string()).hint("give --ca FILE"),
        NoAuthority::SetUp(_) => Failure::new(Exit::Failed, error.to_string()),
    })
}
