//! A bucket on a real server, in this process.

#![allow(dead_code, reason = "not every test file uses all of it")]

use plakar_store::{Name, Patience, Result};
use plakar_store_object::{Keys, ObjectStore, Options, Place, Way};
use plakar_testkit_s3::{ACCESS_KEY, SECRET_KEY, Server};
use std::cell::Cell;
use std::time::Duration;

pub struct Bucket {
    pub server: Server,
    pub way: Way,
    made: Cell<usize>,
    _folder: tempfile::TempDir,
}

/// Short enough for a test.
pub const PATIENCE: Patience = Patience { idle: Duration::from_millis(800), retries: Duration::from_secs(4) };

impl Bucket {
    pub fn new() -> Bucket {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path());
        server.make_bucket("bucket");
        let options = Options::parse(&format!("endpoint={}", server.endpoint())).unwrap();
        let keys = Some(Keys { id: ACCESS_KEY.into(), secret: SECRET_KEY.into() });
        let way = Way { options, patience: PATIENCE, keys, ..Way::default() };
        Bucket { server, way, made: Cell::new(0), _folder: folder }
    }

    /// A store under a prefix of its own.
    pub fn create_new(&self) -> ObjectStore {
        self.made.set(self.made.get() + 1);
        self.create(&format!("s3://bucket/a/{}", self.made.get())).unwrap()
    }

    pub fn create(&self, at: &str) -> Result<ObjectStore> {
        ObjectStore::create(&place(at), &self.way)
    }

    pub fn open(&self, at: &str) -> Result<ObjectStore> {
        ObjectStore::open(&place(at), &self.way)
    }
}

pub fn place(at: &str) -> Place {
    Place::parse(at).unwrap().unwrap()
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Bytes that nothing makes shorter.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}
