//! What the daemon does when it is signalled.

use std::sync::mpsc::SyncSender;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::DaemonError;
use crate::clock;
use crate::engine::event::Event;
use crate::http::Tls;
use crate::service;
use crate::watch::Waker;

/// SIGTERM and SIGINT stop, the second time at once; SIGHUP reads the configuration again.
pub(super) fn listen(
    runtime: &Runtime,
    inbox: &SyncSender<Event>,
    reload: Option<(Waker, Option<Tls>)>,
) -> Result<(), DaemonError> {
    let _inside = runtime.enter();
    let what = "listen to signals";
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::system(what))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::system(what))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(DaemonError::system(what))?;
    let reload_inbox = inbox.clone();
    runtime.spawn(async move {
        // What comes meanwhile is one more signal afterwards, however often it came.
        while hangup.recv().await.is_some() {
            service::reloading();
            if let Some((waker, tls)) = &reload {
                tracing::info!("SIGHUP: reading the configuration again");
                read_again(waker, tls.as_ref(), &reload_inbox).await;
            }
            service::ready();
        }
    });
    let inbox = inbox.clone();
    runtime.spawn(async move {
        let mut word = "stopping";
        loop {
            let heard = tokio::select! {
                heard = terminate.recv() => heard,
                heard = interrupt.recv() => heard,
            };
            tracing::info!("{word}");
            if heard.is_none() || inbox.send(Event::Stop).is_err() {
                break;
            }
            word = "stopping at once";
        }
    });
    Ok(())
}

/// Returns once what is in the files is in force, and the certificate was looked at.
async fn read_again(waker: &Waker, tls: Option<&Tls>, inbox: &SyncSender<Event>) {
    if let Some(tls) = tls.cloned() {
        let uptime = clock::now().uptime;
        // What is wrong with it is told where problems are.
        let _ = tokio::task::spawn_blocking(move || tls.look(uptime)).await;
    }
    // An error says that the loader or the engine is gone: the daemon is about to end, and says so itself.
    if waker.read().await.is_ok() {
        let (mark, reached) = oneshot::channel();
        let _ = inbox.send(Event::Mark(mark));
        let _ = reached.await;
    }
}
