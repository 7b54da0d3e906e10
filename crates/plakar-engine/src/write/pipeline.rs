//! From open blocks to stored packs, on several threads, in bounded memory.
//!
//! Workers compress and seal; one more thread puts packs, or several where each is waited for. Blocks may arrive in packs in another order
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

/// So many packs are put at a time where the store is far away: while one is being answered, the next is on its way.
const PUTS_FAR: usize = 2;

/// So large a piece of memory is never kept by the usual allocator of Linux once it is free. Of smaller ones it learns to keep
/// as much as they have, twice, for each thread.
const MAPPED_BYTES: usize = (32 << 20) + 1;

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
    /// Full packs that no thread that puts packs has taken yet.
    waiting: usize,
    stored: Vec<Stored>,
    failed: Option<Error>,
}

impl Inner {
    fn open(&mut self, kind: ItemKind) -> &mut Option<PackWriter> {
        match kind {
            ItemKind::Chunk => &mut self.data,
            ItemKind::Node => &mut self.tree,
        }
    }
}

/// Takes open blocks and stores packs.
pub struct Pipeline {
    shared: Arc<Shared>,
    blocks: Option<SyncSender<OpenBlock>>,
    packs: Option<SyncSender<PackWriter>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    /// Starts `workers` sealing threads and those that put packs.
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
        let (block_queue, pack_queue) = (Arc::new(Mutex::new(block_queue)), Arc::new(Mutex::new(pack_queue)));
        let puts = if shared.store.capabilities().local { 1 } else { PUTS_FAR };
        let mut threads = Vec::new();
        for _ in 0..workers {
            let (shared, queue, packs) = (shared.clone(), block_queue.clone(), packs.clone());
            threads.push(std::thread::spawn(move || seal_blocks(&shared, &queue, &packs, compression)));
        }
        for _ in 0..puts {
            let (shared, queue) = (shared.clone(), pack_queue.clone());
            threads.push(std::thread::spawn(move || put_packs(&shared, &queue)));
        }
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
        match add(&self.shared, block) {
            Some(pack) => self.put(pack),
            None => Ok(()),
        }
    }

    fn put(&self, pack: PackWriter) -> Result<()> {
        self.shared.state.lock().expect("no panic while held").working += 1;
        let queue = self.packs.as_ref().expect("it runs until it is dropped");
        match hand_over(&self.shared, queue, pack) {
            true => Ok(()),
            false => Err(Error::Refused("the writing threads are gone".into())),
        }
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
            self.shared.state.lock().expect("no panic while held").waiting += 1;
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
        if full.is_some_and(|pack| hand_over(shared, packs, pack)) {
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

/// Adds a block to the open pack of its kind; returns that when it is full, to be handed over. While a full one waits, none
/// is begun: packs are large, and so there are few, however many workers.
fn add(shared: &Shared, block: SealedBlock) -> Option<PackWriter> {
    let mut inner = shared.state.lock().expect("no panic while held");
    while inner.waiting > 0 && inner.open(block.kind).is_none() {
        inner = shared.changed.wait(inner).expect("no panic while held");
    }
    if inner.open(block.kind).is_none() {
        // What is not touched of it costs nothing.
        let room = || Vec::with_capacity((shared.pack_bytes + shared.pack_bytes / 8).max(MAPPED_BYTES));
        let memory = inner.spare.take().unwrap_or_else(room);
        *inner.open(block.kind) = Some(PackWriter::new(&shared.sealer, memory));
    }
    let slot = inner.open(block.kind);
    let pack = slot.as_mut().expect("one was begun");
    pack.push(block);
    let full = if pack.is_full(shared.pack_bytes) { slot.take() } else { None };
    inner.waiting += usize::from(full.is_some());
    full
}

/// Hands a pack that counts as waiting to a thread that puts packs, once one is free. Whether there still is one.
fn hand_over(shared: &Shared, packs: &SyncSender<PackWriter>, pack: PackWriter) -> bool {
    let sent = packs.send(pack).is_ok();
    shared.state.lock().expect("no panic while held").waiting -= 1;
    shared.changed.notify_all();
    sent
}

fn put_packs(shared: &Shared, queue: &Mutex<Receiver<PackWriter>>) {
    let mut memory = Vec::new();
    loop {
        let pack = queue.lock().expect("no panic while held").recv();
        let Ok(pack) = pack else { return };
        let _guard = Working { shared, done: false };
        if shared.state.lock().expect("no panic while held").failed.is_some() {
            continue;
        }
        let FinishedPack { hash, bytes, end, directory } =
            pack.finish(&shared.sealer, std::mem::take(&mut memory));
        match shared.store.put(&pack_name(&hash), &[&bytes, &end]) {
            Ok(()) => {
                let stored = Stored { hash, directory, len: (bytes.len() + end.len()) as u64 };
                let mut inner = shared.state.lock().expect("no panic while held");
                inner.stored.push(stored);
                inner.spare = Some(bytes);
                memory = end;
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
