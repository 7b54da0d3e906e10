//! Serving: over connections to an address, or over the pipes of this program.

use crate::door::Guest;
use crate::server::Server;
use crate::service::Service;
use crate::tls::Identity;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io::{self, Cursor};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

/// At most so many requests of one connection are answered at a time,
const STREAMS_MAX: u32 = 64;
/// and so many connections served.
const CONNECTIONS_MAX: usize = 1024;
/// What may be on its way to this side, of one request,
pub const WINDOW: u32 = 4 << 20;
/// and of all requests of a connection.
const WINDOW_OF_ALL: u32 = 8 << 20;
const FRAME_MAX: u32 = 256 << 10;
/// A server that ends waits so long for the last answers to leave.
const CALM: Duration = Duration::from_secs(1);

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Serves over standard input and output until the other side has closed them. Whoever is there may do everything: it was
/// let in by whatever started this program.
///
/// # Errors
/// When there can be no threads. What goes wrong with the connection is the other side's to tell.
pub fn serve_pipes(service: Arc<Service>) -> io::Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let (_open, closing) = watch::channel(false);
        let pipes = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
        let idle = service.idle();
        let answer = move |request: Request<Incoming>| {
            let service = service.clone();
            async move {
                let path = request.uri().path().strip_prefix('/').unwrap_or_default().to_owned();
                service.answer(&path, &Guest::anybody(), request).await
            }
        };
        connection(answer, idle, pipes, closing).await;
    });
    // A read of standard input that nobody waits for any more keeps nobody waiting.
    runtime.shutdown_background();
    Ok(())
}

/// Over when a flag is raised, as a signal does.
pub async fn raised(flag: Arc<AtomicBool>) {
    while !flag.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(20)).await;
    }
}

impl Server {
    /// Serves whoever connects, until `stop` is over; then ends what is being answered. With an identity TLS is spoken;
    /// without TLS only whoever comes over loopback is served.
    ///
    /// # Errors
    /// When there can be no threads, or the listener is of no use.
    pub fn serve(
        self: &Arc<Self>,
        listener: std::net::TcpListener,
        identity: Option<Identity>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let runtime = runtime()?;
        let served = runtime.block_on(self.accept(listener, identity, stop));
        runtime.shutdown_background();
        served
    }

    async fn accept(
        self: &Arc<Self>,
        listener: std::net::TcpListener,
        identity: Option<Identity>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let (plain, identity) = (listener.local_addr()?.ip().is_loopback(), identity.map(Arc::new));
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (close, closing) = watch::channel(false);
        let all = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut stop = pin!(stop);
        loop {
            let accept = async {
                let room = all.clone().acquire_owned().await.expect("it is never closed");
                (listener.accept().await, room)
            };
            let (accepted, room) = tokio::select! {
                () = &mut stop => break,
                accepted = accept => accepted,
            };
            let Ok((stream, peer)) = accepted else {
                // Too many files are open, or whoever came has gone: neither lasts.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Answers are short and waited for.
            let _ = stream.set_nodelay(true);
            let (server, mut closing, identity) = (self.clone(), closing.clone(), identity.clone());
            tokio::spawn(async move {
                let _open = server.begin();
                let idle = server.idle();
                let answer = move |request| server.clone().answer(peer, request);
                match (awaited(speaks_tls(&stream), idle, &mut closing).await, identity) {
                    (Some(true), Some(identity)) => {
                        let accepted = awaited(identity.acceptor.accept(stream), idle, &mut closing).await;
                        if let Some(stream) = accepted {
                            connection(answer, idle, stream, closing).await;
                        }
                    }
                    (Some(false), _) if plain => connection(answer, idle, stream, closing).await,
                    _ => {}
                }
                drop(room);
            });
        }
        drop(listener);
        close.send_replace(true);
        // What was asked is answered; whoever has yet to ask is not waited for.
        let ended = async {
            tokio::select! {
                _ = all.acquire_many(CONNECTIONS_MAX as u32) => {}
                () = self.calm() => {}
            }
        };
        let _ = timeout(self.idle(), ended).await;
        Ok(())
    }
}

impl Server {
    /// Over when nothing has been asked for a while that is not answered.
    async fn calm(&self) {
        let mut calm_since = Instant::now();
        while calm_since.elapsed() < CALM {
            sleep(Duration::from_millis(20)).await;
            if self.is_asked() {
                calm_since = Instant::now();
            }
        }
    }
}

/// What somebody has yet to say, unless it takes too long, or the server ends.
async fn awaited<T>(
    said: impl Future<Output = io::Result<T>>,
    idle: Duration,
    closing: &mut watch::Receiver<bool>,
) -> Option<T> {
    tokio::select! {
        said = timeout(idle, said) => said.ok()?.ok(),
        _ = closing.wait_for(|closing| *closing) => None,
    }
}

/// What TLS begins with, and HTTP does not.
const HANDSHAKE: u8 = 22;

/// Whether whoever connected begins with TLS.
async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    Ok(first[0] == HANDSHAKE)
}

/// What a connection of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads as much as tells which HTTP is spoken.
async fn greeting(read: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut greeting = Vec::new();
    while greeting.len() < PREFACE.len() && PREFACE.starts_with(&greeting) {
        greeting.push(read.read_u8().await?);
    }
    Ok(greeting)
}

/// Serves one connection until either side ends it.
async fn connection<A, B>(
    answer: impl Fn(Request<Incoming>) -> A,
    idle: Duration,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut closing: watch::Receiver<bool>,
) where
    A: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (mut read, write) = tokio::io::split(stream);
    let Some(greeting) = awaited(greeting(&mut read), idle, &mut closing).await else { return };
    let stream = tokio::io::join(Cursor::new(greeting).chain(read), write);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Whoever has asked, and has nothing more to say, still waits for the answer.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(idle / 2)
        .keep_alive_timeout(idle)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW_OF_ALL)
        .max_frame_size(FRAME_MAX);
    let answer = service_fn(|request: Request<Incoming>| {
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = closing.wait_for(|closing| *closing) => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}
