//! TLS for callers who come over the network, with a certificate that may be replaced while the daemon runs.
//!
//! A pair of certificate and key that is no good changes nothing: the last good one goes on, and the trouble
//! is told. Connections that are open keep what they began with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

/// Files are looked at so often at most, however many connections come.
const LOOK_EVERY_MS: i64 = 1_000;

/// A certificate with those above it, and its key, as PEM.
pub struct Pair {
    /// The certificate first, then the ones that vouch for it.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(***)")
    }
}

/// Reads the pair, where it has changed since the last time; `None` where it has not.
pub type ReadPair = Box<dyn FnMut() -> Option<Result<Pair, String>> + Send>;
/// Is told what is wrong with the pair that was read last; `None` when nothing is.
pub type TellTrouble = Box<dyn Fn(Option<&str>) + Send + Sync>;

/// What a listener needs to speak TLS.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    config: RwLock<Arc<ServerConfig>>,
    source: Mutex<Source>,
    tell: TellTrouble,
}

struct Source {
    read: ReadPair,
    looked_at: i64,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Returns TLS with the pair that is read first; what is wrong with it, where it is no good.
    pub fn new(mut read: ReadPair, tell: TellTrouble) -> Result<Tls, String> {
        let pair = read().unwrap_or_else(|| Err("there is no certificate".to_owned()))?;
        let config = RwLock::new(config(&pair)?);
        let source = Mutex::new(Source { read, looked_at: i64::MIN });
        Ok(Tls { inner: Arc::new(Inner { config, source, tell }) })
    }

    /// Whether it is time to look whether the files have changed. `uptime` is in milliseconds.
    pub(super) fn is_due(&self, uptime: i64) -> bool {
        // Who is looking now does it for all.
        self.inner.source.try_lock().is_ok_and(|source| uptime.saturating_sub(source.looked_at) >= LOOK_EVERY_MS)
    }

    /// Takes a pair that has changed. It reads files.
    pub fn look(&self, uptime: i64) {
        let Inner { config: current, source, tell } = &*self.inner;
        let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
        source.looked_at = uptime;
        let Some(read) = (source.read)() else { return };
        match read.and_then(|pair| config(&pair)) {
            Ok(config) => {
                *current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!("the certificate was replaced");
                tell(None);
            }
            Err(trouble) => {
                tracing::warn!(cause = trouble, "the new certificate is no good; the last good one goes on");
                tell(Some(&trouble));
            }
        }
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.inner.config.read().unwrap_or_else(PoisonError::into_inner).clone().into()
    }
}

fn config(pair: &Pair) -> Result<Arc<ServerConfig>, String> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    if certificates.is_empty() {
        return Err("the certificate's file has no certificate in PEM".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|error| format!("the key cannot be read: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| format!("certificate and key do not go together: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
