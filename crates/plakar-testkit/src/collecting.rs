//! A collector, as the order rules describe one, for repositories that are not encrypted.
//!
//! It is slow and sure: each look reads the whole log anew, and every walk is a whole one. What it marks it rewrites:
//! whatever is still needed of a marked pack is stored again before the pack is dead.

use crate::world::open;
use plakar_engine::block::ItemId;
use plakar_engine::block::{Compression, ItemKind};
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::id::{ChunkId, NodeId, ObjectHash, SessionId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::{Fact, Mark};
use plakar_engine::log::object::encode;
use plakar_engine::pack::pack_name;
use plakar_engine::read::Reader;
use plakar_engine::repository::Repository;
use plakar_engine::tree::pages::NodeSink;
use plakar_engine::tree::{Body, Chunks, Content, Directory, NodeSource, Xattrs};
use plakar_engine::write::{Ended, Owner, Session, SessionOptions};
use plakar_engine::{Error, Result};
use plakar_store::Store;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which packs are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that nothing needs.
    Unneeded,
    /// All of them: what is needed is stored again.
    All,
}

/// A collection between its Mark and its Dead.
pub struct Collecting {
    mark: SessionId,
    packs: Vec<ObjectHash>,
}

impl Collecting {
    /// Looks, chooses packs and puts the Mark. `None` when there is nothing to collect.
    pub fn begin(store: &Arc<dyn Store>, which: Which) -> Option<Collecting> {
        let repo = open(store.clone()).expect("the store behind works");
        let view = &repo.state().view;
        let mut packs: BTreeSet<_> = view.announced_packs().filter(|pack| !view.marked(*pack)).collect();
        if which == Which::Unneeded {
            for item in needed(&repo) {
                for place in repo.index().find(&item).expect("the index can be read") {
                    packs.remove(&place.pack);
                }
            }
        }
        let collecting = Collecting { mark: SessionId::random(), packs: packs.into_iter().collect() };
        if collecting.packs.is_empty() {
            return None;
        }
        let mark = Mark { id: collecting.mark, packs: collecting.packs.clone(), revokes: Vec::new() };
        put(&repo, &**store, Fact::Mark(mark));
        Some(collecting)
    }

    /// Looks, saves what is needed of the marked packs until nothing is, puts the Dead and deletes them. Returns how many
    /// packs are gone.
    pub fn finish(self, store: &Arc<dyn Store>) -> usize {
        loop {
            let repo = open(store.clone()).expect("the store behind works");
            let view = &repo.state().view;
            let only_marked = |item: &ItemId| {
                let places = repo.index().find(item).expect("the index can be read");
                places.iter().any(|place| self.packs.contains(&place.pack))
                    && !places.iter().any(|place| view.may_rely(place.pack))
            };
            let doomed: Vec<_> = needed(&repo).into_iter().filter(only_marked).collect();
            if doomed.is_empty() {
                put(&repo, &**store, Fact::Dead(self.mark));
                break;
            }
            rescue(repo, store, &doomed);
        }
        for pack in &self.packs {
            store.delete(&pack_name(pack)).expect("the store behind works");
        }
        self.packs.len()
    }
}

/// A whole collection. Returns how many packs are gone.
pub fn collect(store: &Arc<dyn Store>, which: Which) -> usize {
    Collecting::begin(store, which).map_or(0, |collecting| collecting.finish(store))
}

fn author(repo: &Repository) -> Author {
    Author { replica: repo.base().replica().id, writer: WriterId([3; 16]) }
}

fn put(repo: &Repository, store: &dyn Store, fact: Fact) {
    let sealer = Sealer::plain(repo.base().config().domain);
    let (name, bytes) = encode(&[fact], &author(repo), &sealer, 1_700_000_000);
    store.put(&name, &[&bytes]).and_then(|()| store.barrier()).expect("the store behind works");
}

/// What must not be lost: all that can be reached from a root that counts.
fn needed(repo: &Repository) -> BTreeSet<ItemId> {
    let view = &repo.state().view;
    let kept = view.kept(&BTreeSet::new());
    let (mut whole, mut hints) = (Vec::new(), Vec::new());
    let mut root = |session, node| match view.visible(session) {
        true => whole.push(node),
        false if kept.contains_key(&session) => hints.push(node),
        false => {}
    };
    for fact in repo.log().objects().flat_map(|(_, object)| &object.facts) {
        match fact {
            Fact::Prepared(prepared) => {
                // Of what is visible only the row counts.
                let partial = prepared.partial.as_ref().filter(|_| !view.visible(prepared.session));
                let partial = partial.map(|partial| partial.root.node);
                let row = prepared.row.as_ref().map(|row| row.root.node);
                row.into_iter().chain(partial).for_each(|node| root(prepared.session, node));
            }
            Fact::Checkpoint(checkpoint) => {
                let rows = checkpoint.published.iter().filter_map(|p| Some((p.session, p.row.as_ref()?)));
                rows.for_each(|(session, row)| root(session, row.root.node));
            }
            _ => {}
        }
    }
    let reader = Reader::new(repo, 1 << 20);
    let mut needed = BTreeSet::new();
    // What must be whole comes first: what is met again is not walked again.
    for (roots, tolerant) in [(whole, false), (hints, true)] {
        for root in roots {
            reach(&reader, &root, tolerant, &mut needed).expect("what is visible can be walked");
        }
    }
    needed
}

/// All items of the tree at `root`, which must be whole.
pub fn reached(repo: &Repository, root: &NodeId) -> Result<BTreeSet<ItemId>> {
    let mut items = BTreeSet::new();
    reach(&Reader::new(repo, 1 << 20), root, false, &mut items)?;
    Ok(items)
}

/// Reads nodes and notes which.
struct Noting<'a>(&'a Reader, RefCell<&'a mut BTreeSet<ItemId>>);

impl NodeSource for Noting<'_> {
    fn node(&self, id: &NodeId) -> Result<Vec<u8>> {
        self.1.borrow_mut().insert((*id).into());
        self.0.node(id)
    }
}

fn reach(reader: &Reader, node: &NodeId, tolerant: bool, items: &mut BTreeSet<ItemId>) -> Result<()> {
    if items.contains(&(*node).into()) {
        return Ok(());
    }
    let (mut found, mut below) = (BTreeSet::<ItemId>::new(), Vec::new());
    let result: Result<()> = (|| {
        let noting = Noting(reader, RefCell::new(items));
        let mut entries = Directory::open(&noting, node)?;
        while let Some(entry) = entries.next_entry()? {
            if let Xattrs::Chunk { id, .. } = &entry.xattrs {
                found.insert((*id).into());
            }
            match &entry.content {
                Content::Directory(subtree) => below.push(subtree.node),
                Content::File(object) if !matches!(object.body, Body::Inline(_)) => {
                    let mut rows = Chunks::open(&noting, object)?;
                    while let Some(row) = rows.next_row()? {
                        found.insert(row.id.into());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    })();
    if !tolerant {
        result?;
    }
    items.extend(found);
    below.iter().try_for_each(|node| reach(reader, node, tolerant, items))
}

/// Stores `items` again, as a writer does.
fn rescue(repo: Repository, store: &Arc<dyn Store>, items: &[ItemId]) {
    let reader = Reader::new(&repo, 1 << 20);
    let author = author(&repo);
    let compression = Compression { level: 1, verify: true };
    let options = SessionOptions { author, compression, workers: 1, now: 1_700_000_000, may_admin: false };
    let stored = Session::begin(repo, store.clone(), options, &[], &[]).and_then(|(mut session, _)| {
        for item in items {
            match item.kind {
                ItemKind::Chunk => _ = session.put_chunk(Owner::SELF, &reader.chunk(&ChunkId(item.id))?)?,
                // Of an unfinished session a node may be missing: its writer has yet to look.
                ItemKind::Node => match reader.node(&NodeId(item.id)) {
                    Ok(bytes) => _ = session.put_node(bytes)?,
                    Err(e) if e.is_damage() || e.is_not_found() => {}
                    Err(e) => return Err(e),
                },
            }
        }
        match session.publish(None)? {
            (Ended::Published, _) => Ok(()),
            (Ended::Lost, _) => Err(Error::Refused("two collectors at once".into())),
        }
    });
    stored.expect("the store behind works");
}
