//! One question to one server outside: bounded in time and size, and only to whom it may be put.
//!
//! An address in a channel's file, or behind a name in it, could lead into this network: to a service that trusts
//! whoever is inside, or to the one that hands out a cloud machine's keys. So a name is resolved once, every address
//! it has is judged, and the connection goes to one of those that were judged. No redirect is followed. What is
//! answered is shown to whoever tries the channel, in a line, and to nobody else.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::secret::{Secret, SecretError};
use super::{Again, Conversation, Trouble};
use crate::lifecycle::channel::MaybeSecret;
use crate::lifecycle::channel::server::{Server, Url};
use crate::lifecycle::time::{Span, Timestamp};
use crate::tls::{self, Driven, NoConnection};

/// What is read of an answer: nobody who is told something has more to say.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The head of an answer.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long an answer that has begun may take to end. What it comes to is in its head.
const BODY_TIME: Duration = Duration::from_secs(5);
/// What is shown of an answer.
const SHOWN_CHARS_MAX: usize = 200;
/// A server with more has some that work among these.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Whoever asks for more is asked again after a day: by then it has been given up, or is worth a try.
const AFTER_MAX: Duration = Duration::from_secs(86_400);
/// The shortest part of a secret address that is looked for in answers; what is shorter is no secret.
const SECRET_PART_CHARS: usize = 8;

/// What is put to a server.
#[derive(Debug)]
pub struct Question {
    /// How.
    pub method: Method,
    /// What stands in the head beside what every question has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What follows it.
    pub body: Bytes,
}

/// What a server said to it that took it.
#[derive(Debug)]
pub struct Answer {
    /// In a number.
    pub status: StatusCode,
    /// In words; the beginning of it where there is much.
    pub body: String,
}

/// What is left of a server's time limit, from when this is made.
#[derive(Debug)]
pub struct Limit {
    span: Span,
    over: Pin<Box<Sleep>>,
}

impl Limit {
    /// Begins a server's time limit.
    pub fn of(server: &Server) -> Limit {
        Limit { span: server.time_limit.clone(), over: Box::pin(tokio::time::sleep(duration(&server.time_limit))) }
    }

    /// Returns what something comes to; `None` where the time is over first.
    async fn within<T>(&mut self, something: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            come_to = something => Some(come_to),
            () = self.over.as_mut() => None,
        }
    }
}

fn duration(span: &Span) -> Duration {
    Duration::from_millis(u64::try_from(span.millis()).unwrap_or_default())
}

/// Reads secrets from where they are, beside those who must not wait.
pub async fn reading<T: Send + 'static>(
    limit: &mut Limit,
    read: impl FnOnce() -> Result<T, SecretError> + Send + 'static,
) -> Result<T, Trouble> {
    let read = limit.within(tokio::task::spawn_blocking(read)).await;
    let read =
        read.ok_or_else(|| Trouble::later(format!("a secret could not be read within {}", limit.span.written())))?;
    let read = read.map_err(|_| Trouble::later("failed to read a secret"))?;
    read.map_err(|error| Trouble::changed(format!("failed to read a secret: {error}")))
}

/// Returns the address that a text says. Where it is a secret, nothing of it but the host is ever told.
pub fn address(server: &Server, text: &str, conversation: &mut Conversation) -> Result<Url, Trouble> {
    let url = Url::parse(text).map_err(|error| Trouble::changed(format!("url {error}: {}", error.hint())))?;
    if matches!(server.url, MaybeSecret::Secret(_)) {
        conversation.hide(&Secret::of(text));
        // A `/` is none, and would blank every other.
        if url.target.len() > SECRET_PART_CHARS {
            conversation.hide(&Secret::of(&url.target));
        }
        for part in url.target.split(['/', '?', '&', '=']).filter(|part| part.len() >= SECRET_PART_CHARS) {
            conversation.hide(&Secret::of(part));
        }
    }
    Ok(url)
}

/// Puts a question to a server, within its time limit. `shown` is what the conversation shows of the body. Whoever has
/// said what it comes to has answered, also where the rest does not come in time.
pub async fn ask(
    server: &Server,
    url: &Url,
    question: Question,
    shown: &str,
    sent_at: Timestamp,
    limit: &mut Limit,
    conversation: &mut Conversation,
) -> Result<Answer, Trouble> {
    let begun = limit.within(put(server, url, question, shown, conversation)).await;
    let begun = begun
        .unwrap_or_else(|| Err(Trouble::later(format!("{} did not answer within {}", url.host, limit.span.written()))));
    let (answer, driven) = begun?;
    let (head, body) = answer.into_parts();
    let verdict = verdict(&url.host, head.status, &head.headers, sent_at);
    conversation.heard(format!("HTTP/1.1 {}", head.status));
    if let Some(after) = head.headers.get(RETRY_AFTER) {
        conversation.heard(format!("retry-after: {}", String::from_utf8_lossy(after.as_bytes())));
    }
    let mut kept = Vec::new();
    // What breaks off or does not end changes nothing of what the head said.
    let _ = limit.within(tokio::time::timeout(BODY_TIME, read(body, &mut kept))).await;
    drop(driven);
    let body = String::from_utf8_lossy(&kept).into_owned();
    // Blanked before it is cut: half a secret would not be known again.
    let said = conversation.blanked(&body);
    if let Some(line) = said.lines().find(|line| !line.trim().is_empty()) {
        conversation.heard(line.chars().take(SHOWN_CHARS_MAX).collect::<String>());
    }
    verdict.map(|()| Answer { status: head.status, body })
}

/// Returns an answer whose body is to come, and what brings it.
async fn put(
    server: &Server,
    url: &Url,
    question: Question,
    shown: &str,
    conversation: &mut Conversation,
) -> Result<(Response<Incoming>, Driven), Trouble> {
    let host = &url.host;
    if !url.is_tls && !is_allowed_by_name(server, host) {
        return Err(Trouble::changed(format!(
            "{host} would be asked by http://, which whoever is on the way reads (write https://, or allow it in \
             allow_hosts)"
        )));
    }
    let found = tokio::net::lookup_host((&**host, url.port)).await;
    let found = found.map_err(|error| Trouble::later(format!("{host} cannot be found: {error}")))?;
    let addresses = judged(server, host, found.collect())?;
    let stream = connected(&addresses, host, duration(&server.time_limit), conversation).await?;
    let mut request = Request::builder()
        .method(question.method)
        .uri(&*url.target)
        .body(Full::new(question.body))
        .map_err(|error| Trouble::changed(format!("failed to form the request: {error}")))?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("snapkeep/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in question.headers {
        headers.insert(name, value);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let authority = HeaderValue::from_str(&host_line(url));
    headers.insert(HOST, authority.map_err(|_| Trouble::changed("url has no host that can be one"))?);
    if url.is_tls {
        let ca = server.ca.clone();
        // Read each time: certificates are renewed while a daemon is up.
        let tls = tokio::task::spawn_blocking(move || tls::connector(ca.as_deref())).await;
        let tls = tls.map_err(|_| Trouble::later("failed to set up TLS"))?;
        let tls = tls.map_err(|error| Trouble::changed(error.to_string()))?;
        let stream = tls::connect(&tls, host, stream).await.map_err(|error| untrusted(host, &error))?;
        conversation.note(format!("{host} is who it should be"));
        put_on(server, url, stream, request, shown, conversation).await
    } else {
        put_on(server, url, stream, request, shown, conversation).await
    }
}

/// As browsers and everybody say it: the port where it is not the usual one.
fn host_line(url: &Url) -> String {
    let authority = url.authority();
    let usual = if url.is_tls { ":443" } else { ":80" };
    authority.strip_suffix(usual).map_or(authority.clone(), str::to_owned)
}

async fn put_on<S>(
    server: &Server,
    url: &Url,
    stream: S,
    request: Request<Full<Bytes>>,
    shown: &str,
    conversation: &mut Conversation,
) -> Result<(Response<Incoming>, Driven), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let target = if matches!(server.url, MaybeSecret::Secret(_)) { "/***" } else { &*url.target };
    conversation.sent(format!("{} {target} HTTP/1.1", request.method()));
    conversation.sent(format!("host: {}", host_line(url)));
    conversation.sent(shown);
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX);
    let broke_off = |error: hyper::Error| Trouble::later(format!("{} broke off: {error}", url.host));
    tls::ask(&http, stream, request).await.map_err(broke_off)
}

/// Keeps as much of an answer as is wanted, or as comes.
async fn read(mut body: Incoming, kept: &mut Vec<u8>) {
    while kept.len() < ANSWER_BYTES_MAX {
        let Some(Ok(frame)) = body.frame().await else { return };
        let Ok(data) = frame.into_data() else { continue };
        kept.extend_from_slice(&data[..data.len().min(ANSWER_BYTES_MAX - kept.len())]);
    }
}

/// Returns what a status says about when to try again.
fn verdict(host: &str, status: StatusCode, head: &HeaderMap, sent_at: Timestamp) -> Result<(), Trouble> {
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        let place = head.get(LOCATION).and_then(|location| location.to_str().ok());
        let place = match place.map(Url::parse) {
            Some(Ok(url)) => format!(" to {}", url.host),
            Some(Err(_)) => " to another place".to_owned(),
            None => String::new(),
        };
        return Err(Trouble::changed(format!("{host} answers {status} and sends us{place}; nobody is followed")));
    }
    let why = format!("{host} answers {status}");
    let after = head.get(RETRY_AFTER).and_then(|after| retry_after(after, sent_at)).filter(|after| !after.is_zero());
    let again = match (after, status.as_u16()) {
        (Some(after), 400..) => Again::After(after),
        (_, 408 | 425 | 429 | 500..) => Again::Later,
        _ => Again::Changed,
    };
    Err(Trouble { why, again, partly: false })
}

/// Returns how long a server wants to be left alone (RFC 9110, 10.2.3): seconds, or until a date.
fn retry_after(value: &HeaderValue, sent_at: Timestamp) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let after = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are a long time too.
        text.parse().map_or(AFTER_MAX, Duration::from_secs)
    } else {
        let date = text.ends_with(" GMT").then(|| DateTimeParser::new().parse_timestamp(text).ok())??;
        let until = Timestamp::from_millis(date.as_millisecond()).since(sent_at);
        Duration::from_millis(u64::try_from(until).unwrap_or_default())
    };
    Some(after.min(AFTER_MAX))
}

/// Goes to one address after the other; each has its share of the time.
async fn connected(
    addresses: &[SocketAddr],
    host: &str,
    limit: Duration,
    conversation: &mut Conversation,
) -> Result<TcpStream, Trouble> {
    let tried = &addresses[..addresses.len().min(ADDRESSES_TRIED_MAX)];
    let share = limit / u32::try_from(tried.len().max(1)).unwrap_or(1);
    let mut last = "it has no address".to_owned();
    for address in tried {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                conversation.note(format!("{host} is reached at {address}"));
                return Ok(stream);
            }
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address} does not answer"),
        }
        conversation.note(format!("{host} is not reached: {last}"));
    }
    Err(Trouble::later(format!("{host} cannot be reached: {last}")))
}

fn untrusted(host: &str, error: &NoConnection) -> Trouble {
    let why = format!("{host} {error}");
    let cause = match error {
        NoConnection::Name(_) => return Trouble::changed(format!("{host}: {error}")),
        NoConnection::Untrusted(error) => error,
    };
    // What the other side says, or that it goes, may be over soon; what it is, is not.
    match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        None | Some(rustls::Error::AlertReceived(_)) => Trouble::later(why),
        Some(_) if cause.kind() == io::ErrorKind::UnexpectedEof => Trouble::later(why),
        Some(_) => Trouble::changed(why),
    }
}

/// What an address is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Anybody's.
    Outside,
    /// In this machine or its network: whoever runs it may allow it by its name.
    Inside(&'static str),
    /// No place for a notice, whatever its name; only where the address itself is allowed.
    Never(&'static str),
}

/// Those that hand out the keys and the words of a cloud machine: Amazon and all who follow it are within the
/// link-local ones.
const METADATA_4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
const METADATA: &str = "hands out what a machine must keep to itself";

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_4(address),
        IpAddr::V6(address) => place_6(address),
    }
}

/// After IANA's registry of addresses for special purposes.
fn place_4(address: Ipv4Addr) -> Place {
    match address.octets() {
        _ if METADATA_4.contains(&address) => Place::Never(METADATA),
        [0, ..] => Place::Never("is no machine's"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Place::Inside("is private"),
        [100, 64..=127, ..] => Place::Inside("is shared by a provider's customers"),
        [127, ..] => Place::Inside("is this machine"),
        [169, 254, ..] => Place::Never("is link-local"),
        [192, 0, 0, _] | [192, 88, 99, _] => Place::Never("is for special purposes"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Place::Never("is for documentation"),
        [198, 18 | 19, ..] => Place::Inside("is for measurements"),
        [224..=239, ..] => Place::Never("is multicast"),
        [240..=255, ..] => Place::Never("is reserved"),
        _ => Place::Outside,
    }
}

/// Only what is assigned to anybody is outside, and an address that carries one of version 4 is what that one is.
fn place_6(address: Ipv6Addr) -> Place {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        place_4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        _ if METADATA_6.contains(&address) => Place::Never(METADATA),
        [0, 0, 0, 0, 0, 0, 0, 0] => Place::Never("is no machine's"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Inside("is this machine"),
        // Mapped, compatible, translated (RFC 4291, RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0xfc00..=0xfdff, ..] => Place::Inside("is unique-local"),
        [0xfe80..=0xfebf, ..] => Place::Never("is link-local"),
        [0xfec0..=0xfeff, ..] => Place::Inside("is site-local"),
        [0xff00..=0xffff, ..] => Place::Never("is multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Place::Never("is for documentation"),
        [0x2001, 0..=0x1ff, ..] => Place::Never("is for special purposes"),
        [0x2000..=0x3fff, ..] => Place::Outside,
        _ => Place::Never("is nobody's"),
    }
}

fn is_allowed_by_name(server: &Server, host: &str) -> bool {
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string());
    server.allows(host) || address.is_some_and(|address| server.allows(&address))
}

/// Returns the addresses of a host, if every one of them may be asked: whoever has one that may not, and another that
/// may, is not asked at either.
fn judged(server: &Server, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Trouble> {
    for address in addresses.iter().map(SocketAddr::ip) {
        let is_allowed = server.allows(&address.to_canonical().to_string());
        let why = match place(address) {
            Place::Outside => continue,
            _ if is_allowed => continue,
            Place::Inside(_) if server.allows(host) => continue,
            Place::Inside(why) => format!("{why} (allow_hosts = [\"{host}\"] allows it)"),
            Place::Never(why) => why.to_owned(),
        };
        return Err(Trouble::changed(format!("{host} is at {address}, which {why}: it is not asked")));
    }
    Ok(addresses)
}

/// Returns a name and a value as a head takes them.
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Trouble> {
    let unfit = || Trouble::changed(format!("header {name} comes to what no header can hold"));
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit())?;
    Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?, value))
}

#[cfg(test)]
mod tests;
