//! The loops that take connections: bounded in number and in time, each known by where it comes from.
//!
//! Every listener has places of its own, so that callers over the network never take those of the socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::engine::view::View;
use crate::lifecycle::time::Moment;

use super::access::{Limits, Origin};
use super::error::ApiError;
use super::stall::Stall;
use super::tls::{TellTrouble, Tls};
use super::{Api, Socket, router};

/// Connections at once on the socket. Callers are a few people and their monitoring; the rest waits in the
/// kernel's queue.
const SOCKET_CONNECTIONS_MAX: usize = 64;
/// The longest look and a slow reader fit.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(900);
/// Heads beyond this are refused.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long open answers may take when the daemon ends.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);
/// After an error such as too many open files, for something to be closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often an address is tried that cannot be listened on: whoever has it ends, or an interface comes up.
const BIND_PAUSE: Duration = Duration::from_secs(3);
/// How often it is looked whether there is a token. A look is at memory.
const TOKEN_LOOK: Duration = Duration::from_secs(1);
/// What every TLS connection begins with; no HTTP request does.
const HANDSHAKE: u8 = 0x16;

/// Who asks, for the audit: a uid the kernel vouches for, or a token.
#[derive(Clone, Debug)]
pub struct Peer(pub Box<str>);

/// Where callers come in.
pub enum Listener {
    /// A Unix socket.
    Socket(Socket),
    /// An address, bound.
    Address {
        /// Where connections arrive.
        listener: TcpListener,
        /// How they are protected; `None` on this machine alone.
        tls: Option<Tls>,
    },
    /// An address that others can reach. It is bound as soon as there is a token to come in by, not before.
    OnceThereIsAToken {
        /// The address.
        address: SocketAddr,
        /// How connections are protected.
        tls: Tls,
        /// Is told why nobody listens there; `None` when somebody does.
        tell: TellTrouble,
    },
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Socket(socket) => f.debug_tuple("Socket").field(socket).finish(),
            Listener::Address { listener, .. } => f.debug_tuple("Address").field(listener).finish(),
            Listener::OnceThereIsAToken { address, .. } => f.debug_tuple("OnceThereIsAToken").field(address).finish(),
        }
    }
}

/// Whether anybody could come in over the network.
fn has_living_token(view: &View, now: Moment) -> bool {
    view.tokens().values().any(|token| !token.is_over(now.wall))
}

/// Answers requests on a socket until `shutdown` is over, then lets open answers finish for a little while.
pub async fn serve(socket: Socket, api: Api, shutdown: impl Future<Output = ()>) {
    serve_all(vec![Listener::Socket(socket)], api, Limits::default(), shutdown).await;
}

/// The same on every listener.
pub async fn serve_all(listeners: Vec<Listener>, api: Api, limits: Limits, shutdown: impl Future<Output = ()>) {
    let desk = Desk { view: api.view.clone(), clock: api.clock, limits, router: router(api, limits) };
    let (ending, ended) = watch::channel(());
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(listen(listener, desk.clone(), ended.clone()));
    }
    drop(ended);
    shutdown.await;
    let _ = ending.send(());
    while loops.join_next().await.is_some() {}
}

/// What every listener needs.
#[derive(Clone)]
struct Desk {
    view: Arc<View>,
    clock: fn() -> Moment,
    limits: Limits,
    router: Router,
}

/// A connection that was accepted, and where it comes from.
enum Arrived {
    Socket(UnixStream, Origin),
    Plain(TcpStream, Origin),
    Tls(TcpStream, Origin, Tls),
}

async fn listen(listener: Listener, desk: Desk, mut ended: watch::Receiver<()>) {
    let listener = tokio::select! {
        _ = ended.changed() => return,
        opened = open(listener, &desk) => opened,
    };
    let places = match &listener {
        Listener::Socket(_) => SOCKET_CONNECTIONS_MAX,
        Listener::Address { .. } | Listener::OnceThereIsAToken { .. } => desk.limits.connections_max,
    };
    let places = Arc::new(Semaphore::new(places));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            _ = ended.changed() => break,
            Some(_) = connections.join_next() => continue,
            place = places.clone().acquire_owned() => place,
        };
        let arrived = tokio::select! {
            _ = ended.changed() => break,
            arrived = accept(&listener) => arrived,
        };
        match arrived {
            Ok(arrived) => {
                let connection = arrived.answer(desk.clone(), ended.clone());
                connections.spawn(async move {
                    let _place = place;
                    connection.await;
                });
            }
            Err(error) => {
                tracing::warn!(cause = %error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // No new callers from here on.
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    // Whoever is not done by then is cut off with the set.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, drained).await;
}

/// Waits until a listener may be opened, and opens it.
async fn open(listener: Listener, desk: &Desk) -> Listener {
    let Listener::OnceThereIsAToken { address, tls, tell } = listener else { return listener };
    if !has_living_token(&desk.view, (desk.clock)()) {
        let why = format!(
            "nobody listens on {address} yet: there is no token to come in by. `snapkeep token add` makes one, and \
             the address is opened within a second"
        );
        tracing::warn!("{why}");
        tell(Some(&why));
    }
    while !has_living_token(&desk.view, (desk.clock)()) {
        tokio::time::sleep(TOKEN_LOOK).await;
    }
    let listener = bound(address, BIND_PAUSE, &tell).await;
    tracing::info!(%address, "listening with TLS");
    Listener::Address { listener, tls: Some(tls) }
}

/// Tries to listen on an address until it can be done. Why it cannot be is told once, and that it is over.
async fn bound(address: SocketAddr, pause: Duration, tell: &TellTrouble) -> TcpListener {
    let mut told: Option<String> = None;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tell(None);
                return listener;
            }
            Err(error) => {
                let why = format!("failed to listen on {address}: {error}; it is tried again");
                if told.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                    tell(Some(&why));
                    told = Some(why);
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn accept(listener: &Listener) -> io::Result<Arrived> {
    match listener {
        Listener::Socket(socket) => loop {
            let stream = socket.accept().await?;
            match socket.origin(&stream) {
                Ok(origin) => return Ok(Arrived::Socket(stream, origin)),
                // It costs this caller the connection, and the others nothing.
                Err(error) => tracing::warn!(cause = %error, "failed to tell who connected to the socket"),
            }
        },
        Listener::Address { listener, tls } => {
            let (stream, from) = listener.accept().await?;
            let origin = Origin::Network { address: from.ip() };
            // Small answers go out at once.
            let _ = stream.set_nodelay(true);
            Ok(match tls {
                Some(tls) => Arrived::Tls(stream, origin, tls.clone()),
                None => Arrived::Plain(stream, origin),
            })
        }
        // It was opened before anybody could come.
        Listener::OnceThereIsAToken { .. } => std::future::pending().await,
    }
}

impl Arrived {
    async fn answer(self, desk: Desk, ended: watch::Receiver<()>) {
        match self {
            Arrived::Socket(stream, origin) => connection(stream, origin, desk, ended).await,
            Arrived::Plain(stream, origin) => connection(stream, origin, desk, ended).await,
            Arrived::Tls(stream, origin, tls) => {
                let time_max = desk.limits.head_time_max;
                match tokio::time::timeout(time_max, protected(stream, &tls, (desk.clock)())).await {
                    Ok(Ok(Some(stream))) => connection(stream, origin, desk, ended).await,
                    Ok(Ok(None)) => {}
                    Ok(Err(error)) => tracing::debug!(cause = %error, "a handshake failed"),
                    Err(_) => tracing::debug!("a handshake took too long"),
                }
            }
        }
    }
}

/// Agrees on TLS. Who speaks plain HTTP is told so and gets no further.
async fn protected(
    mut stream: TcpStream,
    tls: &Tls,
    now: Moment,
) -> io::Result<Option<tokio_rustls::server::TlsStream<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first != [HANDSHAKE] {
        stream.write_all(ApiError::no_tls().in_plain_http().as_bytes()).await?;
        stream.shutdown().await?;
        return Ok(None);
    }
    if tls.is_due(now.uptime) {
        let tls = tls.clone();
        // One that fails has told why; the last good certificate goes on.
        let _ = tokio::task::spawn_blocking(move || tls.look(now.uptime)).await;
    }
    tls.acceptor().accept(stream).await.map(Some)
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    origin: Origin,
    desk: Desk,
    mut ended: watch::Receiver<()>,
) {
    let service = TowerToHyperService::new(desk.router.layer(Extension(origin)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(desk.limits.head_time_max)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Stall::new(stream, desk.limits.stall_time_max)), service);
    let mut connection = pin!(connection);
    let work = async {
        tokio::select! {
            result = connection.as_mut() => result,
            _ = ended.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match tokio::time::timeout(CONNECTION_TIME_MAX, work).await {
        Ok(Ok(())) => {}
        // Clients go away, and that is their good right.
        Ok(Err(error)) => tracing::debug!(cause = %error, "a connection broke off"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn an_address_that_is_taken_is_listened_on_once_it_is_free() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let other = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
            let address = other.local_addr().expect("an address");
            let (said, mut told) = unbounded_channel();
            let tell: TellTrouble = Box::new(move |trouble| {
                let _ = said.send(trouble.map(str::to_owned));
            });
            let ours = tokio::spawn(async move { bound(address, Duration::from_millis(1), &tell).await });
            let why = told.recv().await.flatten().expect("why nobody listens");
            assert!(why.starts_with(&format!("failed to listen on {address}: ")), "{why}");
            drop(other);
            let ours = tokio::time::timeout(Duration::from_secs(60), ours).await.expect("in time").expect("bound");
            assert_eq!(ours.local_addr().expect("an address"), address);
            // Told once, however often it was tried, and then that it is over.
            assert_eq!((told.recv().await, told.recv().await), (Some(None), None));
        });
    }
}
