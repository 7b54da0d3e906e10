//! A server of one repository or several: who comes, to which of them, and what is told of it.
//!
//! ```text
//! /v1/…         the only repository
//! /NAME/v1/…    one of several
//! /healthz      that it is there, to anybody
//! /metrics      what it has counted, to whoever is let in
//! ```

use crate::arriving::Room;
use crate::door::{Door, Guest};
use crate::service::{Answer, Limits, Place, Service, after_version, for_method, refused};
use crate::tokens::is_plain;
use crate::visit::{Log, Meter, Told, Visiting};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap};
use hyper::{Method, Request, Response};
use plakar_store::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The repositories that a server gives access to.
pub trait Repositories: Send + Sync {
    /// Where the one of this name is, or is to be; that of an empty name if there is only one. Names lead nowhere
    /// ([`is_plain`]).
    fn place(&self, name: &str) -> Option<Box<dyn Place>>;
}

/// What holds for all guests of a server.
pub struct Rules {
    /// Who is let in.
    pub door: Box<dyn Door>,
    /// Where each request is written down.
    pub log: Arc<dyn Log>,
    /// What all of them together may ask for.
    pub limits: Limits,
    /// No repository is to have more bytes.
    pub quota: Option<u64>,
}

/// Gives access to repositories. Everything that is in a request is taken for hostile.
pub struct Server {
    repositories: Box<dyn Repositories>,
    rules: Rules,
    /// Those that somebody asked for and that are there.
    services: Mutex<HashMap<String, Arc<Service>>>,
    room: Arc<Room>,
    meter: Arc<Meter>,
}

/// A connection, while it is open.
pub struct Open(Arc<Meter>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Gives access to these repositories.
    pub fn new(repositories: Box<dyn Repositories>, rules: Rules) -> Arc<Server> {
        let room = Room::new(&rules.limits);
        Arc::new(Server { repositories, rules, services: Mutex::default(), room, meter: Arc::default() })
    }

    pub(crate) fn idle(&self) -> Duration {
        self.rules.limits.idle
    }

    /// Whether somebody waits for an answer, or for the rest of one.
    pub(crate) fn is_asked(&self) -> bool {
        self.meter.asked.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn begin(&self) -> Open {
        self.meter.connections.fetch_add(1, Ordering::Relaxed);
        self.meter.open.fetch_add(1, Ordering::Relaxed);
        Open(self.meter.clone())
    }

    /// Answers one request.
    pub(crate) async fn answer(
        self: Arc<Self>,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> Response<Told> {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let (meter, log) = (self.meter.clone(), self.rules.log.clone());
        let mut visiting = Visiting::new(peer, request.method().as_str(), path, meter, log);
        let len = header(request.headers(), CONTENT_LENGTH.as_str()).and_then(|len| len.parse().ok());
        let method = request.method().clone();
        let answer = self.let_in(&mut visiting, request).await;
        let answer = answer.unwrap_or_else(|e| for_method(&method, refused(&e)));
        visiting.visit.status = answer.status().as_u16();
        if answer.status().is_success() {
            visiting.visit.received = len.unwrap_or(0);
        }
        answer.map(|body| Told::new(body, visiting))
    }

    async fn let_in(self: &Arc<Self>, visiting: &mut Visiting, request: Request<Incoming>) -> Result<Answer> {
        let path = request.uri().path().strip_prefix('/').unwrap_or_default().to_owned();
        if path == "healthz" {
            return Ok(text("ok\n".into()));
        }
        let guest = self.rules.door.admit(token_in(request.headers()))?;
        if guest.is_anybody() && SPEAKS_FOR_OTHERS.iter().any(|name| request.headers().contains_key(*name)) {
            return Err(Error::new(
                ErrorKind::Denied,
                "a token is needed by pages in browsers and behind proxies",
            ));
        }
        visiting.visit.guest = Some(guest.name.clone());
        if path == "metrics" && request.method() == Method::GET {
            return Ok(text(self.meter.text()));
        }
        let (name, path) = match path.split_once('/').unwrap_or((&path, "")) {
            (first, _) if is_version(first) => ("", &path[..]),
            (name, rest) => (name, rest),
        };
        // Whoever speaks another version is told so, whatever it is called there.
        after_version(path)?;
        let none = || Error::new(ErrorKind::NotFound, "no repository is served here");
        // That there is another one is not its business.
        if guest.repository.as_deref().is_some_and(|only| only != name) {
            return Err(none());
        }
        if !name.is_empty() && !is_plain(name) {
            return Err(none());
        }
        let service = self.service(name).ok_or_else(none)?;
        let quota = [guest.quota, self.rules.quota].into_iter().flatten().min();
        Ok(service.answer(path, &Guest { quota, ..guest }, request).await)
    }

    fn service(&self, name: &str) -> Option<Arc<Service>> {
        let mut services = self.services.lock().expect("no panic while held");
        if let Some(service) = services.get(name) {
            return Some(service.clone());
        }
        let place = self.repositories.place(name)?;
        let service = Service::beside(place, self.rules.limits, self.room.clone());
        // Names that nobody serves are asked for without end.
        services.retain(|_, service| service.is_open() || Arc::strong_count(service) > 1);
        services.insert(name.into(), service.clone());
        Some(service)
    }
}

/// What shows that whoever connected asks for somebody else, who may be anywhere: a browser for a page that somebody looks at,
/// or a proxy on the same machine.
const SPEAKS_FOR_OTHERS: [&str; 5] = ["origin", "forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// Whether it is a version of the protocol, and so no name of a repository.
fn is_version(text: &str) -> bool {
    let digits = text.strip_prefix('v').unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn token_in(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = header(headers, AUTHORIZATION.as_str())?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

fn text(text: String) -> Answer {
    let answer = Response::builder().header("content-type", "text/plain; version=0.0.4; charset=utf-8");
    answer.body(Either::Left(Full::from(Bytes::from(text)))).expect("its parts are constant")
}
