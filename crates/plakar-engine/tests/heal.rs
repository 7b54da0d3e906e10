//! What is lost in one repository comes back from another: every pack damaged in every way, healed from a peer of the
//! same domain and of another, from several peers that each have a part, and told when nobody has it any more.

use plakar_engine::Result;
use plakar_engine::heal::{HealObserver, HealReport, heal};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Fact;
use plakar_engine::push::Checkpoints;
use plakar_engine::sync::{Selection, SyncOptions};
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Name, ReadStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[derive(Debug, Default)]
struct Heard {
    damage: Vec<String>,
    lost: Vec<(String, Vec<String>)>,
}

impl HealObserver for Heard {
    fn damage(&mut self, what: &str) {
        self.damage.push(what.to_owned());
    }

    fn lost(&mut self, snapshot: &str, paths: &[String], _: u64) {
        self.lost.push((snapshot.to_owned(), paths.to_vec()));
    }

    fn progress(&mut self, _: u64, _: u64) {}
}

fn healed(store: &Arc<dyn Store>, peers: &[&Arc<dyn Store>]) -> (HealReport, Heard) {
    try_heal(store, peers).unwrap()
}

fn try_heal(store: &Arc<dyn Store>, peers: &[&Arc<dyn Store>]) -> Result<(HealReport, Heard)> {
    let repo = open(store.clone())?;
    let options = SyncOptions {
        selection: Selection::default(),
        author: Author { replica: repo.base().replica().id, writer: WriterId([3; 16]) },
        now: 1_700_000_000,
        workers: 1,
        verify: true,
        may_admin: true,
        checkpoints: Checkpoints::default(),
    };
    let peers: Vec<_> = peers.iter().map(|peer| open((*peer).clone()).unwrap()).collect();
    let mut heard = Heard::default();
    let (report, _) = heal(repo, store, &peers, &options, &mut heard, &AtomicBool::new(false))?;
    assert_eq!((report.damaged, report.lost), (heard.damage.len() as u64, heard.lost.len() as u64));
    Ok((report, heard))
}

/// What is done to a pack.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Lost,
    Empty,
    Half,
    /// A byte is another one: of the header, of the first block, in the middle, of the directory, of the trailer.
    Flip(usize),
}

const HARMS: [Harm; 8] = [
    Harm::Lost,
    Harm::Empty,
    Harm::Half,
    Harm::Flip(20),
    Harm::Flip(100),
    Harm::Flip(usize::MAX / 2),
    Harm::Flip(usize::MAX - 80),
    Harm::Flip(usize::MAX),
];

fn harm(store: &MemoryStore, pack: &Name, harm: Harm) {
    let mut bytes = store.get(pack, usize::MAX).unwrap();
    let len = bytes.len();
    match harm {
        Harm::Lost => return store.delete(pack).unwrap(),
        Harm::Empty => bytes.clear(),
        Harm::Half => bytes.truncate(len / 2),
        Harm::Flip(at) if at < 1000 => bytes[at] ^= 1,
        Harm::Flip(at) if at == usize::MAX / 2 => bytes[len / 2] ^= 1,
        Harm::Flip(at) => bytes[len - 1 - (usize::MAX - at)] ^= 1,
    }
    store.delete(pack).unwrap();
    store.put(pack, &[&bytes]).unwrap();
}

fn packs(store: &dyn ReadStore) -> BTreeSet<Name> {
    names(store, "packs/")
}

fn names(store: &dyn ReadStore, prefix: &str) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    let add = &mut |listed: plakar_store::Listed| {
        names.insert(listed.name);
        Ok(())
    };
    store.list(prefix, add).unwrap();
    names
}

fn trees() -> Vec<Tree> {
    let mut tree = Tree::default();
    for n in 0..24u64 {
        tree.put(&format!("d{}/f{n}", n % 5), Node::file(noise(n, 2000 + 900 * (n as usize % 7))));
    }
    let mut later = tree.clone();
    later.put("d1/f1", Node::file(noise(99, 30_000))).put("new/g", Node::file(noise(100, 9000)));
    vec![tree, later]
}

/// A repository with two snapshots, an empty one of the same domain, and an empty one of another.
fn worlds(encrypted: bool) -> (MemoryStore, Arc<dyn Store>, Arc<dyn Store>) {
    let empty = MemoryStore::new();
    create(&empty, Making { encrypted, pack_bytes: 16 << 10, ..Making::default() }).unwrap();
    let other = MemoryStore::new();
    create(&other, Making { encrypted: !encrypted, ..Making::default() }).unwrap();
    let peer = MemoryStore::from_snapshot(empty.snapshot());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(empty.snapshot()));
    for (n, tree) in trees().iter().enumerate() {
        push(&store, tree, &Pushing { now: 1000 + n as i64, ..Pushing::default() }).clean();
    }
    let (peer, other): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(peer), Arc::new(other));
    synced(&store, &peer);
    synced(&store, &other);
    let full = MemoryStore::new();
    let copy =
        &mut |listed: plakar_store::Listed| full.put(&listed.name, &[&store.get(&listed.name, usize::MAX)?]);
    store.list("", copy).unwrap();
    (full, peer, other)
}

fn comes_back(store: &Arc<dyn Store>) {
    let repo = healthy(store.clone());
    let snapshots = repo.state().snapshots();
    assert_eq!(snapshots.len(), 2);
    for (snapshot, tree) in snapshots.iter().zip(trees()) {
        let restored = restore(&repo, &snapshot.row.root.node);
        assert!(restored.problems.is_empty() && restored.entries == expected(&tree));
    }
}

#[test]
fn every_pack_harmed_in_every_way_is_mended_from_any_peer() {
    let mut cases = 0;
    for encrypted in [false, true] {
        let (full, peer, other) = worlds(encrypted);
        let peer_before = packs(&peer);
        for pack in packs(&full) {
            for how in HARMS {
                for from in [&peer, &other] {
                    let hurt = MemoryStore::from_snapshot(full.snapshot());
                    harm(&hurt, &pack, how);
                    let names = packs(&hurt);
                    let store: Arc<dyn Store> = Arc::new(hurt);
                    assert_ne!(check_all(&open(store.clone()).unwrap(), false).unwrap().1, [""; 0]);
                    let (report, heard) = healed(&store, &[from]);
                    assert!(report.damaged > 0, "{pack} {how:?}: nothing was found");
                    assert_eq!(heard.lost, [], "{pack} {how:?}");
                    comes_back(&store);
                    assert!(packs(&store).is_superset(&names), "nothing is deleted");
                    // It is whole: healing it again finds nothing and writes nothing.
                    let counting = Arc::new(Counting::new(store));
                    let again: Arc<dyn Store> = counting.clone();
                    assert_eq!(healed(&again, &[from]).0, HealReport::default(), "{pack} {how:?}");
                    assert_eq!(counting.counts().put, 0);
                    cases += 1;
                }
            }
        }
        assert_eq!(packs(&peer), peer_before);
    }
    assert!(cases >= 100, "{cases} cases");
}

#[test]
fn of_several_peers_each_gives_what_the_others_lack() {
    let (full, _, _) = worlds(true);
    let all: Vec<_> = packs(&full).into_iter().collect();
    let without = |which: &dyn Fn(usize) -> bool| -> Arc<dyn Store> {
        let hurt = MemoryStore::from_snapshot(full.snapshot());
        for (n, pack) in all.iter().enumerate().filter(|(n, _)| which(*n)) {
            harm(&hurt, pack, if n % 2 == 0 { Harm::Lost } else { Harm::Flip(100) });
        }
        Arc::new(hurt)
    };
    let store = without(&|n| n < 4);
    let (one, two) = (without(&|n| n % 2 == 0), without(&|n| n % 2 == 1));
    assert!(healed(&without(&|n| n < 4), &[&one]).0.lost > 0);
    let (report, heard) = healed(&store, &[&one, &two]);
    assert!(report.mended > 0);
    assert_eq!(heard.lost, []);
    comes_back(&store);
}

#[test]
fn what_nobody_has_is_told_with_its_paths_and_the_rest_is_mended() {
    let (full, _, _) = worlds(true);
    let all: Vec<_> = packs(&full).into_iter().collect();
    for pack in &all {
        let hurt = |more: Option<&Name>| -> Arc<dyn Store> {
            let hurt = MemoryStore::from_snapshot(full.snapshot());
            harm(&hurt, pack, Harm::Lost);
            more.iter().for_each(|pack| harm(&hurt, pack, Harm::Half));
            Arc::new(hurt)
        };
        let another = all.iter().find(|other| *other != pack).unwrap();
        let (store, peer) = (hurt(Some(another)), hurt(None));
        let (_, heard) = healed(&store, &[&peer]);
        assert!(!heard.lost.is_empty());
        let repo = open(store.clone()).unwrap();
        for snapshot in repo.state().snapshots() {
            let problems = restore(&repo, &snapshot.row.root.node).problems;
            let lost = heard.lost.iter().find(|(uuid, _)| *uuid == snapshot.row.uuid_text());
            let mut told: Vec<_> = lost.map_or(Vec::new(), |(_, paths)| paths.clone());
            assert_eq!(told.len(), problems.len(), "{told:?} {problems:?}");
            told.retain(|what| {
                let named = |path: &Vec<Vec<u8>>| {
                    let path = [vec![ROOT.as_bytes().to_vec()], path.clone()].concat();
                    what.starts_with(&format!("/{}: ", String::from_utf8_lossy(&path.join(&b'/'))))
                };
                !problems.iter().any(|(path, _)| named(path))
            });
            assert!(
                told.iter().all(|what| what.starts_with("/: ") || what.starts_with("/root: ")),
                "{told:?}"
            );
        }
        // Once somebody has it again, it is mended.
        let whole: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(full.snapshot()));
        assert_eq!(healed(&store, &[&whole]).1.lost, []);
        comes_back(&store);
    }
}

#[test]
fn what_is_bad_is_noted_and_relied_on_no_more() {
    let (full, _, _) = worlds(false);
    let pack = packs(&full).pop_first().unwrap();
    let hurt = MemoryStore::from_snapshot(full.snapshot());
    harm(&hurt, &pack, Harm::Flip(100));
    let store: Arc<dyn Store> = Arc::new(hurt);
    let (report, heard) = healed(&store, &[]);
    assert!(report.bad > 0 && report.mended == 0 && !heard.lost.is_empty());
    let repo = open(store.clone()).unwrap();
    let noted = repo.log().objects().flat_map(|(_, object)| &object.facts);
    assert_eq!(noted.filter(|fact| matches!(fact, Fact::Bad(_))).count() as u64, report.bad);
    // The same files, pushed once more, are stored once more as far as they were lost.
    let tree = trees().swap_remove(0);
    let again = push(&store, &tree, &Pushing { now: 5000, root: "elsewhere", ..Pushing::default() }).clean();
    let repo = open(store).unwrap();
    let restored = restore(&repo, &again.row.root.node);
    assert!(restored.problems.is_empty() && restored.entries == expected(&tree));
}

#[test]
fn a_pack_that_cannot_be_read_is_told_and_mended_and_a_store_that_is_gone_is_an_error() {
    let (full, peer, other) = worlds(true);
    for pack in packs(&full) {
        for from in [&peer, &other] {
            let faulty = Arc::new(Faulty::new(MemoryStore::from_snapshot(full.snapshot()), 1));
            let bad_sector = Rule::new(Fault::Error(ErrorKind::Io)).prefix(pack.as_str());
            faulty.add(bad_sector.clone().on(Request::Get));
            faulty.add(bad_sector.on(Request::Range));
            let store: Arc<dyn Store> = faulty.clone();
            for fast in [false, true] {
                let (report, told) = check_all(&open(store.clone()).unwrap(), fast).unwrap();
                assert_eq!(report.damaged > 0, !told.is_empty());
                assert!(told.iter().all(|what| what.contains(pack.as_str())), "{told:?}");
                assert!(fast || told.len() > 1, "the pack, and each path that needs it: {told:?}");
            }
            let (report, heard) = healed(&store, &[from]);
            assert!(report.damaged == 1 && report.mended > 0 && report.lost == 0, "{report:?} {:?}", heard);
            comes_back(&store);
            assert_eq!(healed(&store, &[from]).0, HealReport::default());
            // Whoever may not read it is told, and nothing is noted for good.
            let faulty = Arc::new(Faulty::new(MemoryStore::from_snapshot(full.snapshot()), 1));
            faulty.add(Rule::new(Fault::Error(ErrorKind::Denied)).on(Request::Get).prefix(pack.as_str()));
            let store: Arc<dyn Store> = faulty;
            assert_eq!(healed(&store, &[from]).0.bad, 0);
        }
    }
    let faulty = Arc::new(Faulty::new(full, 1));
    let store: Arc<dyn Store> = faulty.clone();
    let repo = open(store.clone()).unwrap();
    faulty.add(Rule::new(Fault::Error(ErrorKind::Io)));
    assert!(check_all(&repo, false).is_err() && check_all(&repo, true).is_err());
    faulty.clear();
    faulty.add(Rule::new(Fault::Error(ErrorKind::Io)).prefix("packs/").from(1));
    faulty.add(Rule::new(Fault::Error(ErrorKind::Io)).prefix("config").from(3));
    assert!(try_heal(&store, &[&peer]).is_err());
}
