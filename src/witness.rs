//! Asks servers what time it is, while the clock is doubted and their word would end it (G1).
//!
//! One `HEAD /` each over TLS, without anything of ours in it; of what comes back only the `Date` is read. No
//! redirect is followed, and time and size have a bound. Nobody is asked who is not named in `[clock]`, and
//! nobody while the clock is believed.
//!
//! What a server says is believed as far as its certificate is, and that is judged by the very clock that is
//! doubted. So a clock outside of the certificate's time gets no answer at all: it stays doubted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AGE, CACHE_CONTROL, DATE, HOST, HeaderMap, USER_AGENT};
use hyper::{Request, Uri};
use jiff::fmt::rfc2822::DateTimeParser;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::clock;
use crate::config::clock::{ClockSettings, WitnessAddress};
use crate::engine::event::{Event, Heard};
use crate::engine::view::View;
use crate::lifecycle::time::Timestamp;
use crate::tls;

/// For one answer, connection included: a server that is slower is of no use as a clock.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Between two rounds of questions: whoever tells the time is to notice nothing of us.
const ASK_EVERY_MS: i64 = 3_600_000;
/// How soon a doubt is noticed that comes up later.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Heads have a few hundred bytes; this is the least that can be set.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// An IMF-fixdate has no other length (RFC 9110, 5.6.7).
const DATE_BYTES: usize = 29;

/// Those who can be asked.
#[derive(Clone, Debug)]
pub struct Witnesses {
    addresses: Vec<WitnessAddress>,
    ca: Option<PathBuf>,
    answer_time: Duration,
}

impl Witnesses {
    /// Returns who is named; `None` where nobody is.
    pub fn new(settings: &ClockSettings) -> Option<Witnesses> {
        let ClockSettings { witnesses, ca } = settings.clone();
        (!witnesses.is_empty()).then_some(Witnesses { addresses: witnesses, ca, answer_time: ANSWER_TIME })
    }

    /// Returns the same with another bound for each of their answers.
    #[must_use]
    pub fn with_answer_time(mut self, answer_time: Duration) -> Witnesses {
        self.answer_time = answer_time;
        self
    }

    /// Asks whenever the engine wants to hear them, at most once an hour, and tells it. Ends with the runtime.
    pub async fn attend(self, view: Arc<View>, inbox: SyncSender<Event>) {
        let mut asked_at: Option<i64> = None;
        loop {
            let now = clock::now().uptime;
            if view.wants_witness() && asked_at.is_none_or(|at| now.saturating_sub(at) >= ASK_EVERY_MS) {
                asked_at = Some(now);
                // One that does not fit is asked for again in an hour.
                let _ = inbox.try_send(Event::Witnessed(self.ask().await));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks each of them, one after the other.
    pub async fn ask(&self) -> Vec<Heard> {
        let ca = self.ca.clone();
        // Read each time: certificates are renewed while a daemon is up.
        let tls = tokio::task::spawn_blocking(move || tls::connector(ca.as_deref())).await;
        let tls = tls.map_err(|error| error.to_string()).and_then(|tls| tls.map_err(|error| error.to_string()));
        let mut heard = Vec::new();
        for address in &self.addresses {
            let said = match &tls {
                Ok(tls) => match tokio::time::timeout(self.answer_time, ask(tls, address)).await {
                    Ok(said) => said,
                    Err(_) => Err(format!("no answer within {} s", self.answer_time.as_secs_f32())),
                },
                Err(why) => Err(why.clone()),
            };
            if let Err(why) = &said {
                tracing::warn!(witness = address.host, cause = why, "a witness of the clock was not heard");
            }
            // Read right after the answer: the question was under way for some seconds at most.
            heard.push(Heard { host: address.host.as_str().into(), taken: clock::now(), said });
        }
        heard
    }
}

/// Asks one server what time it is.
async fn ask(tls: &TlsConnector, address: &WitnessAddress) -> Result<Timestamp, String> {
    let WitnessAddress { host, port } = address;
    let stream = TcpStream::connect((host.as_str(), *port)).await;
    let stream = stream.map_err(|error| format!("it cannot be reached: {error}"))?;
    let stream = tls::connect(tls, host, stream).await.map_err(|error| format!("it {error}"))?;
    let broke_off = |error: hyper::Error| format!("it broke off: {error}");
    let request = Request::head(Uri::from_static("/"))
        .header(HOST, tls::authority(host, *port))
        .header(CACHE_CONTROL, "no-cache, no-store")
        .header(USER_AGENT, "snapkeep")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("failed to form the request: {error}"))?;
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES_MAX);
    let (answer, _driven) = tls::ask(&http, stream, request).await.map_err(broke_off)?;
    // Whatever the status: a server that has no such page, or sends us elsewhere, has a clock.
    date(answer.headers())
}

/// Returns when an answer was made.
fn date(head: &HeaderMap) -> Result<Timestamp, String> {
    // The date is of the answer that was kept then.
    if head.get_all(AGE).iter().any(|age| age.as_bytes() != b"0") {
        return Err("its answer comes from a cache".to_owned());
    }
    let mut dates = head.get_all(DATE).iter();
    let (Some(date), None) = (dates.next(), dates.next()) else {
        return Err("its answer has no Date, or several".to_owned());
    };
    // The older forms of RFC 9110 have no zone or only two digits of the year: nobody sends them.
    let text = date.to_str().ok().filter(|text| text.len() == DATE_BYTES && text.ends_with(" GMT"));
    let read = text.and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
    let read = read.ok_or_else(|| "the Date of its answer is no date".to_owned())?;
    Ok(Timestamp::from_millis(read.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn only_one_whole_date_of_now_is_a_date() {
        let of = |dates: &[&'static str], age: Option<&'static str>| {
            let mut head = HeaderMap::new();
            for date in dates {
                head.append(DATE, HeaderValue::from_static(date));
            }
            age.map(|age| head.append(AGE, HeaderValue::from_static(age)));
            date(&head).map(|at| at.to_string())
        };
        let good = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(of(&[good], None).as_deref(), Ok("1994-11-06T08:49:37Z"));
        assert_eq!(of(&[good], Some("0")).as_deref(), Ok("1994-11-06T08:49:37Z"));
        for (dates, age) in [
            (&[good][..], Some("30")),
            (&[good][..], Some("")),
            (&[][..], None),
            (&[good, good][..], None),
            (&["Sunday, 06-Nov-94 08:49:37 GMT"][..], None),
            (&["Sun Nov  6 08:49:37 1994"][..], None),
            (&["Mon, 06 Nov 1994 08:49:37 GMT"][..], None),
            (&["Sun, 36 Nov 1994 08:49:37 GMT"][..], None),
            (&["Sun, 06 Nov 1994 08:49:37 EST"][..], None),
            (&["Sun, 06 Nov 1994 08:49:37 +0000"][..], None),
            (&["784111777"][..], None),
            (&[""][..], None),
        ] {
            assert!(of(dates, age).is_err(), "{dates:?} {age:?}");
        }
    }
}
