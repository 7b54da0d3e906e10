//! From open blocks to stored packs, on several threads, in bounded memory.
//!
//! Workers compress and seal; one more thread puts packs. Blocks may arrive in packs in another order
//! than they were given. The first error stops everything and is returned by the next call.

use crate::block::{BlockSealer, Compression, ItemKind, OpenBlock, SealedBlock};
use crate::crypto::DomainKeys;
use crate::crypto::seal::Sealer;
use crate::error::{Error, Result};
use crate::id::ObjectHash;
use crate::pack::{BlockEntry, FinishedPack, PackWriter, pack_name};
use plakar_store::Store;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// Data and tree blocks of a session that has fewer sealed bytes travel in one mixed pack.
const MIXED_BYTES_MAX: usize = 4 << 20;

/// A pack that was put (durable after the next barrier).
pub struct Stored {
    /// Its hash.
    pub hash: ObjectHash,
    /// What it holds.
    pub directory: Vec<BlockEntry>,
    /// Its length in bytes.
    pub len: u64,
}

/// What the threads share.
struct Shared {
    store: Arc<dyn Store>,
    sealer: Arc<Sealer>,
    keys: Arc<DomainKeys>,
    pack_bytes: usize,
    state: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    data: Option<PackWriter>,
    tree: Option<PackWriter>,
    /// The memory of the last pack that was put, for the next: memory that was never touched costs as much as copying.
    spare: Option<Vec<u8>>,
    /// Blocks and packs that are neither in a pack nor stored yet.
    working: usize,
    stored: Vec<Stored>,
    failed: Option<Error>,
}

/// Takes open blocks and stores packs.
pub struct Pipeline {
    shared: Arc<Shared>,
    blocks: Option<SyncSender<OpenBlock>>,
    packs: Option<SyncSender<PackWriter>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    /// Starts `workers` sealing threads and one that puts packs.
    pub fn start(
        store: Arc<dyn Store>,
        sealer: Arc<Sealer>,
        keys: Arc<DomainKeys>,
        compression: Compression,
        pack_bytes: usize,
        workers: usize,
    ) -> Pipeline {
        let shared = Arc::new(Shared {
            store,
            sealer,
            keys,
            pack_bytes,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let (blocks, block_queue) = sync_channel::<OpenBlock>(4 * workers);
        let (packs, pack_queue) = sync_channel::<PackWriter>(0);
        let block_queue = Arc::new(Mutex::new(block_queue));
        let mut threads = Vec::new();
        for _ in 0..workers {
            let (shared, queue, packs) = (shared.clone(), block_queue.clone(), packs.clone());
            threads.push(std::thread::spawn(move || seal_blocks(&shared, &queue, &packs, compression)));
        }
        let also = shared.clone();
        threads.push(std::thread::spawn(move || put_packs(&also, &pack_queue)));
        Pipeline { shared, blocks: Some(blocks), packs: Some(packs), threads }
    }

    /// Hands over a block that is not empty. Waits while the workers are busy.
    pub fn push(&self, block: OpenBlock) -> Result<()> {
        {
            let mut inner = self.shared.state.lock().expect("no panic while held");
            check(&mut inner)?;
            inner.working += 1;
        }
        let blocks = self.blocks.as_ref().expect("it runs until it is dropped");
        blocks.send(block).map_err(|_| Error::Refused("the writing threads are gone".into()))
    }

    /// Takes over a block that is sealed already. Waits while packs are being stored.
    pub fn push_sealed(&self, block: SealedBlock) -> Result<()> {
        check(&mut self.shared.state.lock().expect("no panic while held"))?;
        let Some(pack) = add(&self.shared, block) else { return Ok(()) };
        self.put(pack)
    }

    fn put(&self, pack: PackWriter) -> Result<()> {
        self.shared.state.lock().expect("no panic while held").working += 1;
        let queue = self.packs.as_ref().expect("it runs until it is dropped");
        queue.send(pack).map_err(|_| Error::Refused("the writing threads are gone".into()))
    }

    /// Packs stored since the last call.
    pub fn stored(&self) -> Result<Vec<Stored>> {
        let mut inner = self.shared.state.lock().expect("no panic while held");
        check(&mut inner)?;
        Ok(std::mem::take(&mut inner.stored))
    }

    /// Closes and stores all packs; returns those stored since the last call of [`stored`](Self::stored).
    pub fn flush(&self) -> Result<Vec<Stored>> {
        self.wait()?;
        let (data, tree) = {
            let mut inner = self.shared.state.lock().expect("no panic while held");
            (inner.data.take(), inner.tree.take())
        };
        let mut packs: Vec<_> = match (data, tree) {
            (Some(mut data), Some(tree)) if data.len() + tree.len() < MIXED_BYTES_MAX => {
                data.append(tree);
                vec![data]
            }
            (data, tree) => data.into_iter().chain(tree).collect(),
        };
        for pack in packs.drain(..) {
            self.put(pack)?;
        }
        self.wait()?;
        self.stored()
    }

    fn wait(&self) -> Result<()> {
        let mut inner = self.shared.state.lock().expect("no panic while held");
        while inner.working > 0 && inner.failed.is_none() {
            inner = self.shared.changed.wait(inner).expect("no panic while held");
        }
        check(&mut inner)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        drop((self.blocks.take(), self.packs.take()));
        for thread in self.threads.drain(..) {
            // A panic in a thread was reported where it happened, and its work counts as not done.
            let _ = thread.join();
        }
    }
}

/// Returns the error of a thread, once; afterwards there is none left to return, so it stays failed.
fn check(inner: &mut Inner) -> Result<()> {
    match inner.failed.replace(Error::Refused("writing failed before".into())) {
        Some(error) => Err(error),
        None => {
            inner.failed = None;
            Ok(())
        }
    }
}

fn seal_blocks(
    shared: &Shared,
    queue: &Mutex<Receiver<OpenBlock>>,
    packs: &SyncSender<PackWriter>,
    compression: Compression,
) {
    let mut sealer = BlockSealer::new(compression);
    loop {
        let block = queue.lock().expect("no panic while held").recv();
        let Ok(block) = block else { return };
        let guard = Working { shared, done: false };
        let sealed = sealer.seal(block, &shared.sealer, &shared.keys);
        let full = match sealed {
            Ok(sealed) => add(shared, sealed),
            Err(e) => {
                fail(shared, e);
                None
            }
        };
        // The work goes on with the pack, if one is full.
        if full.is_some_and(|pack| packs.send(pack).is_ok()) {
            guard.hand_over();
        }
    }
}

/// One piece of work in progress; when it ends, in whatever way, whoever waits is told.
struct Working<'a> {
    shared: &'a Shared,
    done: bool,
}

impl Working<'_> {
    fn hand_over(mut self) {
        self.done = true;
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fail(self.shared, Error::Refused("a writing thread panicked".into()));
        }
        if !self.done {
            self.shared.state.lock().unwrap_or_else(|e| e.into_inner()).working -= 1;
            self.shared.changed.notify_all();
        }
    }
}

fn add(shared: &Shared, block: SealedBlock) -> Option<PackWriter> {
    let mut inner = shared.state.lock().expect("no panic while held");
    let Inner { data, tree, spare, .. } = &mut *inner;
    let slot = match block.kind {
        ItemKind::Chunk => data,
        ItemKind::Node => tree,
    };
    let pack = slot.get_or_insert_with(|| {
        // What is not touched of it costs nothing.
        let room = || Vec::with_capacity(shared.pack_bytes + shared.pack_bytes / 8);
        PackWriter::new(&shared.sealer, spare.take().unwrap_or_else(room))
    });
    pack.push(block);
    if pack.len() >= shared.pack_bytes { slot.take() } else { None }
}

fn put_packs(shared: &Shared, queue: &Receiver<PackWriter>) {
    while let Ok(pack) = queue.recv() {
        let _guard = Working { shared, done: false };
        if shared.state.lock().expect("no panic while held").failed.is_some() {
            continue;
        }
        let FinishedPack { hash, bytes, directory } = pack.finish(&shared.sealer);
        match shared.store.put(&pack_name(&hash), &[&bytes]) {
            Ok(()) => {
                let stored = Stored { hash, directory, len: bytes.len() as u64 };
                let mut inner = shared.state.lock().expect("no panic while held");
                inner.stored.push(stored);
                inner.spare = Some(bytes);
            }
            Err(e) => fail(shared, e.into()),
        }
    }
}

fn fail(shared: &Shared, error: Error) {
    let mut inner = shared.state.lock().unwrap_or_else(|e| e.into_inner());
    inner.failed.get_or_insert(error);
    shared.changed.notify_all();
}
