//! Who is believed over TLS: the system's authorities, or those of one file. What every caller of a server
//! outside has in common.
//!
//! Certificates are judged by the wall clock of this machine, and there is no way around that: with a clock
//! outside of a certificate's time no connection comes about.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why nobody can be believed over TLS.
#[derive(Debug, thiserror::Error)]
pub enum NoAuthority {
    /// The file with the authorities' certificates cannot be used.
    #[error("failed to read {}: {why}", file.display())]
    Unread {
        /// Which.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The system names no authority.
    #[error("this system trusts no certificate")]
    Nobody,
    /// TLS itself cannot be set up.
    #[error("failed to set up TLS: {0}")]
    SetUp(#[from] rustls::Error),
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// No certificate can be made out for such a host.
    #[error("the host's name can be in no certificate")]
    Name(#[from] InvalidDnsNameError),
    /// The other side is not who it should be, or speaks no TLS.
    #[error("cannot be trusted or speaks no TLS: {0}")]
    Untrusted(#[from] io::Error),
}

/// Returns what makes connections. `ca` is trusted in place of the system's authorities. It reads files.
pub fn connector(ca: Option<&Path>) -> Result<TlsConnector, NoAuthority> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let unread =
                |error: &dyn std::fmt::Display| NoAuthority::Unread { file: file.into(), why: error.to_string() };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unread(&error))? {
                let certificate = certificate.map_err(|error| unread(&error))?;
                roots.add(certificate).map_err(|error| unread(&error))?;
            }
            if roots.is_empty() {
                return Err(unread(&"it holds no certificate"));
            }
        }
        None => {
            // One certificate of the system's that cannot be read does not spoil the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(NoAuthority::Nobody);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes sure that the other end of a connection is `host`, a name or an address without brackets. Whoever
/// calls bounds the time.
pub async fn connect(tls: &TlsConnector, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, NoConnection> {
    let name = ServerName::try_from(host.to_owned())?;
    Ok(tls.connect(name, stream).await?)
}

/// Returns what stands in `Host`: a name or an address without brackets, and the port.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What reads and writes a connection; ends it when this goes, also where the time is up.
#[derive(Debug)]
pub struct Driven(JoinHandle<hyper::Result<()>>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks one question on a connection of its own, and returns the head of the answer. Its body can be read for as
/// long as the connection is driven. Whoever calls bounds the time.
pub async fn ask<S, B>(
    http: &http1::Builder,
    stream: S,
    request: Request<B>,
) -> hyper::Result<(Response<Incoming>, Driven)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await?;
    let driven = Driven(tokio::spawn(connection));
    let answer = sender.send_request(request).await?;
    Ok((answer, driven))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_six_has_brackets_in_host() {
        assert_eq!(authority("::1", 443), "[::1]:443");
        assert_eq!(authority("127.0.0.1", 80), "127.0.0.1:80");
        assert_eq!(authority("example.org", 9200), "example.org:9200");
    }
}
