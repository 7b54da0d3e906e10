//! How requests go out: HTTP/1.1, TLS by those whom this system trusts.
//!
//! opendal brings a client of its own. This one is `hyper`, which is here already, and it holds what that one does not: a
//! bandwidth, an end to whoever says nothing for long, and a bound on the length of every answer.

use crate::body::{Coming, Sending, cut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, Result};
use plakar_store::Bandwidth;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::timeout;

/// Longer than it takes to reach anybody.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Longer than it takes the machine itself to answer, where it has something to say of credentials.
const METADATA_MAX: Duration = Duration::from_secs(2);
/// A page of a listing, or what is said of a failure, is shorter.
const TEXT_MAX: u64 = 256 << 20;

/// Sends requests.
pub struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Sending>,
    bandwidth: Bandwidth,
    idle: Duration,
}

impl Transport {
    /// One that gives up on whoever moves nothing for `idle`.
    ///
    /// # Errors
    /// When TLS cannot be had.
    pub fn new(bandwidth: Bandwidth, idle: Duration) -> io::Result<Transport> {
        let mut roots = rustls::RootCertStore::empty();
        // Where nobody is trusted, `https://` fails and says so, and `http://` works.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX.min(idle)));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30));
        if let Some(pace) = &bandwidth.download {
            // What is read ahead is read at once.
            builder.http1_max_buf_size(pace.piece().max(16 << 10));
        }
        Ok(Transport { client: builder.build(connector), bandwidth, idle })
    }

    async fn answer(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        let (mut head, body) = request.into_parts();
        head.version = http::Version::HTTP_11;
        let asked = Asked::of(&head.method, &head.headers);
        let moved = Arc::new(AtomicU64::new(0));
        let sending = Sending::new(body, self.bandwidth.upload.clone(), moved.clone());
        let mut answer = std::pin::pin!(self.client.request(Request::from_parts(head, sending)));
        let answer = loop {
            let before = moved.load(Relaxed);
            match timeout(self.idle, &mut answer).await {
                Ok(answer) => {
                    break answer.map_err(|e| if is_stranger(&e) { refused(&e) } else { cut(said(&e)) })?;
                }
                Err(_) if moved.load(Relaxed) != before => {}
                Err(_) => return Err(cut("there is no answer")),
            }
        };
        let (head, body) = answer.into_parts();
        let len = head.headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        let len = len.filter(|_| asked.method != Method::HEAD);
        let max = asked.suits(head.status, &head.headers, len)?;
        if len.is_some_and(|len: u64| len > max) {
            return Err(Error::new(ErrorKind::Unexpected, "the answer is longer than what was asked for"));
        }
        let coming = Coming::new(body, self.bandwidth.download.clone(), self.idle, max);
        Ok(Response::from_parts(head, HttpBody::new(coming, len)))
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> Result<Response<HttpBody>> {
        // Where there is no such machine nothing answers at all, and whoever has no credentials waits for it.
        let of_this_machine = request.uri().host().is_some_and(|host| {
            host.starts_with("169.254.") || host == "[fd00:ec2::254]" || host == "metadata.google.internal"
        });
        match of_this_machine {
            true => timeout(METADATA_MAX, self.answer(request))
                .await
                .unwrap_or_else(|_| Err(cut("there is no answer"))),
            false => self.answer(request).await,
        }
    }
}

tokio::task_local! {
    /// How many bytes an object may have that is being read whole, where it is being read.
    pub static MAX: u64;
}

/// What an answer is compared with.
struct Asked {
    method: Method,
    /// First and last byte.
    range: Option<(u64, u64)>,
}

impl Asked {
    fn of(method: &Method, headers: &HeaderMap) -> Asked {
        let range = headers.get(header::RANGE).and_then(|range| {
            let (first, last) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Asked { method: method.clone(), range }
    }

    /// How long an answer may be, if it is one to this. `len` is how long it says that it is.
    fn suits(&self, status: StatusCode, headers: &HeaderMap, len: Option<u64>) -> Result<u64> {
        match status {
            StatusCode::INSUFFICIENT_STORAGE => {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(Error::new(ErrorKind::Unexpected, "no space left").set_source(full));
            }
            StatusCode::NOT_IMPLEMENTED => {
                return Err(Error::new(ErrorKind::Unsupported, "the service cannot do that"));
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Error::new(ErrorKind::RangeNotSatisfied, "the object is shorter"));
            }
            StatusCode::UNAUTHORIZED => return Err(Error::new(ErrorKind::PermissionDenied, "")),
            status if !status.is_success() || self.method == Method::HEAD => return Ok(TEXT_MAX),
            _ => {}
        }
        let Some((first, last)) = self.range else {
            let max = MAX.try_with(|max| *max).unwrap_or(TEXT_MAX);
            if len.is_some_and(|len| len > max) {
                let long = io::Error::from(io::ErrorKind::FileTooLarge);
                return Err(Error::new(ErrorKind::Unexpected, "too long").set_source(long));
            }
            return Ok(max);
        };
        let told = headers.get(header::CONTENT_RANGE).and_then(|range| {
            let (first, rest) = range.to_str().ok()?.strip_prefix("bytes ")?.split_once('-')?;
            Some((first.parse::<u64>().ok()?, rest.split('/').next()?.parse::<u64>().ok()?))
        });
        let wanted = last.saturating_sub(first).saturating_add(1);
        let (suits, ends_before) = match status {
            StatusCode::PARTIAL_CONTENT => match told {
                Some((begins, ends)) => (begins == first, begins == first && ends < last),
                None => (true, len.is_some_and(|len| len < wanted)),
            },
            // Whoever passes over a range sends all: that is the same if it was meant from the first byte on, and tells how
            // long the object is.
            _ => (first == 0, len.is_some_and(|len| len <= last)),
        };
        // There is no need to have what there is.
        if ends_before {
            return Err(Error::new(ErrorKind::RangeNotSatisfied, "the object is shorter"));
        }
        if !suits {
            let what = "the service does not answer with the range that was asked for";
            return Err(Error::new(ErrorKind::Unexpected, what));
        }
        Ok(wanted)
    }
}

/// Whether whoever is there could not show that it is who was meant. Asked again it shows the same.
fn is_stranger(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(one) = error {
        // What an error of the system holds is not among those that it came from.
        let held = one.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if held.is_some_and(|held| is_stranger(held)) {
            return true;
        }
        if matches!(one.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        error = one.source();
    }
    false
}

fn refused(error: &hyper_util::client::legacy::Error) -> Error {
    Error::new(ErrorKind::Unexpected, said(error))
}

/// An error with those that it came from, as far as they say more.
fn said(error: &hyper_util::client::legacy::Error) -> String {
    let mut text =
        if error.is_connect() { "cannot be reached".to_owned() } else { "the connection was cut off".into() };
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of an answer to a request for these bytes: how long it may be, or what is wrong.
    fn suits(status: u16, range: Option<&str>, len: Option<u64>) -> std::result::Result<u64, ErrorKind> {
        let asked = Asked { method: Method::GET, range: Some((3, 5)) };
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(header::CONTENT_RANGE, range.parse().unwrap());
        }
        asked.suits(StatusCode::from_u16(status).unwrap(), &headers, len).map_err(|e| e.kind())
    }

    #[test]
    fn an_answer_is_compared_with_what_was_asked() {
        assert_eq!(suits(206, Some("bytes 3-5/9"), Some(3)), Ok(3));
        assert_eq!(suits(206, Some("bytes 3-5/*"), None), Ok(3));
        assert_eq!(suits(206, Some("bytes 3-4/5"), Some(2)), Err(ErrorKind::RangeNotSatisfied));
        assert_eq!(suits(206, None, Some(2)), Err(ErrorKind::RangeNotSatisfied));
        assert_eq!(suits(206, Some("bytes 0-2/9"), Some(3)), Err(ErrorKind::Unexpected));
        assert_eq!(suits(416, None, Some(0)), Err(ErrorKind::RangeNotSatisfied));
        // All of an object: as long as what was asked for, and not it.
        assert_eq!(suits(200, None, Some(3)), Err(ErrorKind::RangeNotSatisfied));
        assert_eq!(suits(200, None, Some(9)), Err(ErrorKind::Unexpected));
        assert_eq!(suits(200, None, None), Err(ErrorKind::Unexpected));
        assert_eq!(suits(404, None, Some(9)), Ok(TEXT_MAX));
    }
}
