//! The loop that takes connections: bounded in number and in time, each known by who made it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::access::Origin;
use super::{Api, Socket, router};

/// Connections at once. Callers are a few people and their monitoring; the rest waits in the
/// kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// A client that has not sent its head within this holds a place for nothing.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// The longest look and a slow reader fit.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(900);
/// Heads beyond this are refused.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long open answers may take when the daemon ends.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);
/// After an error such as too many open files, for something to be closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Who asks, for the audit: a uid the kernel vouches for.
#[derive(Clone, Debug)]
pub struct Peer(pub Box<str>);

/// Answers requests until `shutdown` is over, then lets open answers finish for a little while.
pub async fn serve(socket: Socket, api: Api, shutdown: impl Future<Output = ()>) {
    let router = router(api);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (ending, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let place = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            place = places.clone().acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = &mut shutdown => break,
            stream = socket.accept() => stream,
        };
        match stream {
            Ok(stream) => {
                let origin = match socket.origin(&stream) {
                    Ok(origin) => origin,
                    Err(error) => {
                        tracing::warn!(%error, "failed to tell who connected");
                        continue;
                    }
                };
                let connection = connection(stream, origin, router.clone(), ended.clone());
                connections.spawn(async move {
                    let _place = place;
                    connection.await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // No new callers from here on.
    drop(socket);
    drop(ended);
    let _ = ending.send(());
    let drained = async { while connections.join_next().await.is_some() {} };
    // Whoever is not done by then is cut off with the set.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, drained).await;
}

async fn connection(stream: UnixStream, origin: Origin, router: Router, mut ended: watch::Receiver<()>) {
    let service = TowerToHyperService::new(router.layer(Extension(origin)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
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
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke off"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}
