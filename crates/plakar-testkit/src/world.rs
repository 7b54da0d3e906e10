//! Repositories in any store: made, opened, pushed to, checked, and restored into memory.

use crate::source::{Node, Path, Reading, Tree, What};
use plakar_engine::check::{CheckOptions, CheckReport, Reads, check};
use plakar_engine::chunker::{ChunkerKind, ChunkerParams};
use plakar_engine::crypto::slot::Cost;
use plakar_engine::id::{ChunkId, NodeId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::push::{Checkpoints, Observer, Progress, PushOptions, Pushed};
use plakar_engine::read::Reader;
use plakar_engine::repository::{self, Encryption, Locked, Repository};
use plakar_engine::tree::node::decode_xattrs;
use plakar_engine::tree::{Body, Chunks, Content, Device, Directory, FLAG_SPARSE, Kind, Meta, Time, Xattrs};
use plakar_engine::{Error, Result};
use plakar_store::{ReadStore, Store};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What opens every encrypted repository made here.
pub const PASSPHRASE: &[u8] = b"correct horse battery staple";
/// The root that is pushed.
pub const ROOT: &str = "root";
/// Chunks of about 1 KiB.
pub const SIZES: (u32, u32, u32) = (256, 1024, 4096);

/// How a repository is made.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The sizes of chunks.
    pub sizes: (u32, u32, u32),
    /// The length of packs.
    pub pack_bytes: u32,
}

impl Default for Making {
    fn default() -> Making {
        Making { encrypted: true, sizes: SIZES, pack_bytes: 32 << 10 }
    }
}

/// Makes a repository in an empty store.
pub fn create(store: &dyn Store, making: Making) -> Result<()> {
    let (min, avg, max) = making.sizes;
    let kind = if making.encrypted { ChunkerKind::Prf } else { ChunkerKind::FastCdc };
    let encryption = Encryption { passphrase: PASSPHRASE, label: "test", cost: Cost::TEST };
    let options = repository::Options {
        encryption: making.encrypted.then_some(encryption),
        chunker: Some(ChunkerParams { kind, min, avg, max }),
        compression: 1,
        pack_bytes: making.pack_bytes,
        now: 0,
    };
    repository::create(store, &options)
}

/// Opens a repository.
pub fn open(store: Arc<dyn ReadStore>) -> Result<Repository> {
    Locked::open(store)?.unlock(Some(PASSPHRASE))?.open()
}

/// How a tree is pushed.
#[derive(Clone)]
pub struct Pushing<'a> {
    /// When, in seconds since 1970: the latest snapshot is the base of the next.
    pub now: i64,
    /// The name of the root.
    pub root: &'a str,
    /// How the source reads.
    pub reading: Reading,
    /// Where hints are kept.
    pub hints: Option<PathBuf>,
    /// See [`PushOptions::trust_mtime`].
    pub trust_mtime: bool,
    /// Who pushes.
    pub uid: u32,
    /// How many threads seal.
    pub workers: usize,
    /// When it announces what it has.
    pub checkpoints: Checkpoints,
    /// Ends it.
    pub interrupted: Option<&'a AtomicBool>,
    /// Ends it at this call of the observer.
    pub interrupt_at: Option<u64>,
}

impl Default for Pushing<'_> {
    fn default() -> Self {
        Pushing {
            now: 1_646_519_458,
            root: ROOT,
            reading: Reading::default(),
            hints: None,
            trust_mtime: false,
            uid: 1000,
            workers: 1,
            checkpoints: Checkpoints::default(),
            interrupted: None,
            interrupt_at: None,
        }
    }
}

/// Announces after every item.
pub const EVERY_ITEM: Checkpoints =
    Checkpoints { first: Duration::ZERO, every: Duration::ZERO, at_most: Duration::ZERO, bytes: 1 };

/// What an observer was told.
pub struct Told<'a> {
    /// Problems: path and sentence.
    pub problems: Vec<(Vec<u8>, String)>,
    /// How often it was called about progress.
    pub calls: u64,
    /// What it was told last.
    pub last: Progress,
    interrupt_at: Option<u64>,
    interrupted: &'a AtomicBool,
}

impl Observer for Told<'_> {
    fn problem(&mut self, path: &[u8], what: &str) {
        self.problems.push((path.to_vec(), what.to_owned()));
    }

    fn progress(&mut self, progress: &Progress) {
        self.last = *progress;
        self.calls += 1;
        if self.interrupt_at == Some(self.calls) {
            self.interrupted.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// What came of a push.
pub struct Outcome {
    /// What it returned.
    pub result: Result<Pushed>,
    /// What the observer was told.
    pub problems: Vec<(Vec<u8>, String)>,
    /// How often the observer was told of progress.
    pub calls: u64,
    /// How far it was when the observer was told last.
    pub last: Progress,
}

impl Outcome {
    /// The snapshot, of a push without problems.
    pub fn clean(self) -> Pushed {
        assert_eq!(self.problems, []);
        self.result.expect("a push of a healthy tree into a healthy store")
    }
}

/// Pushes a tree.
pub fn push(store: &Arc<dyn Store>, tree: &Tree, pushing: &Pushing) -> Outcome {
    let never = AtomicBool::new(false);
    let interrupted = pushing.interrupted.unwrap_or(&never);
    let mut told = Told {
        problems: Vec::new(),
        calls: 0,
        last: Progress::default(),
        interrupt_at: pushing.interrupt_at,
        interrupted,
    };
    let repository = || open(store.clone());
    let result = repository().and_then(|first| {
        let options = PushOptions {
            host: "host".into(),
            user: "user".into(),
            command: "push".into(),
            roots: vec![format!("/{}", pushing.root).into_bytes()],
            tags: Vec::new(),
            author: Author { replica: first.base().replica().id, writer: WriterId([1; 16]) },
            now: Time { secs: pushing.now, nanos: 0 },
            workers: pushing.workers,
            verify: false,
            hints: pushing.hints.clone(),
            trust_mtime: pushing.trust_mtime,
            force: false,
            uid: pushing.uid,
            checkpoints: pushing.checkpoints,
        };
        let mut first = Some(first);
        plakar_engine::push::push(
            &mut || first.take().map_or_else(repository, Ok),
            store.clone(),
            &mut || tree.source(pushing.root, pushing.reading).boxed(),
            &options,
            &mut told,
            interrupted,
        )
    });
    Outcome { result, problems: told.problems, calls: told.calls, last: told.last }
}

/// Checks everything; returns the report and what it said.
pub fn check_all(repo: &Repository, fast: bool) -> Result<(CheckReport, Vec<String>)> {
    let mut said = Vec::new();
    let options = CheckOptions { reads: if fast { Reads::Nothing } else { Reads::All }, workers: 1 };
    let never = AtomicBool::new(false);
    let report = check(repo, &[], &options, &mut |what| said.push(what.to_owned()), &mut |_| {}, &never)?;
    assert_eq!(report.damaged, said.len() as u64);
    Ok((report, said))
}

/// Opens a repository that must be healthy, and checks it.
pub fn healthy(store: Arc<dyn ReadStore>) -> Repository {
    let repo = open(store).expect("a healthy repository opens");
    assert_eq!(repo.damaged(), Vec::<String>::new());
    let (_, said) = check_all(&repo, false).expect("a healthy repository is checked");
    assert_eq!(said, Vec::<String>::new());
    repo
}

/// What is known of one entry, in a tree or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its type.
    pub kind: Kind,
    /// Mode, owners, modification time.
    pub meta: Meta,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The bytes of a file (as length and hash), or where a link points.
    pub content: (u64, [u8; 32]),
    /// For device nodes.
    pub device: Device,
    /// The first path of the same file, if it has several.
    pub first_name: Option<Path>,
    /// Flags of the entry.
    pub flags: u8,
}

fn digest(bytes: &[u8]) -> (u64, [u8; 32]) {
    (bytes.len() as u64, *blake3::hash(bytes).as_bytes())
}

/// What a restore of a healthy tree must give.
pub fn expected(tree: &Tree) -> BTreeMap<Path, Seen> {
    let mut names = HashMap::new();
    let seen = |(path, node): (&Path, &Node)| {
        let first_name =
            (node.same_file != 0).then(|| names.entry(node.same_file).or_insert(path.clone()).clone());
        let (kind, content, device) = match &node.what {
            What::File(_) => (Kind::File, digest(&node.bytes()), Device::default()),
            What::Directory => (Kind::Directory, digest(b""), Device::default()),
            What::Symlink(target) => (Kind::Symlink, digest(target), Device::default()),
            What::Fifo => (Kind::Fifo, digest(b""), Device::default()),
            What::Socket => (Kind::Socket, digest(b""), Device::default()),
            What::CharDevice(device) => (Kind::CharDevice, digest(b""), *device),
            What::BlockDevice(device) => (Kind::BlockDevice, digest(b""), *device),
        };
        let flags = if node.is_sparse() { FLAG_SPARSE } else { 0 };
        let (meta, xattrs) = (node.meta.clone(), node.xattrs.clone());
        (path.clone(), Seen { kind, meta, xattrs, content, device, first_name, flags })
    };
    tree.0.iter().map(seen).collect()
}

/// What a snapshot holds beneath its root, read through and through.
#[derive(Debug, Default)]
pub struct Restored {
    /// What came back whole.
    pub entries: BTreeMap<Path, Seen>,
    /// What did not: the path and why.
    pub problems: Vec<(Path, Error)>,
}

/// Reads every entry and every byte of the tree beneath `/root` of a snapshot. What cannot be read is left out
/// and reported, as when it is restored to a file system.
pub fn restore(repo: &Repository, root: &NodeId) -> Restored {
    let reader = Reader::new(repo, 1 << 20);
    let mut restored = Restored::default();
    let mut groups = HashMap::new();
    directory(&reader, root, &mut Vec::new(), &mut groups, &mut restored);
    // The root's own name, which every path begins with.
    let cut = |path: Path| path.into_iter().skip(1).collect::<Path>();
    let entries = std::mem::take(&mut restored.entries).into_iter();
    restored.entries = entries
        .filter(|(path, _)| path.len() > 1)
        .map(|(path, seen)| (cut(path), Seen { first_name: seen.first_name.map(cut), ..seen }))
        .collect();
    restored.problems =
        std::mem::take(&mut restored.problems).into_iter().map(|(path, e)| (cut(path), e)).collect();
    restored
}

fn directory(
    reader: &Reader,
    node: &NodeId,
    path: &mut Path,
    groups: &mut HashMap<u64, Path>,
    restored: &mut Restored,
) {
    let mut entries = match Directory::open(reader, node) {
        Ok(entries) => entries,
        Err(e) => return restored.problems.push((path.clone(), e)),
    };
    loop {
        let entry = match entries.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => return,
            Err(e) => return restored.problems.push((path.clone(), e)),
        };
        path.push(entry.name.clone());
        let read = (|| {
            let xattrs = match &entry.xattrs {
                Xattrs::None => Vec::new(),
                Xattrs::Inline(list) => list.clone(),
                Xattrs::Chunk { id, len } => decode_xattrs(&chunk(reader, id, *len)?)
                    .map_err(|e| Error::damaged(id, format!("{e:?}")))?,
            };
            let (content, device) = match &entry.content {
                Content::File(object) => (file(reader, object)?, Device::default()),
                Content::Symlink(target) => (digest(target), Device::default()),
                Content::CharDevice(device) | Content::BlockDevice(device) => (digest(b""), *device),
                _ => (digest(b""), Device::default()),
            };
            Ok((xattrs, content, device))
        })();
        match read {
            Ok((xattrs, content, device)) => {
                let first_name = (entry.link_group != 0)
                    .then(|| groups.entry(entry.link_group).or_insert(path.clone()).clone());
                let (kind, meta, flags) = (entry.content.kind(), entry.meta.clone(), entry.flags);
                let seen = Seen { kind, meta, xattrs, content, device, first_name, flags };
                restored.entries.insert(path.clone(), seen);
            }
            Err(e) => restored.problems.push((path.clone(), e)),
        }
        if let Content::Directory(subtree) = &entry.content {
            directory(reader, &subtree.node, path, groups, restored);
        }
        path.pop();
    }
}

fn chunk(reader: &Reader, id: &ChunkId, len: u32) -> Result<Vec<u8>> {
    let bytes = reader.chunk(id)?;
    if bytes.len() == len as usize {
        return Ok(bytes);
    }
    Err(Error::damaged(id, "has another length than its row says"))
}

fn file(reader: &Reader, object: &plakar_engine::tree::Object) -> Result<(u64, [u8; 32])> {
    if let Body::Inline(bytes) = &object.body {
        return Ok(digest(bytes));
    }
    let mut hasher = blake3::Hasher::new();
    let mut chunks = Chunks::open(reader, object)?;
    while let Some(row) = chunks.next_row()? {
        let bytes = chunk(reader, &row.id, row.len)?;
        for _ in 0..row.repeat {
            hasher.update(&bytes);
        }
    }
    Ok((hasher.count(), *hasher.finalize().as_bytes()))
}
