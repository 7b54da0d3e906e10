//! What came of each request, for a log and for whoever watches a server.

use crate::service::Sent;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

/// A request that was answered, or given up.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Who came from where.
    pub peer: SocketAddr,
    /// What the token is called, if it let somebody in.
    pub guest: Option<String>,
    /// What was asked: the method,
    pub method: String,
    /// and the path, in which nothing needs to be quoted.
    pub path: String,
    /// How it was answered.
    pub status: u16,
    /// Bytes of the request's body, if it was taken,
    pub received: u64,
    /// and of the answer's, as far as it was sent.
    pub sent: u64,
}

/// Where it is written down.
pub trait Log: Send + Sync {
    /// Takes note of a request.
    fn note(&self, visit: &Visit);
}

/// What has been counted since the server began.
#[derive(Default)]
pub struct Meter {
    requests: Mutex<BTreeMap<u16, u64>>,
    received: AtomicU64,
    sent: AtomicU64,
    pub connections: AtomicU64,
    pub open: AtomicU64,
    /// Requests that are being answered.
    pub asked: AtomicU64,
}

impl Meter {
    fn count(&self, visit: &Visit) {
        *self.requests.lock().expect("no panic while held").entry(visit.status).or_default() += 1;
        self.received.fetch_add(visit.received, Ordering::Relaxed);
        self.sent.fetch_add(visit.sent, Ordering::Relaxed);
    }

    /// All of it, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let begin = |name: &str, kind: &str, help: &str| {
            format!("# HELP plakar_{name} {help}\n# TYPE plakar_{name} {kind}\n")
        };
        text += &begin("requests_total", "counter", "Requests answered, by status.");
        for (status, n) in &*self.requests.lock().expect("no panic while held") {
            let _ = writeln!(text, "plakar_requests_total{{status=\"{status}\"}} {n}");
        }
        for (name, kind, help, value) in [
            ("received_bytes_total", "counter", "Bytes of bodies of requests.", &self.received),
            ("sent_bytes_total", "counter", "Bytes of bodies of answers.", &self.sent),
            ("connections_total", "counter", "Connections accepted.", &self.connections),
            ("connections", "gauge", "Connections that are open.", &self.open),
            ("requests", "gauge", "Requests that are being answered.", &self.asked),
        ] {
            text += &begin(name, kind, help);
            let _ = writeln!(text, "plakar_{name} {}", value.load(Ordering::Relaxed));
        }
        text
    }
}

/// A request that is being answered. It is told of when that is over, in whatever way.
pub struct Visiting {
    pub visit: Visit,
    meter: Arc<Meter>,
    log: Arc<dyn Log>,
}

/// The status of what nobody waited for any more.
const GONE: u16 = 499;

impl Visiting {
    pub fn new(peer: SocketAddr, method: &str, path: &str, meter: Arc<Meter>, log: Arc<dyn Log>) -> Visiting {
        let (method, path) = (method.escape_default().to_string(), path.escape_default().to_string());
        meter.asked.fetch_add(1, Ordering::Relaxed);
        let visit = Visit { peer, guest: None, method, path, status: GONE, received: 0, sent: 0 };
        Visiting { visit, meter, log }
    }
}

impl Drop for Visiting {
    fn drop(&mut self) {
        self.meter.asked.fetch_sub(1, Ordering::Relaxed);
        self.meter.count(&self.visit);
        self.log.note(&self.visit);
    }
}

/// The body of an answer, which ends a visit.
pub struct Told {
    body: Sent,
    visiting: Visiting,
}

impl Told {
    pub fn new(body: Sent, visiting: Visiting) -> Told {
        Told { body, visiting }
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = <Sent as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.visiting.visit.sent += data.len() as u64;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
