//! A server that is asked by HTTP: where it is, who it must be, and how long it has.

use std::fmt;
use std::path::PathBuf;

use super::MaybeSecret;
use crate::lifecycle::time::Span;

/// A server that is told something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where. A secret where whoever knows it may write there.
    pub url: MaybeSecret,
    /// Who says that it is who it should be, in place of the system's authorities.
    pub ca: Option<PathBuf>,
    /// For everything: the name, the connection, the question and the answer.
    pub time_limit: Span,
    /// Names and addresses in this network that may be asked; all others there are refused.
    pub allow_hosts: Vec<Box<str>>,
}

impl Server {
    /// Enough for a busy server, and a stuck one keeps nobody waiting.
    pub const TIME_LIMIT: &'static str = "30s";
    /// Whoever delivers gives up after two minutes: this ends before, and says why.
    pub const TIME_LIMIT_MAX: &'static str = "90s";

    /// Whether `host` is among those that are allowed, as a name or as an address.
    pub fn allows(&self, host: &str) -> bool {
        self.allow_hosts.iter().any(|allowed| **allowed == *host)
    }
}

/// An address of the web, in its parts. It may be a secret: it shows no more than the host.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is asked over TLS.
    pub is_tls: bool,
    /// A name in lower case without a dot at its end, or an address without brackets.
    pub host: Box<str>,
    /// Which port.
    pub port: u16,
    /// The path and what follows it. Begins with `/`.
    pub target: Box<str>,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}/***", if self.is_tls { "https" } else { "http" }, self.host, self.port)
    }
}

/// What is wrong with the text of an address. None of it is repeated: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http` nor `https`.
    #[error("is no https:// address")]
    Scheme,
    /// There is no host, or none that can be one.
    #[error("has no host that can be one")]
    Host,
    /// A host with letters beyond ASCII.
    #[error("has a host with letters that DNS does not know")]
    Letters,
    /// The port is none.
    #[error("has a port that is none")]
    Port,
    /// Something before an `@`.
    #[error("holds a user or a password")]
    User,
    /// A part after `#`.
    #[error("has a part after #, which is never sent")]
    Fragment,
    /// Characters that no address has.
    #[error("has blanks or other characters that must be written as %20 and the like")]
    Characters,
    /// Longer than anybody takes.
    #[error("is longer than 4096 characters")]
    TooLong,
}

impl UrlError {
    /// Returns what to write.
    pub fn hint(self) -> &'static str {
        match self {
            UrlError::Scheme | UrlError::Host | UrlError::TooLong => {
                "write https://, a host and a path, as in https://hooks.example.net/snapkeep"
            }
            UrlError::Letters => "write the name as DNS has it: it begins with xn--",
            UrlError::Port => "write 1 to 65535, or no port for 443",
            UrlError::User => "leave it out; what opens the server goes into a header or into the path",
            UrlError::Fragment => "leave out the # and what follows it",
            UrlError::Characters => "write a blank as %20",
        }
    }
}

impl Url {
    /// More than the addresses of any chat have.
    const CHARACTERS_MAX: usize = 4_096;

    /// Reads an address.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        if text.len() > Url::CHARACTERS_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority)?;
        let port = port.unwrap_or(if is_tls { 443 } else { 80 });
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
            return Err(UrlError::Characters);
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url { is_tls, host: host.into(), port, target: format!("{slash}{target}").into() })
    }

    /// Returns the host and the port, which are no secret.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Returns the same with `end` behind the path, and `asked` behind what was asked already.
    #[must_use]
    pub fn below(&self, end: &str, asked: Option<&str>) -> Url {
        let (path, query) =
            self.target.split_once('?').map_or((&*self.target, None), |(path, query)| (path, Some(query)));
        let path = if end.is_empty() { path } else { path.trim_end_matches('/') };
        let query: Vec<&str> = query.into_iter().filter(|query| !query.is_empty()).chain(asked).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Url { target: format!("{path}{end}{mark}{}", query.join("&")).into(), ..self.clone() }
    }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::User);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(UrlError::Host)?;
            let is_address = host.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
            if !host.contains(':') || !is_address {
                return Err(UrlError::Host);
            }
            let port = if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(UrlError::Port)?) };
            (host, port)
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?)
        }
        Some(_) => return Err(UrlError::Port),
    };
    let host = host_name(host).ok_or(if host.is_ascii() { UrlError::Host } else { UrlError::Letters })?;
    Ok((host, port))
}

/// Returns a host as hosts are compared: in lower case, without brackets and without a dot at its end; `None` where
/// it can be none.
pub fn host_name(text: &str) -> Option<String> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_host = !text.is_empty() && text.len() <= 253 && text.bytes().all(is_known) && !text.starts_with('.');
    is_host.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_into_its_parts() {
        for (text, is_tls, authority, target) in [
            ("https://example.org", true, "example.org:443", "/"),
            ("HTTP://Example.ORG.:8080/a?b=c", false, "example.org:8080", "/a?b=c"),
            ("https://[2001:DB8::1]/x", true, "[2001:db8::1]:443", "/x"),
            ("https://[::1]:9?x", true, "[::1]:9", "/?x"),
            ("http://127.0.0.1:1/", false, "127.0.0.1:1", "/"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!((url.is_tls, url.authority().as_str(), &*url.target), (is_tls, authority, target), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_without_repeating_it() {
        for (text, error) in [
            ("example.org/x", UrlError::Scheme),
            ("ftp://example.org", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("https://", UrlError::Host),
            ("https:///x", UrlError::Host),
            ("https://exa mple.org/", UrlError::Host),
            ("https://[fe80::1%25eth0]/", UrlError::Host),
            ("https://[::1/", UrlError::Host),
            ("https://b\u{fc}cher.example/", UrlError::Letters),
            ("https://example.org:/", UrlError::Port),
            ("https://example.org:0/", UrlError::Port),
            ("https://example.org:65536/", UrlError::Port),
            ("https://example.org:+80/", UrlError::Port),
            ("https://2001:db8::1/", UrlError::Port),
            ("https://user:canary@example.org/", UrlError::User),
            ("https://example.org@127.0.0.1/", UrlError::User),
            ("https://example.org/#x", UrlError::Fragment),
            ("https://example.org/a b", UrlError::Characters),
            ("https://example.org/a\r\nHost: x", UrlError::Characters),
            ("https://example.org/\u{fc}", UrlError::Characters),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
        assert_eq!(Url::parse(&format!("https://example.org/{}", "x".repeat(4_096))), Err(UrlError::TooLong));
        let shown = format!("{:?}", Url::parse("https://example.org/canary?canary"));
        assert!(shown.contains("example.org") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn what_is_put_behind_an_address_keeps_what_it_asks() {
        let below = |text: &str, end: &str, asked| Url::parse(text).map(|url| url.below(end, asked).target.to_string());
        assert_eq!(below("https://h/a", "/start", None).as_deref(), Ok("/a/start"));
        assert_eq!(below("https://h/a/", "/start", Some("rid=1")).as_deref(), Ok("/a/start?rid=1"));
        assert_eq!(below("https://h/a?create=1", "/fail", Some("rid=1")).as_deref(), Ok("/a/fail?create=1&rid=1"));
        assert_eq!(below("https://h/a?create=1", "", None).as_deref(), Ok("/a?create=1"));
        assert_eq!(below("https://h?", "", Some("rid=1")).as_deref(), Ok("/?rid=1"));
    }
}
