//! Push: capturing a tree as a new snapshot.
//!
//! A source yields its items in tree order; the trees of earlier snapshots are read alongside, in the same order.
//! A file that did not change since is taken over with its whole entry; any other is read, cut, and its chunks
//! stored unless they are there already. Directories are finished from the innermost outwards, so that a
//! node is put only after everything beneath it. Memory holds the directories on the way to the current item, a
//! page of entries of each, and the blocks in work; it does not grow with the number of files.

mod base;
mod capture;
mod file;
mod hints;
mod links;
mod plan;
mod schedule;

use crate::block::Compression;
use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::index::segment::Author;
use crate::log::fact::{Digest, Path as RootPath, Row, Uuid, random_uuid};
use crate::read::Reader;
use crate::repository::Repository;
use crate::source::Source;
use crate::tree::{Subtree, Time};
use crate::write::{Ended, Session, SessionOptions};
use base::Base;
use capture::Push;
use hints::{HintsReader, HintsWriter};
use links::LinkGroups;
use plakar_store::Store;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// How often a push begins again because another client's cleanup took away what it relied on.
const PUSH_ATTEMPTS: usize = 3;

pub(crate) use file::{FileReader, OldRows, ReadError};
pub use plan::{Planned, plan};
pub use schedule::Checkpoints;
pub(crate) use schedule::Schedule;

/// What is to be pushed, and how.
pub struct PushOptions {
    /// The machine pushed from.
    pub host: String,
    /// Who pushes.
    pub user: String,
    /// The command that was given.
    pub command: String,
    /// The roots as they were typed, made absolute.
    pub roots: Vec<Vec<u8>>,
    /// What the owner calls the snapshot.
    pub tags: Vec<String>,
    /// Who writes.
    pub author: Author,
    /// When it begins.
    pub now: Time,
    /// How many threads compress and seal.
    pub workers: usize,
    /// Whether what was compressed is compared before it is trusted.
    pub verify: bool,
    /// Where hints are kept; `None` = nowhere: then files are read again.
    pub hints: Option<PathBuf>,
    /// Takes a file for unchanged when size and modification time are the same, with or without hints.
    pub trust_mtime: bool,
    /// Takes nothing for unchanged: everything is read.
    pub force: bool,
    /// Who pushes, as a user id: these files and root's may share a block.
    pub uid: u32,
    /// When what was stored so far is announced.
    pub checkpoints: Checkpoints,
}

/// Told what happens during a push.
pub trait Observer {
    /// Something could not be captured, or not surely as it was; it is recorded in the snapshot.
    fn problem(&mut self, path: &[u8], what: &str);
    /// How far it is. Called often.
    fn progress(&mut self, progress: &Progress);
}

/// How far a push is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Items seen.
    pub items: u64,
    /// Files that were read.
    pub files_read: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes of chunks that were not stored before.
    pub bytes_new: u64,
    /// Bytes put to the store in packs.
    pub bytes_stored: u64,
}

/// What a push did.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The snapshot.
    pub row: Row,
    /// What published it.
    pub session: SessionId,
    /// How far it came: everything.
    pub progress: Progress,
}

/// What came of a push that need not make a snapshot.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It made one.
    Published(Pushed),
    /// All is as in this snapshot, the newest of this host with these roots: nothing was published.
    Unchanged(Row),
}

/// Who may resume what: a digest of host and roots.
fn source_digest(host: &str, roots: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("plakar v1 source");
    for part in [host.as_bytes()].into_iter().chain(roots.iter().map(Vec::as_slice)) {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Captures what `source` yields as a new snapshot. `open` opens the repository (again, when it has to begin
/// again), `source` the source. `interrupted` is looked at often: once it is set, the push announces what it has
/// and ends with [`Error::Interrupted`].
///
/// # Errors
/// Whatever kept it from publishing; then nothing was published, and what was announced is found by the next
/// push. Problems with single files are no error: see [`Observer::problem`] and the row's totals.
pub fn push(
    open: &mut dyn FnMut() -> Result<Repository>,
    store: Arc<dyn Store>,
    source: &mut dyn FnMut() -> Result<Box<dyn Source>>,
    options: &PushOptions,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Pushed> {
    match attempts(open, store, source, options, false, observer, interrupted)? {
        Outcome::Published(pushed) => Ok(pushed),
        Outcome::Unchanged(_) => unreachable!("that was not asked for"),
    }
}

/// As [`push`], but publishes nothing if that would be what the newest snapshot of this host with these roots holds already.
///
/// # Errors
/// As [`push`].
pub fn push_if_changed(
    open: &mut dyn FnMut() -> Result<Repository>,
    store: Arc<dyn Store>,
    source: &mut dyn FnMut() -> Result<Box<dyn Source>>,
    options: &PushOptions,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Outcome> {
    attempts(open, store, source, options, true, observer, interrupted)
}

fn attempts(
    open: &mut dyn FnMut() -> Result<Repository>,
    store: Arc<dyn Store>,
    source: &mut dyn FnMut() -> Result<Box<dyn Source>>,
    options: &PushOptions,
    if_changed: bool,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Outcome> {
    for _ in 0..PUSH_ATTEMPTS {
        let repo = open()?;
        let mut source = source()?;
        let source = &mut *source;
        let done = attempt(repo, store.clone(), source, options, if_changed, observer, interrupted)?;
        if let Some(outcome) = done {
            if let Some(folder) = &options.hints {
                hints::tidy(folder);
            }
            return Ok(outcome);
        }
    }
    Err(Error::Refused(
        "other clients' cleanups keep taking away what this push relies on; run it again later".into(),
    ))
}

fn attempt(
    repo: Repository,
    store: Arc<dyn Store>,
    source: &mut dyn Source,
    options: &PushOptions,
    if_changed: bool,
    observer: &mut dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Option<Outcome>> {
    let began = Instant::now();
    let digest = source_digest(&options.host, &options.roots);
    let chosen = choose_bases(&repo, options, &digest);
    let session_options = SessionOptions {
        author: options.author,
        compression: Compression { level: repo.base().config().compression, verify: options.verify },
        workers: options.workers,
        now: options.now.secs,
        may_admin: true,
    };
    let reader = Reader::new(&repo, crate::read::CACHE_BYTES_DEFAULT / 4);
    let bases: Vec<_> = chosen.snapshot.iter().map(|base| base.session).collect();
    let hinted: Vec<_> = chosen.unfinished.iter().map(|(session, _)| *session).collect();
    let (session, held) = Session::begin(repo, store, session_options, &bases, &hinted)?;
    let folder = options.hints.as_deref();
    let mut bases = Vec::new();
    let mut parents = Vec::new();
    if let Some((session, root)) = chosen.unfinished {
        bases.push(Base { root: root.node, held: false, hints: HintsReader::open(folder, session) });
    }
    if let Some(base) = &chosen.snapshot {
        parents.push(Uuid(base.row.uuid));
        let held = held.contains(&base.session);
        let hints = HintsReader::open(folder, base.session);
        bases.push(Base { root: base.row.root.node, held, hints });
    }
    let keys = session.keys();
    let mut push = Push {
        reader: &reader,
        files: FileReader::new(session.repository().base().chunker.clone(), keys.clone()),
        hints: HintsWriter::create(folder, session.id()),
        keys,
        session,
        bases,
        options,
        observer,
        interrupted,
        links: LinkGroups::default(),
        frames: Vec::new(),
        root: None,
        tops: Vec::new(),
        progress: Progress::default(),
        source_digest: digest,
        schedule: Schedule::new(&options.checkpoints),
    };
    push.walk(source)?;
    source.end().map_err(|e| Error::Refused(e.to_string()))?;
    let root = push.root.ok_or_else(|| Error::Refused("there is nothing to push".into()))?;
    if let Some(base) = chosen.snapshot.filter(|base| if_changed && base.newest_here)
        && push.is_as_in(&base.row.root)?
    {
        if let Some(folder) = folder {
            push.hints.give_to(folder, push.session.id(), base.session);
        }
        return Ok(Some(Outcome::Unchanged(base.row)));
    }
    push.hints.flush();
    let row = Row {
        uuid: random_uuid(),
        root,
        created: options.now,
        took_ms: began.elapsed().as_millis() as u64,
        host: options.host.clone(),
        user: options.user.clone(),
        command: options.command.clone(),
        roots: options.roots.iter().map(|root| RootPath(root.clone())).collect(),
        tags: options.tags.clone(),
        parents,
        tool: concat!("plakar ", env!("CARGO_PKG_VERSION")).into(),
        origin: None::<Digest>,
    };
    let mut progress = push.progress;
    // What publishing would flush anyway, so that it is counted.
    push.session.flush()?;
    progress.bytes_new = push.session.new_chunk_bytes();
    progress.bytes_stored = push.session.stored_bytes();
    let session = push.session.id();
    let (ended, _) = push.session.publish(Some(row.clone()))?;
    Ok(match ended {
        Ended::Published => Some(Outcome::Published(Pushed { row, session, progress })),
        Ended::Lost => None,
    })
}

struct Chosen {
    snapshot: Option<ChosenSnapshot>,
    unfinished: Option<(SessionId, Subtree)>,
}

struct ChosenSnapshot {
    session: SessionId,
    row: Row,
    /// There is no later one of this host with these roots.
    newest_here: bool,
}

/// The latest snapshot of this host with these roots (or, failing that, of these roots), preferring one there are
/// hints for; and what the last unfinished push of the same left, if it is younger.
fn choose_bases(repo: &Repository, options: &PushOptions, digest: &[u8; 32]) -> Chosen {
    let snapshots = repo.state().snapshots();
    let roots = |row: &Row| {
        row.roots.len() == options.roots.len() && row.roots.iter().zip(&options.roots).all(|(a, b)| a.0 == *b)
    };
    let hinted = |session| {
        options.hints.as_deref().is_some_and(|folder| HintsReader::open(Some(folder), session).is_some())
    };
    let best = snapshots
        .iter()
        .filter(|s| roots(s.row) && !repo.state().view.threatened(s.session))
        .max_by_key(|s| (s.row.host == options.host, hinted(s.session), s.row.created));
    let unfinished = repo
        .state()
        .unfinished()
        .filter(|(_, partial, at)| {
            partial.source == *digest && best.is_none_or(|best| *at >= best.received_ms)
        })
        .max_by_key(|(_, _, at)| *at);
    Chosen {
        snapshot: best.map(|best| {
            let mut here = snapshots.iter().filter(|s| roots(s.row) && s.row.host == options.host);
            let newest_here =
                best.row.host == options.host && here.all(|s| s.row.created <= best.row.created);
            ChosenSnapshot { session: best.session, row: best.row.clone(), newest_here }
        }),
        unfinished: unfinished.map(|(session, partial, _)| (session, partial.root)),
    }
}
