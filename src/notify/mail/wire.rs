//! A connection that remembers what it heard, and hears no more than it is worth.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// All that a server says in a delivery. Fifty recipients and a long greeting come to a fifth.
const HEARD_BYTES_MAX: usize = 64 * 1024;
/// In one answer, or a greeting with what the server can do after it. Nobody says a tenth of it, and the library reads
/// an answer from its beginning with every line.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What was heard and nobody has looked at yet.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    heard: usize,
}

impl Heard {
    /// Returns what was heard since the last time it was asked for.
    pub fn take(&self) -> String {
        let bytes = std::mem::take(&mut self.record().bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn add(&self, bytes: &[u8]) -> io::Result<()> {
        let mut record = self.record();
        record.heard += bytes.len();
        if record.heard > HEARD_BYTES_MAX || record.bytes.len() + bytes.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("the server says more than any server has to"));
        }
        record.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    peer: SocketAddr,
    heard: Heard,
    ahead: Vec<u8>,
}

impl<S> Wire<S> {
    /// Returns the connection. `ahead` is read before anything that comes over it.
    pub fn new(stream: S, peer: SocketAddr, heard: Heard, ahead: &[u8]) -> Wire<S> {
        Wire { stream, peer, heard, ahead: ahead.to_vec() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let taken = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..taken]);
            self.ahead.drain(..taken);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.heard.add(&buffer.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + std::fmt::Debug> AsyncTokioStream for Wire<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}
