//! Servers on loopback, and what reaches them.

#![allow(dead_code, reason = "each test uses some of it")]

use plakar_net::{
    Address, Connect, Door, Guest, Identity, Limits, Log, NetStore, Place, Repositories, Rules, Tcp, Tokens,
    Visit,
};
use plakar_store::{Error, ErrorKind, MemoryStore, Patience, Result, Store};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A place where a store is, or none yet.
#[derive(Clone)]
pub struct Somewhere(pub Arc<Mutex<Option<Arc<dyn Store>>>>);

impl Place for Somewhere {
    fn open(&self) -> Result<Arc<dyn Store>> {
        self.0.lock().unwrap().clone().ok_or_else(|| Error::new(ErrorKind::NotFound, "here"))
    }

    fn create(&self) -> Result<Arc<dyn Store>> {
        let mut place = self.0.lock().unwrap();
        if place.is_some() {
            return Err(Error::new(ErrorKind::Exists, "here"));
        }
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        *place = Some(store.clone());
        Ok(store)
    }
}

/// Places by their names.
pub struct Several(pub Vec<(&'static str, Somewhere)>);

impl Repositories for Several {
    fn place(&self, name: &str) -> Option<Box<dyn Place>> {
        let (_, place) = self.0.iter().find(|(one, _)| *one == name)?;
        Some(Box::new(place.clone()))
    }
}

/// Whoever has one of these tokens is let in; all, if there are none.
#[derive(Clone, Default)]
pub struct Tickets(pub Arc<Mutex<Tokens>>);

impl Tickets {
    pub fn add(&self, guest: Guest, expires: Option<i64>) -> String {
        let random = *blake3::hash(guest.name.as_bytes()).as_bytes();
        self.0.lock().unwrap().add(guest, expires, random).unwrap()
    }
}

impl Door for Tickets {
    fn admit(&self, token: Option<&str>) -> Result<Guest> {
        let tokens = self.0.lock().unwrap();
        if tokens.is_empty() { Ok(Guest::anybody()) } else { tokens.admit(token, 1_000_000) }
    }
}

/// What was written down.
#[derive(Clone, Default)]
pub struct Visits(pub Arc<Mutex<Vec<Visit>>>);

impl Log for Visits {
    fn note(&self, visit: &Visit) {
        self.0.lock().unwrap().push(visit.clone());
    }
}

/// What a server is to be.
pub struct Wanted {
    pub repositories: Several,
    pub tickets: Tickets,
    pub limits: Limits,
    pub quota: Option<u64>,
    pub identity: Option<Identity>,
}

impl Wanted {
    /// One store, or none yet, that anybody has access to.
    pub fn of(store: Option<Arc<dyn Store>>) -> Wanted {
        let somewhere = Somewhere(Arc::new(Mutex::new(store)));
        Wanted {
            repositories: Several(vec![("", somewhere)]),
            tickets: Tickets::default(),
            limits: Limits::default(),
            quota: None,
            identity: None,
        }
    }
}

/// A server on loopback, until it is dropped.
pub struct Server {
    pub address: String,
    pub visits: Visits,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(store: Arc<dyn Store>) -> Server {
        Server::with(Some(store), Limits::default())
    }

    pub fn with(store: Option<Arc<dyn Store>>, limits: Limits) -> Server {
        Server::wanted(Wanted { limits, ..Wanted::of(store) })
    }

    pub fn wanted(wanted: Wanted) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, visits) = (Arc::new(AtomicBool::new(false)), Visits::default());
        let Wanted { repositories, tickets, limits, quota, identity } = wanted;
        let rules = Rules { door: Box::new(tickets), log: Arc::new(visits.clone()), limits, quota };
        let server = plakar_net::Server::new(Box::new(repositories), rules);
        let until = plakar_net::raised(stop.clone());
        let thread = std::thread::spawn(move || server.serve(listener, identity, until).unwrap());
        Server { address, visits, stop, thread: Some(thread) }
    }

    pub fn tcp(&self) -> Box<dyn Connect> {
        Box::new(Tcp(self.address.clone()))
    }

    /// As [`tcp`](Self::tcp), to one of several repositories, with a token.
    pub fn named(&self, name: &str, token: Option<&str>) -> Box<dyn Connect> {
        let base = format!("http://{}/{name}", self.address).trim_end_matches('/').to_owned();
        Box::new(Named(Tcp(self.address.clone()), Address { base, token: token.map(str::to_owned) }))
    }
}

/// A connection with an address.
struct Named(Tcp, Address);

impl Connect for Named {
    fn connect(&self) -> plakar_net::Connecting<'_> {
        self.0.connect()
    }

    fn address(&self) -> Address {
        self.1.clone()
    }

    fn peer(&self) -> String {
        self.0.peer()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Nobody waits long here.
pub const PATIENCE: Patience = Patience { idle: Duration::from_secs(20), retries: Duration::from_secs(5) };

/// The store that is reached so.
pub fn client(connect: Box<dyn Connect>) -> NetStore {
    NetStore::open(connect, "the server".into(), PATIENCE).unwrap()
}
