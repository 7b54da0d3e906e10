//! Servers on loopback, and what reaches them.

#![allow(dead_code, reason = "each test uses some of it")]

use plakar_net::{Connect, Limits, NetStore, Patience, Place, Service, Tcp, serve_tcp};
use plakar_store::{Error, ErrorKind, MemoryStore, Result, Store};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A place where a store is, or none yet.
pub struct Somewhere(pub Mutex<Option<Arc<dyn Store>>>);

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

/// A server on loopback, until it is dropped.
pub struct Server {
    pub address: String,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(store: Arc<dyn Store>) -> Server {
        Server::with(Some(store), Limits::default())
    }

    pub fn with(store: Option<Arc<dyn Store>>, limits: Limits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = channel();
        let service = Service::new(Box::new(Somewhere(Mutex::new(store))), limits);
        let thread = std::thread::spawn(move || serve_tcp(service, listener, until(stopped)).unwrap());
        Server { address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn tcp(&self) -> Box<dyn Connect> {
        Box::new(Tcp(self.address.clone()))
    }
}

async fn until(stopped: Receiver<()>) {
    while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Nobody waits long here.
pub const PATIENCE: Patience = Patience { idle: Duration::from_secs(20), retries: Duration::from_secs(5) };

/// The store that is reached so.
pub fn client(connect: Box<dyn Connect>) -> NetStore {
    NetStore::open(connect, "the server".into(), PATIENCE).unwrap()
}
