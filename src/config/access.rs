//! `[http]` of the daemon's settings: who may call it, and where.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::reader::Findings;
use super::table::{Bounds, Table, nearest};
use crate::lifecycle::role::Role;

/// Who may call the daemon, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// What the members of a group may do at the socket. Where a group is named twice the higher role holds.
    pub roles: BTreeMap<u32, Role>,
    /// Where callers with a token come in; nowhere unless it is said.
    pub listen: Vec<SocketAddr>,
    /// With what connections there are protected.
    pub tls: Option<TlsFiles>,
    /// Connections at once, at each of these addresses.
    pub connections_max: u32,
    /// Requests a second of one caller there.
    pub rate: u32,
}

/// The files of a certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then the ones that vouch for it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Some monitoring and a cluster's worth of clients, and 30 MB of buffers at worst.
const CONNECTIONS_MAX: u32 = 256;
/// So many are somebody's public server, which this is not.
const CONNECTIONS_MAX_MOST: u32 = 4_096;
/// A dashboard that asks for everything at once fits; a loop that went wild does not.
const RATE: u32 = 50;
const RATE_MOST: u32 = 10_000;

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            roles: BTreeMap::new(),
            listen: Vec::new(),
            tls: None,
            connections_max: CONNECTIONS_MAX,
            rate: RATE,
        }
    }
}

/// Whether only this machine reaches an address.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl HttpSettings {
    /// Reads the table, where there is one. Relative paths begin at `base`.
    pub fn read(findings: &mut Findings<'_>, root: &mut Table<'_, '_>, base: &Path) -> HttpSettings {
        let mut settings = HttpSettings::default();
        let Some(mut table) = root.table(findings, "http") else { return settings };
        // Read once: who is in a group the kernel says, with every connection.
        let known = fs::read_to_string(GROUPS).unwrap_or_default();
        // In rising order, so that the higher role stays.
        for role in Role::ALL {
            for group in table.names(findings, role.word()).unwrap_or_default() {
                match number_of(&group.value, &known) {
                    Some(number) => {
                        settings.roles.insert(number, role);
                    }
                    None => {
                        let names: Vec<&str> = groups(&known).map(|(name, _)| name).collect();
                        let hint = match nearest(&group.value, &names) {
                            Some(near) => format!("did you mean \"{near}\"?"),
                            None => "make it with `groupadd`; for one that only a directory service knows, write its \
                                     number"
                                .to_owned(),
                        };
                        findings.error(group.at, format!("no group `{}` is in {GROUPS}", group.value)).hint(hint);
                    }
                }
            }
        }
        if let Some(tls) = table.table(findings, "tls") {
            settings.tls = tls_files(findings, tls, base);
        }
        // What is wrong with it has been told; an address without it is not wrong besides.
        let has_tls = table.has("tls");
        for written in table.names(findings, "listen").unwrap_or_default() {
            match written.value.parse::<SocketAddr>() {
                Ok(address) if is_loopback(&address) || has_tls => settings.listen.push(address),
                Ok(address) => findings
                    .error(written.at, format!("others can reach {address}, and there is no TLS"))
                    .hint("write [http.tls] with certificate = FILE and key = FILE, or listen on 127.0.0.1"),
                Err(_) => findings
                    .error(written.at, format!("`{}` is no address with a port", written.value))
                    .hint("write \"127.0.0.1:9200\", \"[::1]:9200\", or \"0.0.0.0:9200\" for every address"),
            }
        }
        let connections = Bounds { min: 1, max: CONNECTIONS_MAX_MOST };
        if let Some(number) = table.number(findings, "connections_max", connections) {
            settings.connections_max = number.value;
        }
        if let Some(number) = table.number(findings, "rate", Bounds { min: 1, max: RATE_MOST }) {
            settings.rate = number.value;
        }
        table.finish(findings, &[]);
        settings
    }
}

fn tls_files(findings: &mut Findings<'_>, mut table: Table<'_, '_>, base: &Path) -> Option<TlsFiles> {
    let at = table.at.clone();
    let file = |findings: &mut Findings<'_>, table: &mut Table<'_, '_>, key: &'static str| {
        if !table.has(key) {
            findings.error(at.clone(), format!("{key} is missing")).hint(format!("write {key} = \"/etc/snapkeep/…\""));
        }
        table.string(findings, key).map(|path| base.join(path.value))
    };
    let certificate = file(findings, &mut table, "certificate");
    let key = file(findings, &mut table, "key");
    table.finish(findings, &[]);
    Some(TlsFiles { certificate: certificate?, key: key? })
}

/// Where groups have their numbers.
const GROUPS: &str = "/etc/group";

/// Every group with its number: name:password:number:members
fn groups(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

fn number_of(group: &str, known: &str) -> Option<u32> {
    // A group whose name is a number is found by its name first, as `chgrp` does.
    groups(known).find(|(name, _)| *name == group).map(|(_, number)| number).or_else(|| group.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_or_a_number() {
        let known = "root:x:0:\nbackup:x:34:ann,bob\nbroken\n7:x:9:\n";
        assert_eq!(number_of("backup", known), Some(34));
        assert_eq!(number_of("1234", known), Some(1234));
        assert_eq!(number_of("7", known), Some(9));
        assert_eq!(number_of("nobody-knows", known), None);
        assert_eq!(number_of("-1", known), None);
    }
}
