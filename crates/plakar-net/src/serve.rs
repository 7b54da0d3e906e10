//! Serving: over connections to an address, or over the pipes of this program.

use crate::service::Service;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io::{self, Cursor};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// At most so many requests of one connection are answered at a time,
const STREAMS_MAX: u32 = 64;
/// and so many connections served.
const CONNECTIONS_MAX: usize = 1024;
/// What may be on its way to this side, of one request and of all requests of a connection.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);
const FRAME_MAX: u32 = 256 << 10;

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Serves over standard input and output until the other side has closed them.
///
/// # Errors
/// When there can be no threads. What goes wrong with the connection is the other side's to tell.
pub fn serve_pipes(service: Arc<Service>) -> io::Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let (_open, closing) = watch::channel(false);
        connection(service, tokio::io::join(tokio::io::stdin(), tokio::io::stdout()), closing).await;
    });
    // A read of standard input that nobody waits for any more keeps nobody waiting.
    runtime.shutdown_background();
    Ok(())
}

/// Serves whoever connects, until `stop` is over; then ends what is being answered.
///
/// # Errors
/// When there can be no threads, or the listener is of no use.
pub fn serve_tcp(
    service: Arc<Service>,
    listener: std::net::TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let runtime = runtime()?;
    let served = runtime.block_on(async {
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
            let Ok((stream, _)) = accepted else {
                // Too many files are open, or whoever came has gone: neither lasts.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // Answers are short and waited for.
            let _ = stream.set_nodelay(true);
            let (service, closing) = (service.clone(), closing.clone());
            tokio::spawn(async move {
                connection(service, stream, closing).await;
                drop(room);
            });
        }
        close.send_replace(true);
        let idle = service.idle();
        let _ = timeout(idle, all.acquire_many(CONNECTIONS_MAX as u32)).await;
        Ok(())
    });
    runtime.shutdown_background();
    served
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
async fn connection(
    service: Arc<Service>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut closing: watch::Receiver<bool>,
) {
    let idle = service.idle();
    let (mut read, write) = tokio::io::split(stream);
    let Ok(Ok(greeting)) = timeout(idle, greeting(&mut read)).await else { return };
    let stream = tokio::io::join(Cursor::new(greeting).chain(read), write);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(idle / 2)
        .keep_alive_timeout(idle)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_frame_size(FRAME_MAX);
    let answer = service_fn(move |request: Request<Incoming>| {
        let answer = service.clone().answer(request);
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
