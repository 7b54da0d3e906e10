//! A session: one writer's run towards exactly one publication.

use super::fold::{Fold, Merged, fold};
use super::pipeline::{Pipeline, Stored};
use crate::block::{Compression, ItemId, ItemKind, OpenBlock, SealedBlock};
use crate::crypto::DomainKeys;
use crate::error::{Error, Result};
use crate::id::{ChunkId, EpochId, NodeId, ObjectHash, SessionId};
use crate::index::ID_PREFIX_LEN;
use crate::index::segment::{
    Author, EMBEDDED_MAX, Location, Segment, SegmentBuilder, SegmentSource, segment_name,
};
use crate::log::fact::{Bad, Fact, Partial, Prepared, Row, SegmentRef};
use crate::log::object;
use crate::log::state::ProtocolFact;
use crate::pack::pack_name;
use crate::protocol::{self, Outcome, Verdict};
use crate::repository::{Repository, Unlocked};
use crate::tree::pages::NodeSink;
use plakar_store::{ErrorKind, Store};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Rows are written to a segment once there are so many.
const ROWS_PENDING_MAX: usize = 1 << 18;
/// How often packs that another client dooms are stored again before it is given up.
const ATTEMPTS_MAX: usize = 10;

type Writer = protocol::Writer<SessionId, ObjectHash>;

/// At most so many blocks of chunks are open.
const OPEN_BLOCKS_MAX: usize = 8;

/// Whose file a chunk is from, as far as it matters to what may share a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub u32);

impl Owner {
    /// Root and whoever pushes: what they may read together may be compressed together.
    pub const SELF: Owner = Owner(0);
    /// Nodes are in blocks of their own, whoever owns what they list.
    pub const NODES: Owner = Owner(u32::MAX);
    /// What is stored again from a pack of unknown owners.
    pub(crate) const MOVED: Owner = Owner(u32::MAX);
}

/// How a session writes.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Who writes.
    pub author: Author,
    /// How blocks are compressed.
    pub compression: Compression,
    /// How many threads compress and seal.
    pub workers: usize,
    /// Seconds since 1970, for the names of log objects.
    pub now: i64,
    /// Whether this client is to write `admin/`, if its store lets it: fold the log, merge the index.
    pub may_admin: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its snapshot is visible.
    Published,
    /// Something that it relied on is gone: nothing was published; run it again from the start.
    Lost,
}

/// One run of a writer. Whatever it stored before an error is durable as far as it was announced.
pub struct Session {
    repo: Repository,
    store: Arc<dyn Store>,
    options: SessionOptions,
    writer: Option<Writer>,
    session: SessionId,
    rescue: bool,
    pipeline: Option<Pipeline>,
    /// Open blocks of chunks, each for the files of one owner, the one used last at the end.
    data: Vec<(Owner, OpenBlock)>,
    tree: OpenBlock,
    /// What this session stores and no open segment lists yet.
    pending: HashSet<(ItemKind, [u8; ID_PREFIX_LEN])>,
    builder: SegmentBuilder,
    /// Segments that no fact has announced yet.
    segments: Vec<SegmentRef>,
    own: HashSet<ObjectHash>,
    /// Packs of others, and how long they are: 0 when they are not there.
    relied: HashMap<ObjectHash, u64>,
    stored_bytes: u64,
    stored_chunk_bytes: u64,
}

impl Session {
    /// Begins a session that wants to use the trees of `bases` whole, and to have those of `hints` kept while it
    /// lasts. Returns those of the bases that may be used so.
    ///
    /// # Errors
    /// [`Error::Damaged`] when an object in `admin/` cannot be read: it may be a mark, so nothing may be
    /// relied on; store errors.
    pub fn begin(
        repo: Repository,
        store: Arc<dyn Store>,
        options: SessionOptions,
        bases: &[SessionId],
        hints: &[SessionId],
    ) -> Result<(Session, Vec<SessionId>)> {
        let session = SessionId::random();
        let may_admin = options.may_admin && !store.capabilities().append_only;
        let mut begun = Session {
            repo,
            store,
            options: SessionOptions { may_admin, ..options },
            writer: None,
            session,
            rescue: false,
            pipeline: None,
            data: Vec::new(),
            tree: OpenBlock::new(ItemKind::Node),
            pending: HashSet::new(),
            builder: SegmentBuilder::default(),
            segments: Vec::new(),
            own: HashSet::new(),
            relied: HashMap::new(),
            stored_bytes: 0,
            stored_chunk_bytes: 0,
        };
        if !begun.repo.base.replica.strong_list {
            let why = "its store does not promise to list everything that was put, so nothing can be written safely";
            return Err(Error::Refused(format!("{}: {why}", begun.repo.location())));
        }
        begun.refuse_unless_readable()?;
        // Packs beside an empty log are to mean that the log was lost, so the first of all sessions says that it is there
        // before it stores any. It keeps its own root anyway.
        let first = [session];
        let hints = if begun.repo.log().objects().next().is_none() { &first[..] } else { hints };
        if bases.is_empty() && hints.is_empty() {
            begun.writer = Some(Writer::begin(session));
            return Ok((begun, Vec::new()));
        }
        let (pinning, fact) = Writer::pin(session, bases, hints);
        begun.put_prepared(&fact, None, None)?;
        begun.look()?;
        let (writer, pins) = pinning.looked(&begun.repo.state.view);
        begun.writer = Some(writer);
        Ok((begun, pins.held))
    }

    /// Begins a session that publishes nothing, to store again what is about to be deleted. Nobody's taking it for dead
    /// matters: what it announces counts.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(crate) fn rescue(
        repo: Repository,
        store: Arc<dyn Store>,
        options: SessionOptions,
    ) -> Result<Session> {
        let (mut begun, _) = Session::begin(repo, store, options, &[], &[])?;
        begun.writer = Some(Writer::rescue(begun.session));
        begun.rescue = true;
        Ok(begun)
    }

    /// The repository as last looked at.
    pub fn repository(&self) -> &Repository {
        &self.repo
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.session
    }

    /// Whether blocks that were sealed under this epoch can be opened here.
    pub(crate) fn can_open(&self, epoch: EpochId) -> bool {
        self.repo.base.sealer.knows(epoch)
    }

    /// The keys that items are named by.
    pub fn keys(&self) -> Arc<DomainKeys> {
        self.repo.base.keys.clone()
    }

    /// Bytes put to the store in packs so far.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Bytes of chunks that were not stored before, before compression.
    pub fn new_chunk_bytes(&self) -> u64 {
        self.stored_chunk_bytes
    }

    /// Reads together what [`has`](Self::has) will ask the index about these items, if that saves anything.
    pub fn prefetch(&self, items: &[ItemId]) {
        if !self.store.capabilities().local {
            self.repo.index.prefetch(items, &*self.repo.base.store);
        }
    }

    /// Whether `item` is stored already, so that this session may rely on it; then it does.
    ///
    /// A node that is found proves nothing about what is beneath it.
    pub fn has(&mut self, item: &ItemId) -> Result<bool> {
        if self.pending.contains(&item.prefix()) {
            return Ok(true);
        }
        let view = &self.repo.state.view;
        let places = match self.repo.index.find(item) {
            Ok(places) => places,
            // Where it was, a damaged segment knew: as good as not stored.
            Err(e) if e.is_damage() || e.is_not_found() => return Ok(false),
            Err(e) => return Err(e),
        };
        for place in places {
            if self.own.contains(&place.pack) {
                return Ok(true);
            }
            if !view.may_rely(place.pack) || view.bad(place.pack, place.offset) {
                continue;
            }
            let len = match self.relied.get(&place.pack) {
                Some(len) => *len,
                None => {
                    // A pack that was lost, or cut short, must not be relied on just because an index names it.
                    let len = match self.store.len(&pack_name(&place.pack)) {
                        Ok(len) => len,
                        Err(e) if e.kind() == ErrorKind::NotFound => 0,
                        Err(e) => return Err(e.into()),
                    };
                    self.relied.insert(place.pack, len);
                    len
                }
            };
            if len >= u64::from(place.offset) + u64::from(place.sealed_len) {
                self.writer_mut().relies_on(place.pack);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stores a chunk, unless it is there already, and returns its id. It must not be empty. Chunks of different
    /// owners never share a block: what compresses well together would tell them about each other.
    pub fn put_chunk(&mut self, owner: Owner, bytes: &[u8]) -> Result<ChunkId> {
        let id = self.repo.base.keys.chunk_id(bytes);
        self.put_chunk_with_id(owner, id, bytes)?;
        Ok(id)
    }

    /// Stores a node, unless it is one that the session holds, as `is_held` says of its id, or is there already. Returns its
    /// id.
    pub(crate) fn put_node_unless(
        &mut self,
        bytes: Vec<u8>,
        is_held: &mut dyn FnMut(&NodeId) -> bool,
    ) -> Result<NodeId> {
        let id = self.repo.base.keys.node_id(&bytes);
        if !is_held(&id) && !self.has(&id.into())? {
            self.put_item(Owner::NODES, id.into(), &bytes)?;
        }
        Ok(id)
    }

    /// As [`put_chunk`](Self::put_chunk), for a caller that knows the id already.
    pub fn put_chunk_with_id(&mut self, owner: Owner, id: ChunkId, bytes: &[u8]) -> Result<()> {
        if !self.has(&id.into())? {
            self.stored_chunk_bytes += bytes.len() as u64;
            self.put_item(owner, id.into(), bytes)?;
        }
        Ok(())
    }

    pub(crate) fn put_item(&mut self, owner: Owner, item: ItemId, bytes: &[u8]) -> Result<()> {
        self.note(&item);
        let mut full = Vec::new();
        let open = match item.kind {
            ItemKind::Node => &mut self.tree,
            ItemKind::Chunk => {
                let block = match self.data.iter().position(|(o, _)| *o == owner) {
                    Some(at) => self.data.remove(at),
                    None => (owner, OpenBlock::new(ItemKind::Chunk)),
                };
                if self.data.len() == OPEN_BLOCKS_MAX {
                    full.push(self.data.remove(0).1);
                }
                self.data.push(block);
                &mut self.data.last_mut().expect("one was pushed").1
            }
        };
        if !open.has_room(bytes.len()) {
            full.push(std::mem::replace(open, OpenBlock::new(item.kind)));
        }
        open.push(item.id, bytes);
        if open.is_full() {
            full.push(std::mem::replace(open, OpenBlock::new(item.kind)));
        }
        if full.is_empty() {
            return Ok(());
        }
        for block in full.into_iter().filter(|block| !block.is_empty()) {
            self.pipeline().push(block)?;
        }
        self.collect_stored(false)
    }

    /// Takes over a block of this domain as it is sealed, with all its items, whether they are stored already or not.
    /// What it holds was proven by the caller.
    pub(crate) fn put_sealed(&mut self, block: SealedBlock) -> Result<()> {
        for (id, _) in &block.items {
            self.note(&ItemId { kind: block.kind, id: *id });
        }
        self.pipeline().push_sealed(block)?;
        self.collect_stored(false)
    }

    /// A rescue is told what to store, each item once, and does not ask for it again before it is listed.
    fn note(&mut self, item: &ItemId) {
        if !self.rescue {
            self.pending.insert(item.prefix());
        }
    }

    fn pipeline(&mut self) -> &Pipeline {
        let base = &self.repo.base;
        self.pipeline.get_or_insert_with(|| {
            Pipeline::start(
                self.store.clone(),
                base.sealer.clone(),
                base.keys.clone(),
                self.options.compression,
                base.replica.pack_bytes as usize,
                self.options.workers,
            )
        })
    }

    fn writer_mut(&mut self) -> &mut Writer {
        self.writer.as_mut().expect("a session in progress has a writer")
    }

    /// Takes over the packs that were stored meanwhile. `flush` closes all that is open first.
    fn collect_stored(&mut self, flush: bool) -> Result<()> {
        let stored = match (&self.pipeline, flush) {
            (None, _) => Vec::new(),
            (Some(pipeline), false) => pipeline.stored()?,
            (Some(pipeline), true) => pipeline.flush()?,
        };
        stored.into_iter().for_each(|pack| self.stored(pack));
        if self.builder.len() >= ROWS_PENDING_MAX {
            self.write_segment()?;
        }
        Ok(())
    }

    fn stored(&mut self, pack: Stored) {
        self.stored_bytes += pack.len;
        self.own.insert(pack.hash);
        self.writer_mut().wrote(pack.hash);
        for block in pack.directory {
            for (ordinal, (id, _)) in block.items.iter().enumerate() {
                let at = Location {
                    pack: pack.hash,
                    offset: block.offset,
                    sealed_len: block.sealed_len,
                    epoch: block.epoch,
                    ordinal: ordinal as u16,
                };
                self.builder.add(block.kind, id, &at);
            }
        }
    }

    /// Makes a segment of the rows that wait, and opens it.
    fn write_segment(&mut self) -> Result<()> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let mut builder = std::mem::take(&mut self.builder);
        let (segment, opened) =
            put_segment(&mut builder, &*self.store, &self.options.author, &self.repo.base)?;
        self.repo.add_segment(segment.hash(), opened);
        for key in builder.keys() {
            self.pending.remove(&key);
        }
        self.segments.push(segment);
        builder.clear();
        self.builder = builder;
        Ok(())
    }

    /// Stores all that is open: afterwards everything given so far is in packs and segments, durable.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let tree = std::mem::replace(&mut self.tree, OpenBlock::new(ItemKind::Node));
        let data = std::mem::take(&mut self.data).into_iter().map(|(_, block)| block);
        for block in data.chain([tree]).filter(|block| !block.is_empty()) {
            self.pipeline().push(block)?;
        }
        self.collect_stored(true)?;
        self.write_segment()?;
        self.store.barrier()?;
        Ok(())
    }

    /// Announces what was stored so far, with a root that describes it, so that a later session can go on from
    /// here. Without a root (in the middle of a file) what was stored since the last one is announced all the same.
    pub fn checkpoint(&mut self, partial: Option<Partial>) -> Result<()> {
        self.flush()?;
        let fact = self.writer_mut().checkpoint();
        self.put_prepared(&fact, None, partial)
    }

    /// Ends the session without publishing anything, as if it had been cut short here: what it stored is announced under
    /// `partial`, for a later session to go on from. Without a Final: beside one, the row would be taken for lost.
    pub(crate) fn give_up(mut self, partial: Option<Partial>) -> Result<Repository> {
        self.flush()?;
        if self.stored_bytes > 0 {
            self.checkpoint(partial)?;
            self.look()?;
        }
        Ok(self.repo)
    }

    /// Ends the session by publishing `row`, whose tree must consist of what this session put, relied on, or
    /// found in a base that it holds.
    ///
    /// # Errors
    /// [`Error::Revoked`] when another client took the session for dead; store errors. After an error nothing was
    /// published, unless it came from the very last steps: then the snapshot may be visible, and is whole.
    pub fn publish(mut self, row: Option<Row>) -> Result<(Ended, Repository)> {
        let (mut fold, mut merged) = (self.fold_beside(), None);
        for _ in 0..ATTEMPTS_MAX {
            self.flush()?;
            let writer = self.writer.take().expect("a session in progress has a writer");
            let (announced, fact) = writer.prepare();
            self.announce(&fact, row.clone(), fold.take(), &mut merged)?;
            match announced.looked(&self.repo.state.view) {
                Verdict::Clean(cleared) => {
                    let (finished, _) = cleared.finish::<ObjectHash, SessionId>();
                    self.put_final(merged)?;
                    self.look()?;
                    return match finished.looked(&self.repo.state.view) {
                        Outcome::Revoked if !self.rescue => Err(Error::Revoked),
                        _ if self.is_published(row.is_some()) => self.ended(),
                        _ => Err(Error::damaged(
                            "log/",
                            "the store does not show, or not unchanged, what was put there a moment ago",
                        )),
                    };
                }
                Verdict::StoreAgain(writer, doomed) => {
                    self.writer = Some(writer);
                    if !self.store_again(&doomed)? {
                        return Ok((Ended::Lost, self.repo));
                    }
                }
                Verdict::Revoked => return Err(Error::Revoked),
            }
        }
        Ok((Ended::Lost, self.repo))
    }

    /// A fold that is due and is done beside the last steps of this session: far away, where it would take as many round
    /// trips again. To this session, and to all others, that is as if another client folded meanwhile: what was seen
    /// before the session's last Prepared is folded, and nothing of the session itself.
    fn fold_beside(&self) -> Option<Fold> {
        let beside = self.options.may_admin && !self.store.capabilities().local;
        beside.then(|| Fold::due(&self.repo).ok().flatten()).flatten()
    }

    /// Puts the Prepared and looks, while what is to be folded is merged.
    fn announce(
        &mut self,
        fact: &ProtocolFact,
        row: Option<Row>,
        fold: Option<Fold>,
        merged: &mut Option<Merged>,
    ) -> Result<()> {
        let (store, author) = (self.store.clone(), self.options.author);
        std::thread::scope(|scope| {
            let merging = fold.map(|fold| scope.spawn(move || fold.merge(&*store, &author)));
            let result = self.put_prepared(fact, row, None).and_then(|()| self.look());
            let done = merging.map(|merging| merging.join().expect("a merge does not panic"));
            *merged = done.and_then(Result::ok).or(merged.take());
            result
        })
    }

    /// Puts the Final, and what ends a fold at the same time. The last look comes after both.
    fn put_final(&mut self, merged: Option<Merged>) -> Result<()> {
        let fact = [Fact::Final(self.session)];
        let Some(merged) = merged else { return self.put_facts(&fact) };
        let (result, folded) = std::thread::scope(|scope| {
            let folding = scope.spawn(|| self.put_facts(&[merged.checkpoint()]));
            (self.put_facts(&fact), folding.join().expect("a put does not panic"))
        });
        if folded.is_ok() {
            merged.keep(&mut self.repo);
        }
        result
    }

    /// Whether what this session said stands in the log: a store may have lost it.
    fn is_published(&self, row: bool) -> bool {
        let view = &self.repo.state.view;
        if row {
            view.visible(self.session) || view.removed(self.session)
        } else {
            view.finished(self.session)
        }
    }

    fn ended(mut self) -> Result<(Ended, Repository)> {
        // The snapshot is published: that folding the log failed is no reason to say otherwise, and the next
        // session does it.
        if self.options.may_admin && self.store.capabilities().local {
            let _ = fold(&mut self.repo, &*self.store, &self.options.author, self.options.now);
        }
        Ok((Ended::Published, self.repo))
    }

    /// Stores what is in the `doomed` packs again, whole blocks unopened. `false` when one is gone already.
    fn store_again(&mut self, doomed: &[ObjectHash]) -> Result<bool> {
        for pack in doomed {
            self.own.remove(pack);
            self.relied.insert(*pack, 0);
            let directory = match crate::pack::read_directory(&*self.store, pack, &self.repo.base.sealer) {
                Ok(directory) => directory,
                Err(e) if e.is_not_found() || e.is_damage() => return Ok(false),
                Err(e) => return Err(e),
            };
            for entry in directory {
                let name = pack_name(pack);
                let sealed = match self.store.get_range(&name, entry.offset.into(), entry.sealed_len as usize)
                {
                    Ok(sealed) => sealed,
                    Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
                    Err(e) => return Err(e.into()),
                };
                let block = crate::block::Block::open(
                    entry.kind,
                    entry.epoch,
                    sealed,
                    &self.repo.base.sealer,
                    &name,
                )?;
                for (ordinal, (id, _)) in entry.items.iter().enumerate() {
                    let item = ItemId { kind: entry.kind, id: *id };
                    if self.has(&item)? {
                        continue;
                    }
                    let keys = self.keys();
                    let Some(bytes) = block.item(ordinal, &item, &keys) else { return Ok(false) };
                    self.put_item(Owner::MOVED, item, bytes)?;
                }
            }
        }
        Ok(true)
    }

    fn look(&mut self) -> Result<()> {
        self.repo.refresh()?;
        self.refuse_unless_readable()
    }

    fn refuse_unless_readable(&self) -> Result<()> {
        let unread = self.repo.log.damaged().find(|(name, _)| name.as_str().starts_with("admin/"));
        match unread {
            None => Ok(()),
            Some((name, e)) => {
                Err(Error::damaged(name, format!("nothing may be written while it cannot be read: {e}")))
            }
        }
    }

    fn put_prepared(
        &mut self,
        fact: &ProtocolFact,
        row: Option<Row>,
        partial: Option<Partial>,
    ) -> Result<()> {
        let protocol::Fact::Prepared { session, pins, packs, .. } = fact else {
            unreachable!("a writer prepares with a Prepared")
        };
        let prepared = Prepared {
            session: *session,
            pins: pins.clone(),
            packs: packs.clone(),
            segments: std::mem::take(&mut self.segments),
            row,
            partial,
        };
        self.put_facts(&[Fact::Prepared(Box::new(prepared))])
    }

    fn put_facts(&self, facts: &[Fact]) -> Result<()> {
        put_facts(facts, &*self.store, &self.options.author, &self.repo.base, self.options.now)
    }
}

impl NodeSink for Session {
    fn put_node(&mut self, bytes: Vec<u8>) -> Result<NodeId> {
        self.put_node_unless(bytes, &mut |_| false)
    }
}

/// Puts facts, all of one class, as one log object, durable.
pub(crate) fn put_facts(
    facts: &[Fact],
    store: &dyn Store,
    author: &Author,
    base: &Unlocked,
    now: i64,
) -> Result<()> {
    let (name, bytes) = object::encode(facts, author, &base.sealer, now);
    store.put(&name, &[&bytes])?;
    store.barrier()?;
    Ok(())
}

/// Makes a segment of rows: an object of its own, durable after the next barrier, unless it is small enough to travel in
/// a fact. It is proven to list just these rows, and what was put is read back whole first.
pub(crate) fn put_segment(
    rows: &mut SegmentBuilder,
    store: &dyn Store,
    author: &Author,
    base: &Unlocked,
) -> Result<(SegmentRef, Segment)> {
    const DIFFERS: &str = "does not read back as it was written";
    let bytes = rows.encode(author, &base.sealer);
    let (segment, opened) = if bytes.len() <= EMBEDDED_MAX {
        let opened = Segment::open(SegmentSource::Embedded(bytes.clone()), &base.sealer)?;
        (SegmentRef::Embedded(bytes), opened)
    } else {
        let (hash, len) = (ObjectHash(*blake3::hash(&bytes).as_bytes()), bytes.len());
        let name = segment_name(&hash);
        store.put(&name, &[&bytes])?;
        drop(bytes);
        // In one request, and not out of what is kept of the store.
        let back = base.store.get(&name, len)?;
        if *blake3::hash(&back).as_bytes() != hash.0 {
            return Err(Error::damaged(name, DIFFERS));
        }
        let opened = Segment::open(SegmentSource::Embedded(back), &base.sealer)?;
        (SegmentRef::Stored(hash), opened)
    };
    if !rows.is_equal(&opened, &base.sealer)? {
        return Err(Error::damaged("an index segment", DIFFERS));
    }
    match segment {
        SegmentRef::Stored(hash) => Ok((segment, opened.stored_as(base.store.clone(), segment_name(&hash)))),
        SegmentRef::Embedded(_) => Ok((segment, opened)),
    }
}

/// Notes copies that cannot be read, so that nobody relies on them and whoever reads tries them last.
pub fn mark_bad(
    repo: &mut Repository,
    store: &dyn Store,
    author: &Author,
    bad: &[Bad],
    now: i64,
) -> Result<()> {
    if bad.is_empty() {
        return Ok(());
    }
    let facts: Vec<_> = bad.iter().copied().map(Fact::Bad).collect();
    put_facts(&facts, store, author, repo.base(), now)?;
    repo.refresh()
}

/// Removes snapshots, each with all its publications: they are no longer visible here. `sessions` are what published them.
pub fn remove(
    repo: &mut Repository,
    store: &dyn Store,
    author: &Author,
    sessions: &[SessionId],
    now: i64,
) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    let facts: Vec<_> = {
        let all = repo.state.publications();
        let meant: Vec<_> =
            all.iter().filter(|one| sessions.contains(&one.session)).map(|one| one.row).collect();
        let alike = all.iter().filter(|one| meant.contains(&one.row)).map(|one| one.session);
        let named: BTreeSet<_> = sessions.iter().copied().chain(alike).collect();
        named.into_iter().map(Fact::Removed).collect()
    };
    put_facts(&facts, store, author, repo.base(), now)?;
    repo.refresh()
}
