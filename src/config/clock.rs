//! `[clock]` of the daemon's settings: who is asked what time it is when nobody else vouches for the clock.

use std::path::{Path, PathBuf};

use hyper::Uri;
use rustls::pki_types::ServerName;

use super::reader::{Findings, Located};
use super::table::Table;

/// Asked one after the other, each with a time limit; what the first said is to be fresh after the last.
const WITNESSES_MAX: usize = 4;

/// Who is asked what time it is (G1). Nobody, unless somebody is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockSettings {
    /// In the order in which they are asked.
    pub witnesses: Vec<WitnessAddress>,
    /// A file with the certificates of authorities that are trusted in place of the system's.
    pub ca: Option<PathBuf>,
}

/// A server that can be asked over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessAddress {
    /// A name or an address, without brackets; a certificate can be made out for it.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl ClockSettings {
    /// Reads the table, where there is one. A relative path begins at `base`.
    pub fn read(findings: &mut Findings<'_>, root: &mut Table<'_, '_>, base: &Path) -> ClockSettings {
        let mut settings = ClockSettings::default();
        let Some(mut table) = root.table(findings, "clock") else { return settings };
        let written = table.names(findings, "witness");
        if written.as_ref().is_some_and(Vec::is_empty) {
            let at = table.key_at("witness").unwrap_or_else(|| table.at.clone());
            findings.error(at, "witness names nobody").hint("leave it out, or name a server");
        }
        for written in written.unwrap_or_default() {
            match address(&written.value) {
                Ok(address) if settings.witnesses.contains(&address) => {
                    findings.error(written.at, format!("witness names `{}` twice", address.host));
                }
                Ok(_) if settings.witnesses.len() == WITNESSES_MAX => {
                    findings.error(written.at, format!("witness names more than {WITNESSES_MAX} servers"));
                }
                Ok(address) => settings.witnesses.push(address),
                Err((message, hint)) => findings.error(written.at, message).hint(hint),
            }
        }
        if let Some(Located { value, at }) = table.string(findings, "ca") {
            if !table.has("witness") {
                findings.error(at, "ca means nothing without witness").hint("name the server too, or leave ca out");
            }
            settings.ca = Some(base.join(value));
        }
        table.finish(findings, &[]);
        settings
    }
}

/// Returns the server at an address, or what is wrong with it and what to write.
fn address(text: &str) -> Result<WitnessAddress, (&'static str, &'static str)> {
    const FORM: &str = "write https:// and a host, as in https://time.example.net/";
    let uri: Uri = text.parse().map_err(|_| ("witness is no URL", FORM))?;
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") => return Err(("witness is not asked over TLS, and anybody on the way could answer", FORM)),
        _ => return Err(("witness is no https:// URL", FORM)),
    }
    let authority = uri.authority().ok_or(("witness has no host", FORM))?;
    if authority.as_str().contains('@') {
        return Err(("witness holds a user or a password", "any server tells the time to whoever asks: leave it out"));
    }
    if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
        return Err(("witness has a path or a query", "only the server is asked: end it after the host and its port"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    if ServerName::try_from(host.as_str()).is_err() {
        return Err(("witness names a host that can be in no certificate", FORM));
    }
    let port = match authority.port() {
        None if authority.as_str() == authority.host() => 443,
        Some(port) if port.as_u16() > 0 => port.as_u16(),
        None | Some(_) => return Err(("witness has a port that is none", "write 1 to 65535, or no port for 443")),
    };
    Ok(WitnessAddress { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ClockSettings {
        let mut findings = Findings::new(Path::new("snapkeep.toml"), text);
        let parsed = findings.parse();
        let settings = ClockSettings::read(&mut findings, &mut Table::root(&parsed), Path::new("/etc/snapkeep"));
        assert!(!findings.has_errors(), "{:?}", findings.into_problems());
        settings
    }

    #[test]
    fn nobody_is_asked_unless_somebody_is_named() {
        assert_eq!(read(""), ClockSettings::default());
        assert_eq!(read("[clock]\n").witnesses, []);
        let at = |host: &str, port| WitnessAddress { host: host.to_owned(), port };
        let one = read("[clock]\nwitness = \"https://time.example.net/\"\nca = \"own.pem\"\n");
        assert_eq!(one.witnesses, [at("time.example.net", 443)]);
        assert_eq!(one.ca, Some(PathBuf::from("/etc/snapkeep/own.pem")));
        let more =
            read("[clock]\nwitness = [\"https://a.example:8443\", \"https://[::1]:1/\", \"https://192.0.2.1\"]\n");
        assert_eq!(more.witnesses, [at("a.example", 8443), at("::1", 1), at("192.0.2.1", 443)]);
    }
}
