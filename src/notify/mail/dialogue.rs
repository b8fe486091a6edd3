//! One mail, handed to one server, step by step: every step is noted, and has an error that says which it was.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Quit, Rcpt, Starttls};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Code, Severity};
use tokio::net::{TcpStream, lookup_host};

use super::means::Means;
use super::wire::{Heard, Wire};
use crate::lifecycle::channel::mail::{Mail, Tls};
use crate::notify::secret::Secret;
use crate::notify::{Again, Conversation, Trouble};
use crate::tls::{self, NoConnection};

/// No server of one name has more that are worth trying one after the other.
const ADDRESSES_MAX: usize = 8;
/// A server that has the mail is not waited for any longer than this.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// What an answer is worth of in an error.
const ANSWER_CHARS_MAX: usize = 600;

/// What is handed over.
#[derive(Debug)]
pub struct Post<'a> {
    /// Who it is from.
    pub from: Address,
    /// Who is to have it. Never empty.
    pub to: Vec<Address>,
    /// The mail.
    pub mail: &'a [u8],
}

/// What became of a mail that was handed over: the server has it, for some at least.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// What the server said to it.
    pub answer: String,
    /// For whom it did not take it, and why.
    pub refused: Vec<(Address, Trouble)>,
}

/// What goes on with a server.
#[derive(Debug)]
pub struct Dialogue<'a> {
    settings: &'a Mail,
    conversation: &'a mut Conversation,
    heard: Heard,
    connection: Option<Connection>,
    /// What is being done. Completes "failed to".
    step: String,
}

/// What the library does not show of itself.
struct Connection(AsyncSmtpConnection);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl<'a> Dialogue<'a> {
    /// Returns one that has not begun.
    pub fn new(settings: &'a Mail, conversation: &'a mut Conversation) -> Dialogue<'a> {
        let (heard, step) = (Heard::default(), "read the password and whom to trust".into());
        Dialogue { settings, conversation, heard, connection: None, step }
    }

    /// Hands a mail over. May be dropped at any moment; then it is open whether the server has it.
    pub async fn hold(&mut self, post: &Post<'_>) -> Result<Taken, Trouble> {
        let means = Means::read(self.settings, self.conversation).await?;
        self.greet(&means).await?;
        if let Some((user, password)) = &means.login {
            self.log_in(user, password).await?;
        }
        self.hand_over(post).await
    }

    /// Says goodbye, where there is somebody who listens. Nothing depends on it.
    pub async fn end(mut self) {
        if let Some(Connection(mut connection)) = self.connection.take()
            && !connection.has_broken()
        {
            self.conversation.sent("QUIT");
            // The mail is there or is not, whatever is said to this.
            let _ = tokio::time::timeout(GOODBYE_MAX, connection.command(Quit)).await;
            self.note_heard();
        }
    }

    /// Returns what it comes to that the time is up.
    pub fn out_of_time(&mut self) -> Trouble {
        let heard = self.note_heard();
        self.conversation.note("the time is up");
        // Who did not answer in time is not waited for to say goodbye.
        self.connection = None;
        // The library says goodbye to some who refuse, and waits for their answer to that.
        match refusal(&heard) {
            Some(refusal) if refusal.starts_with('5') => self.fail(Again::Changed, one_line(refusal)),
            Some(refusal) => self.fail(Again::Later, one_line(refusal)),
            None => {
                let limit = self.settings.time_limit.written();
                self.fail(Again::Later, format_args!("it took longer than {limit}"))
            }
        }
    }

    fn server(&self) -> String {
        tls::authority(&self.settings.host, self.settings.port)
    }

    fn fail(&self, again: Again, why: impl std::fmt::Display) -> Trouble {
        Trouble { why: format!("failed to {}: {why}", self.step), again, partly: false }
    }

    /// Connects, makes sure who the server is, and hears what it can do.
    async fn greet(&mut self, means: &Means) -> Result<(), Trouble> {
        let stream = self.connect().await?;
        // Commands are small and wait for their answers: held back they would only be late.
        let _ = stream.set_nodelay(true);
        let (peer, own) = match (stream.peer_addr(), stream.local_addr()) {
            (Ok(peer), Ok(own)) => (peer, own),
            (Err(error), _) | (_, Err(error)) => return Err(self.fail(Again::Later, error)),
        };
        // Our address is a name that every server takes; that of the machine may be no name elsewhere.
        let name = match own.ip().to_canonical() {
            std::net::IpAddr::V4(address) => ClientId::Ipv4(address),
            std::net::IpAddr::V6(address) => ClientId::Ipv6(address),
        };
        let connection = match self.settings.tls {
            Tls::None => self.hello(stream, peer, &name, None).await?,
            Tls::Implicit => {
                let stream = self.secure(means, stream).await?;
                self.hello(stream, peer, &name, None).await?
            }
            Tls::StartTls => {
                let stream = self.start_tls(stream, peer, &name).await?;
                let stream = self.secure(means, stream).await?;
                // The server does not greet again: what it said to STARTTLS stands for it.
                self.hello(stream, peer, &name, Some("220 go ahead\r\n")).await?
            }
        };
        self.connection = Some(Connection(connection));
        Ok(())
    }

    async fn connect(&mut self) -> Result<TcpStream, Trouble> {
        let Mail { host, port, tls, time_limit, .. } = self.settings;
        self.step = format!("look up {host}");
        let found = lookup_host((&**host, *port)).await.map_err(|error| self.fail(Again::Later, error))?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            if !addresses.contains(&address) && addresses.len() < ADDRESSES_MAX {
                addresses.push(address);
            }
        }
        if *tls == Tls::None {
            // Whoever changes what `localhost` is must not get mail that is open for all to read.
            addresses.retain(|address| address.ip().to_canonical().is_loopback());
            if addresses.is_empty() {
                return Err(self.fail(Again::Changed, "it is not on this machine, and nothing goes there without TLS"));
            }
        }
        let mut last = self.fail(Again::Later, "it has no address");
        // One that is silent leaves time for the others.
        let share = time_limit.millis() / (addresses.len() as i64 + 1);
        let share = Duration::from_millis(u64::try_from(share).unwrap_or_default());
        for address in addresses {
            self.step = format!("connect to {}", self.server());
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    self.conversation.note(format_args!("connected to {address}"));
                    return Ok(stream);
                }
                Ok(Err(error)) => last = self.fail(Again::Later, format_args!("{address}: {error}")),
                Err(_) => last = self.fail(Again::Later, format_args!("{address} does not answer")),
            }
            self.conversation.note(&last.why);
        }
        Err(last)
    }

    /// Hears the greeting and what the server can do. `ahead` stands for a greeting that was heard already.
    async fn hello<S>(
        &mut self,
        stream: S,
        peer: SocketAddr,
        name: &ClientId,
        ahead: Option<&str>,
    ) -> Result<AsyncSmtpConnection, Trouble>
    where
        Wire<S>: AsyncTokioStream + 'static,
    {
        self.step = format!("be greeted by {}", self.server());
        let wire = Wire::new(stream, peer, self.heard.clone(), ahead.unwrap_or_default().as_bytes());
        let connection = AsyncSmtpConnection::connect_with_transport(Box::new(wire), name).await;
        let heard = self.heard.take();
        // The library greets and says hello at once.
        let greeting = if ahead.is_some() { 0 } else { answer_end(&heard) };
        let (greeting, hello) = heard.split_at(greeting);
        self.conversation.heard(greeting);
        if ahead.is_some() || !hello.is_empty() {
            self.conversation.sent(format_args!("EHLO {name}"));
            self.conversation.heard(hello);
        }
        connection.map_err(|error| self.refused(&error, &heard))
    }

    /// Asks for TLS, and returns the connection as it was before; nothing that was heard on it counts any more.
    async fn start_tls(&mut self, stream: TcpStream, peer: SocketAddr, name: &ClientId) -> Result<TcpStream, Trouble> {
        let twin = |stream: TcpStream| -> io::Result<(TcpStream, TcpStream)> {
            let stream = stream.into_std()?;
            Ok((TcpStream::from_std(stream.try_clone()?)?, TcpStream::from_std(stream)?))
        };
        let (open, kept) = twin(stream).map_err(|error| self.fail(Again::Later, error))?;
        let mut connection = self.hello(open, peer, name, None).await?;
        self.step = format!("begin TLS with {}", self.server());
        if !connection.can_starttls() {
            let why = "the server does not offer STARTTLS, and nothing goes there without TLS";
            return Err(self.fail(Again::Changed, why));
        }
        self.conversation.sent("STARTTLS");
        let answer = connection.command(Starttls).await;
        let heard = self.note_heard();
        answer.map_err(|error| self.refused(&error, &heard))?;
        // What somebody on the way put behind the answer goes with the library's buffer, and is believed by nobody.
        drop(connection);
        Ok(kept)
    }

    async fn secure(
        &mut self,
        means: &Means,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Trouble> {
        self.step = format!("agree on TLS with {}", self.server());
        let Some(connector) = &means.tls else { return Err(self.fail(Again::Changed, "nobody is trusted")) };
        match tls::connect(connector, &self.settings.host, stream).await {
            Ok(stream) => {
                let agreed = stream.get_ref().1;
                let version = agreed.protocol_version().map(|version| format!("{version:?}")).unwrap_or_default();
                let suite = agreed.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
                let suite = suite.unwrap_or_default();
                self.conversation.note(format_args!("TLS with {}: {version}, {suite}", self.settings.host));
                Ok(stream)
            }
            Err(error) => {
                // A connection that breaks may hold the next time; who is not trusted is not trusted later.
                let again = match &error {
                    NoConnection::Untrusted(error) if !is_of_tls(error) => Again::Later,
                    NoConnection::Untrusted(_) | NoConnection::Name(_) => Again::Changed,
                };
                let trouble = self.fail(again, error);
                self.conversation.note(&trouble.why);
                Err(trouble)
            }
        }
    }

    async fn log_in(&mut self, user: &str, password: &Secret) -> Result<(), Trouble> {
        self.step = format!("log in as {user} to {}", self.server());
        let Some(Connection(connection)) = &mut self.connection else { return Err(self.gone()) };
        let known = [Mechanism::Plain, Mechanism::Login];
        let Some(mechanism) = connection.server_info().get_auth_mechanism(&known) else {
            return Err(self.fail(Again::Changed, "the server takes no password: it offers neither PLAIN nor LOGIN"));
        };
        self.conversation.sent(format_args!("AUTH {mechanism} ***"));
        let credentials = Credentials::new(user.into(), password.text().into());
        let answer = connection.auth(&[mechanism], &credentials).await;
        let heard = self.note_heard();
        answer.map_err(|error| self.refused(&error, &heard))?;
        Ok(())
    }

    async fn hand_over(&mut self, post: &Post<'_>) -> Result<Taken, Trouble> {
        self.step = format!("send from {}", post.from);
        self.say(format!("MAIL FROM:<{}>", post.from), MailFrom::new(Some(post.from.clone()), vec![]), 2).await?;
        let mut refused = Vec::new();
        for to in &post.to {
            self.step = format!("send to {to}");
            match self.say(format!("RCPT TO:<{to}>"), Rcpt::new(to.clone(), vec![]), 2).await {
                Ok(_) => {}
                // One who is not taken keeps nobody else from having it, as long as there is a server.
                Err((trouble, true)) => refused.push((to.clone(), trouble)),
                Err((trouble, false)) => return Err(trouble),
            }
        }
        if refused.len() == post.to.len() {
            return Err(all_of(refused));
        }
        self.step = format!("send the mail to {}", self.server());
        self.say("DATA".into(), Data, 3).await?;
        self.conversation.note(format_args!("the mail, {} bytes", post.mail.len()));
        let Some(Connection(connection)) = &mut self.connection else { return Err(self.gone()) };
        let said = connection.message(post.mail).await.map(|response| response.code());
        let heard = self.note_heard();
        let answer = self.judge(said, &heard, 2)?;
        Ok(Taken { answer, refused })
    }

    /// Says a command, and returns what was answered where it begins with the digit `expected`. An error also
    /// says whether the server answered at all, so that more can be said to it.
    async fn say<C: std::fmt::Display>(
        &mut self,
        shown: String,
        command: C,
        expected: u8,
    ) -> Result<String, (Trouble, bool)> {
        self.conversation.sent(shown);
        let Some(Connection(connection)) = &mut self.connection else { return Err((self.gone(), false)) };
        let said = connection.command(command).await.map(|response| response.code());
        let heard = self.note_heard();
        // 421 is the last that a server says.
        let answered = match &said {
            Ok(_) => true,
            Err(error) => error.status().is_some_and(|code| u16::from(code) != 421),
        };
        self.judge(said, &heard, expected).map_err(|trouble| (trouble, answered))
    }

    fn judge(
        &self,
        said: Result<Code, lettre::transport::smtp::Error>,
        heard: &str,
        expected: u8,
    ) -> Result<String, Trouble> {
        match said {
            Ok(code) if code.severity as u8 == expected => Ok(one_line(heard)),
            // Who answers something else than was asked is not understood, and not believed.
            Ok(_) => Err(self.fail(Again::Later, format_args!("the server says something else: {}", one_line(heard)))),
            Err(error) => Err(self.refused(&error, heard)),
        }
    }

    /// Returns what it comes to that the library has an error to tell: the server's own words, where it said any.
    fn refused(&self, error: &lettre::transport::smtp::Error, heard: &str) -> Trouble {
        // What was said before and after it, to other parts of the same step, is no refusal.
        let said = one_line(refusal(heard).unwrap_or(heard));
        match error.status().map(|code| code.severity) {
            Some(Severity::PermanentNegativeCompletion) => self.fail(Again::Changed, said),
            Some(_) => self.fail(Again::Later, said),
            None if error.is_client() => self.fail(Again::Changed, error),
            None if error.is_response() && !heard.is_empty() => {
                self.fail(Again::Later, format_args!("the server says something else: {said}"))
            }
            None => {
                let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                self.fail(Again::Later, format_args!("the connection ended: {cause}"))
            }
        }
    }

    fn gone(&self) -> Trouble {
        self.fail(Again::Later, "there is no connection")
    }

    fn note_heard(&mut self) -> String {
        let heard = self.heard.take();
        self.conversation.heard(&heard);
        heard
    }
}

impl From<(Trouble, bool)> for Trouble {
    fn from((trouble, _): (Trouble, bool)) -> Trouble {
        trouble
    }
}

/// Returns one trouble for several: it is worth trying again as soon as it is for any.
pub fn all_of(refused: Vec<(Address, Trouble)>) -> Trouble {
    let later = refused.iter().find(|(_, trouble)| trouble.again != Again::Changed);
    let again = later.map_or(Again::Changed, |(_, trouble)| trouble.again);
    let why: Vec<String> = refused.into_iter().map(|(_, trouble)| trouble.why).collect();
    Trouble { why: why.join("; "), again, partly: false }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Returns where the first answer ends: after the first line whose code is followed by no hyphen.
fn answer_end(heard: &str) -> usize {
    let mut end = 0;
    for line in heard.split_inclusive('\n') {
        end += line.len();
        if line.as_bytes().get(3) != Some(&b'-') {
            break;
        }
    }
    end
}

/// Returns the last answer that refuses something.
fn refusal(heard: &str) -> Option<&str> {
    let mut rest = heard;
    let mut found = None;
    while !rest.is_empty() {
        let (answer, after) = rest.split_at(answer_end(rest));
        if answer.starts_with(['4', '5']) {
            found = Some(answer);
        }
        rest = after;
    }
    found
}

fn one_line(heard: &str) -> String {
    let said = heard.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().filter(|c| !c.is_control()).take(ANSWER_CHARS_MAX).collect();
    if said.is_empty() { "the server said nothing".into() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_their_last_lines() {
        for (heard, end, refused) in [
            ("", 0, None),
            ("220 a\r\n", 7, None),
            ("220-a\r\n220 b\r\n250-c\r\n250 d\r\n", 14, None),
            ("334 a\r\n334 b\r\n535-c\r\n535 d\r\n221 e\r\n", 7, Some("535-c\r\n535 d\r\n")),
            ("220-cut", 7, None),
            ("4", 1, Some("4")),
        ] {
            assert_eq!((answer_end(heard), refusal(heard)), (end, refused), "{heard:?}");
        }
    }

    #[test]
    fn several_troubles_are_over_as_soon_as_one_is() {
        let address = |text: &str| text.parse::<Address>().expect("an address");
        let changed = || (address("a@a.example"), Trouble::changed("a is not there"));
        let later = || (address("b@a.example"), Trouble::later("b is full"));
        assert_eq!(all_of(vec![changed(), changed()]).again, Again::Changed);
        assert_eq!(all_of(vec![changed(), later()]), Trouble::later("a is not there; b is full"));
    }
}
