//! The connection of a client: made when it is needed, and again when it broke.

use crate::connect::{Address, Connect, Stream};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use plakar_store::Tries;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Mutex, Notify};
use tokio::time::{timeout, timeout_at};

/// Whoever is there says so this often,
const PING_EVERY: Duration = Duration::from_secs(15);
/// or is taken for gone after so long: on a slow line what was sent before a ping takes its time, too.
const PING_MAX: Duration = Duration::from_secs(60);
/// Whoever answers at all answers so soon.
const GREETING_MAX: Duration = Duration::from_secs(20);
/// What may be on its way to this side, of one answer and of all of them,
const WINDOWS: (u32, u32) = (8 << 20, 32 << 20);
/// and at most what comes in so many seconds at the pace that is allowed, so that what is not paced is not behind much.
const WINDOW_SECONDS: u64 = 10;
const FRAME_MAX: u32 = 256 << 10;

/// A connection that is there, or can be made.
pub struct Link {
    connect: Box<dyn Connect>,
    /// With a number that tells one from the next.
    open: Mutex<(u64, Option<SendRequest<Full<Bytes>>>)>,
}

impl Link {
    pub fn new(connect: Box<dyn Connect>) -> Link {
        Link { connect, open: Mutex::new((0, None)) }
    }

    /// What is asked for.
    pub fn address(&self) -> Address {
        self.connect.address()
    }

    /// Who is at the other end.
    pub fn peer(&self) -> String {
        self.connect.peer()
    }

    /// Sends a request, over the connection that there is, or a new one. Over one that is not the first, something must have
    /// come from the other side by the deadline of the attempt. After an error it may have been answered or not.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        tries: &Tries<'_>,
    ) -> Result<Response<Incoming>, String> {
        let (number, mut sender) = self.sender(tries).await?;
        let answer = sender.send_request(request).await;
        if answer.is_err() {
            let mut open = self.open.lock().await;
            if open.0 == number {
                open.1 = None;
            }
        }
        answer.map_err(|e| with_causes(&e))
    }

    fn windows(&self) -> (u32, u32) {
        let Some(pace) = self.connect.bandwidth().download else { return WINDOWS };
        let most = u32::try_from(pace.bytes_per_second() * WINDOW_SECONDS).unwrap_or(u32::MAX).max(FRAME_MAX);
        (WINDOWS.0.min(most), WINDOWS.1.min(most))
    }

    async fn sender(&self, tries: &Tries<'_>) -> Result<(u64, SendRequest<Full<Bytes>>), String> {
        // Held while connecting: one connection is enough for all.
        let mut open = self.open.lock().await;
        if let (number, Some(sender)) = &*open
            && !sender.is_closed()
        {
            return Ok((*number, sender.clone()));
        }
        let stream = self.connect.connect().await.map_err(|e| e.to_string())?;
        let heard = Arc::new(Notify::new());
        let stream = Heard { stream, heard: heard.clone() };
        let greeted = timeout(GREETING_MAX, greet(stream, self.windows())).await;
        let sender = greeted.unwrap_or_else(|_| Err("it does not answer".into()))?;
        if open.0 > 0 || tries.failed() {
            // A server says something as soon as it is spoken to. The first time nobody minds waiting, somebody who is
            // asked for a passphrase by ssh least of all.
            let deadline = tries.deadline();
            let heard = timeout_at(deadline.into(), heard.notified()).await;
            heard.map_err(|_| "it does not answer".to_owned())?;
        }
        *open = (open.0 + 1, Some(sender.clone()));
        Ok((open.0, sender))
    }
}

async fn greet(stream: Heard, windows: (u32, u32)) -> Result<SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_MAX)
        .initial_stream_window_size(windows.0)
        .initial_connection_window_size(windows.1)
        .max_frame_size(FRAME_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| with_causes(&e))?;
    // It ends with the last sender, or with an error that whoever waits for an answer is told.
    tokio::spawn(connection);
    Ok(sender)
}

/// A connection that tells when something came over it, were it its end.
struct Heard {
    stream: Box<dyn Stream>,
    heard: Arc<Notify>,
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buf: &mut ReadBuf) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        // Whoever asks later is told at once.
        self.heard.notify_one();
        Poll::Ready(read)
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An error and what is behind it.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
