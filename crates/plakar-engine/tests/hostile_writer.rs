//! What somebody who has the keys may have written: snapshots of hostile trees, of nothing, of absurd numbers and names, and
//! an index that points anywhere. Whatever is done with such a repository ends soon, with an error or a word about it,
//! and the honest snapshot next to it is restored, checked and synced.

use plakar_engine::block::Compression;
use plakar_engine::check::{CheckOptions, Reads, check};
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, Estimate, cleanup};
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::heal::{HealObserver, heal};
use plakar_engine::id::{ChunkId, NodeId, ObjectHash, SessionId, WriterId};
use plakar_engine::index::segment::{Author, Location, SegmentBuilder};
use plakar_engine::log::fact::{Fact, Path, Prepared, Row, SegmentRef};
use plakar_engine::log::object;
use plakar_engine::push::Checkpoints;
use plakar_engine::repair::{RepairObserver, RepairOptions, repair};
use plakar_engine::repository::Repository;
use plakar_engine::sync::{Selection, SyncOptions};
use plakar_engine::tree::node::{DirectoryLink, DirectoryPage};
use plakar_engine::tree::pages::NodeSink;
use plakar_engine::tree::{self, Body, Content, Object, Subtree, Time, Totals};
use plakar_engine::write::{Owner, Session, SessionOptions};
use plakar_store::Store;
use plakar_testkit::collecting::reached;
use plakar_testkit::samples::{self, entry};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::syncing::{Domains, Syncing, sync_stores};
use plakar_testkit::world::*;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Longer than anything here takes, and shorter than for ever.
const A_WHILE: Duration = Duration::from_secs(30);

struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

impl RepairObserver for Quiet {
    fn damage(&mut self, _: &str) {}
    fn lost(&mut self, _: &str) {}
    fn progress(&mut self, _: u64) {}
}

impl HealObserver for Quiet {
    fn damage(&mut self, _: &str) {}
    fn unmended(&mut self, _: &str) {}
    fn lost(&mut self, _: &str, _: &[String], _: u64) {}
    fn progress(&mut self, _: u64, _: u64) {}
}

fn author(repo: &Repository) -> Author {
    Author { replica: repo.base().replica().id, writer: WriterId([7; 16]) }
}

/// An honest snapshot in a repository that is not encrypted, so that tests can seal.
struct Scene {
    store: Arc<dyn Store>,
    honest: Row,
    tree: Tree,
    /// Where it is synced to.
    to: Vec<Domains>,
}

impl Scene {
    fn new() -> Scene {
        let store: Arc<dyn Store> = Arc::new(Domains::Plain.empty(64 << 10).0);
        let mut tree = Tree::default();
        tree.put("a/honest", Node::file(noise(1, 20_000)));
        let honest = push(&store, &tree, &Pushing::default()).clean().row;
        Scene { store, honest, tree, to: vec![Domains::Plain, Domains::OtherSizes] }
    }

    /// A session of the hostile writer.
    fn session(&self) -> Session {
        let repo = open(self.store.clone()).unwrap();
        let options = SessionOptions {
            author: author(&repo),
            compression: Compression { level: 1, verify: false },
            workers: 1,
            now: 1_700_000_000,
            may_admin: true,
        };
        Session::begin(repo, self.store.clone(), options, &[], &[]).unwrap().0
    }

    /// Publishes the tree with this root.
    fn publish(&self, session: Session, root: NodeId) {
        let root = Subtree { node: root, totals: Totals::default() };
        session.publish(Some(Row { uuid: SessionId::random().0, root, ..self.honest.clone() })).unwrap();
    }

    /// Puts facts.
    fn put(&self, facts: &[Fact]) {
        let repo = open(self.store.clone()).unwrap();
        let (name, bytes) = object::encode(facts, &author(&repo), &self.sealer(), 1_700_000_000);
        self.store.put(&name, &[&bytes]).unwrap();
    }

    fn sealer(&self) -> Sealer {
        Sealer::plain(open(self.store.clone()).unwrap().base().config().domain)
    }

    /// Does everything with it. Returns what a check found.
    fn survives(&self, what: &str) -> u64 {
        let began = Instant::now();
        let never = AtomicBool::new(false);
        let store = &self.store;
        let reopened = || open(store.clone()).unwrap();
        let (found, _) = check_all(&reopened(), false).unwrap();
        check_all(&reopened(), true).unwrap();
        // The honest one alone has nothing to fear.
        let repo = reopened();
        let snapshots = repo.state().snapshots();
        let honest = *snapshots.iter().find(|s| s.row.uuid == self.honest.uuid).expect(what);
        let options = CheckOptions { reads: Reads::All, workers: 1 };
        let (mut said, only) = (Vec::new(), [(honest, Vec::new())]);
        check(&repo, &only, &options, &mut |told| said.push(told.to_owned()), &mut |_| {}, &never).unwrap();
        assert_eq!(said, Vec::<String>::new(), "{what}");
        for domains in &self.to {
            let to: Arc<dyn Store> = Arc::new(domains.empty(64 << 10).1);
            let (heard, result) = sync_stores(store.clone(), &to, &Syncing::default());
            assert!(result.is_ok(), "{what}, {domains:?}: {:?}", result.err());
            assert!(heard.sent.contains(&self.honest.uuid_text()), "{what}, {domains:?}");
            if found.damaged == 0 {
                assert!(heard.withheld.is_empty(), "{what}, {domains:?}: {:?}", heard.withheld);
            }
            // What is wrong with the others is brought as it is, or withheld.
            let there = open(to).unwrap();
            let restored = restore(&there, &root_of(&there, &self.honest));
            assert!(restored.problems.is_empty() && restored.entries == expected(&self.tree), "{what}");
        }
        push(store, &self.tree, &Pushing { now: 1_700_000_100, ..Pushing::default() }).clean();
        let by = author(&repo);
        let clean = CleanupOptions {
            author: by,
            now: 4_000_000_000,
            grace: 0,
            max_repack: u64::MAX,
            workers: 1,
            compression: Compression { level: 1, verify: true },
        };
        if let Err(e) = cleanup(reopened(), store, &clean, &mut Quiet, &never) {
            assert!(found.damaged > 0 && e.to_string().contains(": "), "{what}: {e}");
        }
        let options = RepairOptions { author: by, now: 4_000_000_000, grace: 0, fast: false, workers: 1 };
        repair(reopened(), store, &options, &mut Quiet, &never).unwrap_or_else(|e| panic!("{what}: {e}"));
        let options = SyncOptions {
            selection: Selection::default(),
            author: by,
            now: 1_700_000_000,
            workers: 1,
            verify: true,
            may_admin: true,
            checkpoints: Checkpoints::default(),
        };
        heal(reopened(), store, &[], &options, &mut Quiet, &never).unwrap_or_else(|e| panic!("{what}: {e}"));
        let restored = restore(&reopened(), &self.honest.root.node);
        assert!(restored.problems.is_empty() && restored.entries == expected(&self.tree), "{what}");
        assert!(began.elapsed() < A_WHILE, "{what}: {:?}", began.elapsed());
        found.damaged
    }
}

fn root_of(repo: &Repository, row: &Row) -> NodeId {
    let snapshots = repo.state().snapshots();
    snapshots.iter().find(|s| s.row.uuid == row.uuid).expect("it was sent").row.root.node
}

fn directory(name: &[u8], node: NodeId) -> tree::Entry {
    let mut directory = entry(name);
    directory.content = Content::Directory(Subtree { node, totals: Totals::default() });
    directory
}

fn page(entries: Vec<tree::Entry>) -> Vec<u8> {
    DirectoryPage::Entries(entries).encode()
}

#[test]
fn directories_as_deep_as_anybody_likes() {
    const LEVELS: usize = 2_000;
    let scene = Scene::new();
    let mut session = scene.session();
    let mut node = session.put_node(page(vec![entry(b"f")])).unwrap();
    for _ in 0..LEVELS {
        node = session.put_node(page(vec![directory(b"d", node)])).unwrap();
    }
    scene.publish(session, node);
    // The totals that it claims are wrong on each level.
    assert!(scene.survives("a deep tree") > 0);
}

#[test]
fn one_directory_in_many_places() {
    // Two names for the one below, on each level: 2^40 paths in 40 nodes. At the end of each a file, whole or not.
    for id in [None, Some(ChunkId([9; 32]))] {
        let scene = Scene::new();
        let mut session = scene.session();
        let id = id.unwrap_or_else(|| session.put_chunk(Owner::SELF, &noise(9, 200)).unwrap());
        let mut file = entry(b"f");
        let rows = vec![tree::Row { id, len: 200, repeat: 1 }];
        file.content = Content::File(Object { size: 200, body: Body::Rows(rows) });
        let mut node = session.put_node(page(vec![file])).unwrap();
        for _ in 0..40 {
            node = session.put_node(page(vec![directory(b"a", node), directory(b"b", node)])).unwrap();
        }
        scene.publish(session, node);
        // None is healthy: the totals that it claims are wrong.
        assert!(scene.survives("a tree of 2^40 paths") > 0);
    }
}

/// Puts nodes; returns one.
type Make = Box<dyn Fn(&mut Session) -> NodeId>;

#[test]
fn names_and_pages_that_lead_elsewhere() {
    let link = |first: &str, child| DirectoryLink { first: first.into(), child, entries: 2 };
    let mut scenes: Vec<(&str, Make)> = Vec::new();
    for name in [&b".."[..], b".", b"a/b", b"/etc", b"a\0", b"", &[b'x'; 256]] {
        scenes.push(("a name", Box::new(move |session| session.put_node(page(vec![entry(name)])).unwrap())));
    }
    scenes.push(("one name twice", Box::new(|s| s.put_node(page(vec![entry(b"a"), entry(b"a")])).unwrap())));
    scenes.push((
        "pages that overlap",
        Box::new(move |session| {
            let child = session.put_node(page(vec![entry(b"a"), entry(b"b")])).unwrap();
            let links = DirectoryPage::Links(1, vec![link("a", child), link("b", child)]);
            session.put_node(links.encode()).unwrap()
        }),
    ));
    scenes.push(("no node", Box::new(|session| session.put_node(vec![0xff; 40]).unwrap())));
    for (what, make) in scenes {
        let scene = Scene::new();
        let mut session = scene.session();
        let bad = make(&mut session);
        let root = session.put_node(page(vec![directory(b"d", bad)])).unwrap();
        scene.publish(session, root);
        assert!(scene.survives(what) > 0, "{what}");
    }
}

#[test]
fn files_that_are_not_what_their_size_says() {
    for (size, len, repeat) in [(100u64, 300u32, 1u32), (u64::MAX, 200, u32::MAX), (400, 200, 1)] {
        let scene = Scene::new();
        let mut session = scene.session();
        let id = session.put_chunk(Owner::SELF, &noise(9, 200)).unwrap();
        let mut file = entry(b"f");
        let rows = vec![tree::Row { id, len, repeat }];
        file.content = Content::File(Object { size, body: Body::Rows(rows) });
        let root = session.put_node(page(vec![file])).unwrap();
        scene.publish(session, root);
        assert!(scene.survives("a file of another size") > 0, "{size} {len} {repeat}");
    }
}

#[test]
fn snapshots_of_absurd_numbers_and_names() {
    let scene = Scene::new();
    let all = Totals { directories: u64::MAX, files: u64::MAX, bytes: u64::MAX, errors: u64::MAX };
    for (n, secs) in [i64::MIN, i64::MAX, -1, 0].into_iter().enumerate() {
        let session = SessionId::random();
        let uuid = SessionId::random().0;
        let row = Row {
            uuid,
            root: Subtree { totals: all, ..scene.honest.root },
            created: Time { secs, nanos: 999_999_999 },
            took_ms: u64::MAX,
            host: "\u{1b}[2J\n".repeat(1_000),
            tags: vec![String::new(); 20_000],
            roots: vec![Path(b"../../etc\0".to_vec()), Path(Vec::new())],
            parents: vec![plakar_engine::log::fact::Uuid(uuid); 10_000],
            ..scene.honest.clone()
        };
        let pins = vec![session, SessionId([n as u8; 16])];
        let prepared = Prepared { session, pins, row: Some(row), ..Prepared::default() };
        scene.put(&[Fact::Prepared(Box::new(prepared)), Fact::Final(session)]);
    }
    scene.survives("absurd rows");
}

/// Rows that point outside packs, at wrong blocks, into packs that are not there: before the right ones in the index.
#[test]
fn an_index_that_points_anywhere() {
    let scene = Scene::new();
    let repo = open(scene.store.clone()).unwrap();
    let there = repo.state().view.announced_packs().next().unwrap();
    let items = reached(&repo, &scene.honest.root.node).unwrap();
    for (offset, sealed_len, ordinal) in [
        (u32::MAX, 0xff_ffff, u16::MAX),
        (0, 0xff_ffff, 0),
        (64, 41, 0),
        (64, 1, 9),
        (100, 0, 0),
        (1 << 31, 5_000, 1),
    ] {
        let mut builder = SegmentBuilder::default();
        for item in &items {
            let id: &[u8] = &item.id[..16];
            for pack in [there, ObjectHash([0; 32]), ObjectHash([0xff; 32])] {
                let epoch = samples::plain_sealer().epoch();
                builder.add(item.kind, id, &Location { pack, offset, sealed_len, ordinal, epoch });
            }
        }
        let segment = builder.encode(&author(&repo), &scene.sealer());
        let session = SessionId::random();
        let packs = vec![there, ObjectHash([0xff; 32])];
        let segments = vec![SegmentRef::Embedded(segment)];
        let prepared = Prepared { session, packs, segments, ..Prepared::default() };
        scene.put(&[Fact::Prepared(Box::new(prepared)), Fact::Final(session)]);
    }
    assert!(scene.survives("an index that lies") > 0);
}
