//! A connection that is no faster than it may be.

use crate::connect::{Address, Connect, Connecting, Stream};
use plakar_store::{Bandwidth, Pace};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What is reached as `inner` says, over connections that keep to a bandwidth. All that were given the same one share it.
pub struct Paced {
    inner: Box<dyn Connect>,
    bandwidth: Bandwidth,
}

impl Paced {
    /// As `inner` says.
    pub fn new(inner: Box<dyn Connect>, bandwidth: Bandwidth) -> Paced {
        Paced { inner, bandwidth }
    }
}

impl Connect for Paced {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let stream = self.inner.connect().await?;
            let Bandwidth { upload, download } = self.bandwidth.clone();
            let paced = PacedStream { stream, write: Gate::new(upload), read: Gate::new(download) };
            Ok(Box::new(paced) as Box<dyn Stream>)
        })
    }

    fn address(&self) -> Address {
        self.inner.address()
    }

    fn peer(&self) -> String {
        self.inner.peer()
    }

    fn bandwidth(&self) -> Bandwidth {
        self.bandwidth.clone()
    }
}

struct PacedStream {
    stream: Box<dyn Stream>,
    write: Gate,
    read: Gate,
}

/// One direction: closed for as long as what went through last takes.
struct Gate {
    pace: Option<Arc<Pace>>,
    closed: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    fn new(pace: Option<Arc<Pace>>) -> Gate {
        Gate { pace, closed: None }
    }

    /// How many bytes may go now.
    fn poll(&mut self, cx: &mut Context) -> Poll<usize> {
        if let Some(closed) = &mut self.closed {
            ready!(closed.as_mut().poll(cx));
            self.closed = None;
        }
        Poll::Ready(self.pace.as_ref().map_or(usize::MAX, |pace| pace.piece()))
    }

    fn went(&mut self, bytes: usize) {
        let wait = self.pace.as_ref().map(|pace| pace.take(bytes)).filter(|wait| !wait.is_zero());
        self.closed = wait.map(|wait| Box::pin(sleep(wait)));
    }
}

impl AsyncRead for PacedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        let most = ready!(self.read.poll(cx));
        let most = most.min(buf.remaining());
        let mut some = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut some))?;
        let read = some.filled().len();
        buf.advance(read);
        self.read.went(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PacedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, buf: &[u8]) -> Poll<io::Result<usize>> {
        let most = ready!(self.write.poll(cx)).min(buf.len());
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..most]))?;
        self.write.went(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
