//! The server: connections, and what is planned for requests.

use crate::buckets::Buckets;
use crate::fault::{Fault, Plan};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{self, ServerConfig};

/// Whom it knows,
pub const ACCESS_KEY: &str = "AKTESTTESTTESTTEST";
/// and by what.
pub const SECRET_KEY: &str = "a-secret-that-is-never-printed";

/// A server that runs for as long as this is there.
pub struct Server {
    runtime: Option<Runtime>,
    scheme: &'static str,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    service: S3Service,
    plan: Plan,
    root: PathBuf,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicU64,
}

/// One request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `METHOD path?query`.
    pub what: String,
    /// Bytes of its body,
    pub up: u64,
    /// and of the body of the answer; none where something else than an answer was planned.
    pub down: u64,
}

/// There is no answer: the connection is closed.
type Answer = Result<Response<Body>, io::Error>;

impl Server {
    /// Serves the buckets in a folder, which there must be, at `http://127.0.0.1` and some port.
    pub fn start(root: &Path) -> Server {
        Server::start_with(root, None)
    }

    /// The same at `https://localhost`. Also returns the certificate that it shows, as PEM, which is for that name only and
    /// which nobody vouches for.
    pub fn start_with_tls(root: &Path) -> (Server, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a plain name");
        let key = made.signing_key.serialize_der();
        let key = PrivateKeyDer::try_from(key).expect("it was just made");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions that it knows").with_no_client_auth();
        let config = config.with_single_cert(vec![made.cert.der().clone()], key).expect("they fit");
        (Server::start_with(root, Some(TlsAcceptor::from(Arc::new(config)))), made.cert.pem())
    }

    fn start_with(root: &Path, tls: Option<TlsAcceptor>) -> Server {
        let mut builder = S3ServiceBuilder::new(Buckets::new(root));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let shared = Shared {
            service: builder.build(),
            plan: Plan::default(),
            root: root.to_owned(),
            asked: Mutex::default(),
            connections: AtomicU64::default(),
        };
        let shared = Arc::new(shared);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let scheme = if tls.is_some() { "https" } else { "http" };
        runtime.spawn(accept(listener, tls, shared.clone()));
        Server { runtime: Some(runtime), scheme, address, shared }
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) {
        fs::create_dir(self.shared.root.join(name)).expect("it is new");
    }

    /// Where objects of a bucket lie as files.
    pub fn folder(&self, bucket: &str) -> PathBuf {
        self.shared.root.join(bucket)
    }

    /// Its URL, by its address.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Its URL, by the name of this machine.
    pub fn endpoint_by_name(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// How many connections there were, those included that came to nothing.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// What is to happen to the next `times` requests of a method, or to all if that is empty.
    pub fn plan(&self, method: &'static str, fault: Fault, times: usize) {
        self.shared.plan.add(method, fault, 1, times);
    }

    /// The same with each `every`th request, without end.
    pub fn plan_every(&self, every: usize, method: &'static str, fault: Fault) {
        self.shared.plan.add(method, fault, every, usize::MAX);
    }

    /// Nothing happens any more.
    pub fn plan_nothing(&self) {
        self.shared.plan.clear();
    }

    /// What was asked since the last time, to be called when nothing is under way.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().expect("no panic while held"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let answer = service_fn(move |request| answer(shared.clone(), request));
    let mut connection = hyper::server::conn::http1::Builder::new();
    connection.timer(TokioTimer::new());
    let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let asked = Asked {
        what: format!("{} {}", request.method(), request.uri()),
        up: length(request.headers()),
        down: 0,
    };
    let fault = shared.plan.next(request.method().as_str());
    let is_head = request.method() == Method::HEAD;
    let place = {
        let mut all = shared.asked.lock().expect("no panic while held");
        all.push(asked);
        all.len() - 1
    };
    match fault {
        None => {
            let answer = done(&shared, request.map(Body::from)).await?;
            let down =
                if is_head { 0 } else { length(answer.headers()).max(answer.body().size_hint().lower()) };
            if let Some(asked) = shared.asked.lock().expect("no panic while held").get_mut(place) {
                asked.down = down;
            }
            Ok(answer)
        }
        Some(Fault::Wait(long)) => {
            tokio::time::sleep(long).await;
            done(&shared, request.map(Body::from)).await
        }
        Some(Fault::Stall) => std::future::pending().await,
        Some(Fault::Answer(status, code)) => {
            drop(request.into_body().collect().await);
            let text = format!("<Error><Code>{code}</Code><Message>as planned</Message></Error>");
            let mut answer = Response::new(Body::from(text));
            *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
            Ok(answer)
        }
        Some(Fault::CutUpload) => {
            let (head, mut body) = request.into_parts();
            let len = length(&head.headers);
            let mut come = 0;
            while come < len / 2
                && let Some(Ok(frame)) = body.frame().await
            {
                come += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Some(Fault::SpoilUpload) => {
            let (head, body) = request.into_parts();
            let mut bytes = BytesMut::from(&collected(body).await?[..]);
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            done(&shared, Request::from_parts(head, Body::from(bytes.freeze()))).await
        }
        Some(Fault::IgnoreRange) => {
            let file = shared.root.join(request.uri().path().trim_start_matches('/'));
            let (mut head, _) = whole(&shared, request.map(Body::from)).await?;
            let bytes = fs::read(file)?;
            head.status = StatusCode::OK;
            head.headers.remove("content-range");
            head.headers.insert(CONTENT_LENGTH, bytes.len().into());
            Ok(Response::from_parts(head, Body::from(bytes)))
        }
        Some(fault) => {
            let (mut head, bytes) = whole(&shared, request.map(Body::from)).await?;
            let (mut sent, mut rest) = (BytesMut::from(&bytes[..]), None);
            match fault {
                Fault::LoseAnswer => return Err(io::ErrorKind::ConnectionReset.into()),
                Fault::Spoil => {
                    let middle = sent.len() / 2;
                    if let Some(byte) = sent.get_mut(middle) {
                        *byte ^= 1;
                    }
                }
                Fault::Lengthen => {
                    sent.extend_from_slice(b"x");
                    head.headers.insert(CONTENT_LENGTH, sent.len().into());
                }
                Fault::Overstate => {
                    head.headers.insert(CONTENT_LENGTH, (sent.len() + 1).into());
                    rest = Some(false);
                }
                Fault::CutAnswer | Fault::StallAnswer => {
                    head.headers.insert(CONTENT_LENGTH, sent.len().into());
                    sent.truncate(bytes.len() / 2);
                    rest = Some(fault == Fault::StallAnswer);
                }
                fault => unreachable!("{fault:?}"),
            }
            let body = match rest {
                None => Body::from(sent.freeze()),
                Some(stalls) => half(sent.freeze(), stalls),
            };
            Ok(Response::from_parts(head, body))
        }
    }
}

/// How long a body is said to be.
fn length(headers: &HeaderMap) -> u64 {
    headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok()).unwrap_or(0)
}

/// A body that does not end as it should.
fn half(bytes: Bytes, stalls: bool) -> Body {
    let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
    tokio::spawn(async move {
        let _ = sender.send_data(bytes).await;
        // What was sent is to leave first.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match stalls {
            true => std::future::pending::<()>().await,
            false => sender.abort(io::ErrorKind::ConnectionReset.into()),
        }
    });
    Body::http_body(body)
}

async fn done(shared: &Shared, request: Request<Body>) -> Answer {
    shared.service.call(request).await.map_err(io::Error::other)
}

async fn whole(shared: &Shared, request: Request<Body>) -> io::Result<(hyper::http::response::Parts, Bytes)> {
    let (head, body) = done(shared, request).await?.into_parts();
    Ok((head, body.collect().await.map_err(io::Error::other)?.to_bytes()))
}

async fn collected(body: Incoming) -> io::Result<Bytes> {
    let collected: Result<_, hyper::Error> = body.collect().await;
    Ok(collected.map_err(io::Error::other)?.to_bytes())
}
