//! What monitoring reads, in pieces: whoever reads slowly holds one of them, and not the whole text.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header;
use axum::response::IntoResponse;
use hyper::body::{Bytes, Frame};

use crate::metrics::{CONTENT_TYPE, Exposition};

use super::{State, records};

/// `GET /metrics`. Where the journal cannot be read the rest is told.
pub async fn metrics(axum::extract::State(shared): State) -> impl IntoResponse {
    let totals = match shared.api.records {
        Some(_) => records::read(&shared, |records| records.totals()).await,
        // In safe mode; the metrics say so.
        None => return answer(Exposition::of(&shared.api.view, None, (shared.api.clock)())),
    };
    let totals = totals.inspect_err(|error| tracing::warn!(cause = ?error, "what the journal counts is not told")).ok();
    answer(Exposition::of(&shared.api.view, totals, (shared.api.clock)()))
}

fn answer(exposition: Exposition) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], Body::new(Pieces(exposition)))
}

struct Pieces(Exposition);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece.into()))))
    }
}
