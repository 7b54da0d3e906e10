//! What is sent and what comes, piece by piece, no faster than it may be.

use bytes::Bytes;
use futures_core::Stream;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use opendal::{Buffer, Error, ErrorKind};
use plakar_store::Pace;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How much is handed on at once: that it was taken shows that the other side takes it.
const PIECE: usize = 64 << 10;

/// Closed for as long as what went through last takes.
struct Gate {
    pace: Option<Arc<Pace>>,
    closed: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    fn poll(&mut self, cx: &mut Context) -> Poll<()> {
        if let Some(closed) = &mut self.closed {
            ready!(closed.as_mut().poll(cx));
            self.closed = None;
        }
        Poll::Ready(())
    }

    fn went(&mut self, bytes: usize) {
        let wait = self.pace.as_ref().map(|pace| pace.take(bytes)).filter(|wait| !wait.is_zero());
        self.closed = wait.map(|wait| Box::pin(sleep(wait)));
    }
}

/// A body on its way out.
pub struct Sending {
    left: Buffer,
    piece: usize,
    gate: Gate,
    /// Counts pieces.
    moved: Arc<AtomicU64>,
}

impl Sending {
    pub fn new(body: Buffer, pace: Option<Arc<Pace>>, moved: Arc<AtomicU64>) -> Sending {
        let piece = pace.as_ref().map_or(PIECE, |pace| pace.piece().min(PIECE));
        Sending { left: body, piece, gate: Gate { pace, closed: None }, moved }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.left.is_empty() {
            return Poll::Ready(None);
        }
        ready!(this.gate.poll(cx));
        let first = this.left.current();
        let piece = first.slice(..first.len().min(this.piece));
        this.left = this.left.slice(piece.len()..);
        this.gate.went(piece.len());
        this.moved.fetch_add(1, Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// A body on its way in: never more than was asked for, and never without end.
pub struct Coming {
    body: Incoming,
    gate: Gate,
    idle: Duration,
    silent: Pin<Box<Sleep>>,
    left: u64,
}

impl Coming {
    /// At most `max` bytes, the next of them within `idle`.
    pub fn new(body: Incoming, pace: Option<Arc<Pace>>, idle: Duration, max: u64) -> Coming {
        Coming { body, gate: Gate { pace, closed: None }, idle, silent: Box::pin(sleep(idle)), left: max }
    }
}

impl Stream for Coming {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<opendal::Result<Buffer>>> {
        let this = &mut *self;
        loop {
            if this.gate.closed.is_some() {
                ready!(this.gate.poll(cx));
                // While it was closed nobody listened.
                this.silent.as_mut().reset(Instant::now() + this.idle);
            }
            let frame = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(this.silent.as_mut().poll(cx));
                    // Polled again it would say so again.
                    this.silent = Box::pin(sleep_until(Instant::now() + this.idle));
                    return Poll::Ready(Some(Err(cut("the answer does not go on"))));
                }
            };
            let bytes = match frame {
                None => return Poll::Ready(None),
                Some(Err(e)) => return Poll::Ready(Some(Err(cut("the answer was cut off").set_source(e)))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(_) => continue,
                },
            };
            this.silent.as_mut().reset(Instant::now() + this.idle);
            let len = bytes.len() as u64;
            if len > this.left {
                let what = "the answer is longer than what was asked for";
                return Poll::Ready(Some(Err(Error::new(ErrorKind::Unexpected, what))));
            }
            this.left -= len;
            this.gate.went(bytes.len());
            return Poll::Ready(Some(Ok(Buffer::from(bytes))));
        }
    }
}

/// What may be tried again.
pub fn cut(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unexpected, what).set_temporary()
}
