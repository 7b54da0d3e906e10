//! What is lost in one repository comes back from another: every pack damaged in every way, healed from a peer of the
//! same domain and of another, from several peers that each have a part, and told when nobody has it any more. Objects of
//! log and index come back from a clone, whole and under their names.

use plakar_engine::heal::{HealObserver, HealReport, heal};
use plakar_engine::id::{ObjectHash, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Fact;
use plakar_engine::pack::hash_in_pack_name;
use plakar_engine::push::Checkpoints;
use plakar_engine::sync::{Selection, SyncOptions};
use plakar_engine::{Result, write};
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Name, ReadStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::tidying::clean;
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[derive(Debug, Default)]
struct Heard {
    damage: Vec<String>,
    unmended: Vec<String>,
    lost: Vec<(String, Vec<String>)>,
}

impl HealObserver for Heard {
    fn damage(&mut self, what: &str) {
        self.damage.push(what.to_owned());
    }

    fn unmended(&mut self, what: &str) {
        self.unmended.push(what.to_owned());
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
    assert_eq!(report.unmended, heard.unmended.len() as u64);
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

fn is_whole(store: &dyn ReadStore, pack: &Name) -> bool {
    let hash = blake3::hash(&store.get(pack, usize::MAX).unwrap());
    hash_in_pack_name(pack) == Some(ObjectHash(*hash.as_bytes()))
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
                    let counting = Arc::new(Counting::new(store.clone()));
                    let again: Arc<dyn Store> = counting.clone();
                    assert_eq!(healed(&again, &[from]).0, HealReport::default(), "{pack} {how:?}");
                    assert_eq!(counting.counts().put, 0);
                    // The next cleanup stores the rest of such a pack anew.
                    clean(&store).unwrap();
                    assert!(packs(&store).iter().all(|name| is_whole(&store, name)), "{pack} {how:?}");
                    comes_back(&store);
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

/// Three snapshots, one of them removed, and an index segment of its own; and a clone of it.
fn with_log(encrypted: bool) -> (MemoryStore, Arc<dyn Store>) {
    let full = MemoryStore::new();
    create(&full, Making { encrypted, sizes: (128, 256, 512), pack_bytes: 128 << 10 }).unwrap();
    let store: Arc<dyn Store> = Arc::new(full.clone());
    let [tree, mut large] = <[Tree; 2]>::try_from(trees()).unwrap_or_else(|_| panic!());
    let pushing = |now| Pushing { now, ..Pushing::default() };
    let first = push(&store, &tree, &pushing(1000)).clean().row.uuid_text();
    large.put("large", Node::file(noise(7, 620_000)));
    push(&store, &large, &pushing(1001)).clean();
    push(&store, &tree, &pushing(1002)).clean();
    remove(&store, &first);
    assert_eq!(names(&full, "index/").len(), 1);
    let peer = Arc::new(copy_of(&full.snapshot()));
    (full, peer)
}

fn facts(store: &dyn ReadStore) -> BTreeSet<Name> {
    ["log/", "admin/", "index/"].iter().flat_map(|prefix| names(store, prefix)).collect()
}

#[test]
fn every_object_of_log_and_index_comes_back_from_a_clone() {
    for encrypted in [false, true] {
        let (full, peer) = with_log(encrypted);
        let expected = full.snapshot();
        let mut cases = 0;
        for object in facts(&full) {
            for how in HARMS {
                let hurt = MemoryStore::from_snapshot(full.snapshot());
                harm(&hurt, &object, how);
                let store: Arc<dyn Store> = Arc::new(hurt.clone());
                let (report, heard) = healed(&store, &[&peer]);
                let case = format!("{object} {how:?}: {:?}", heard.damage);
                assert_eq!((report.objects, report.unmended, report.lost), (1, 0, 0), "{case}");
                assert!(heard.damage.iter().any(|what| what.contains(object.as_str())), "{case}");
                assert!(hurt.snapshot() == expected, "{case}: not as it was");
                healthy(store.clone());
                assert_eq!(healed(&store, &[&peer]).0, HealReport::default(), "{case}");
                cases += 1;
            }
        }
        assert!(cases > 60, "{cases} cases");
    }
}

#[test]
fn what_is_put_in_place_is_never_missing_meanwhile_and_a_crash_is_mended_by_the_next_heal() {
    let (full, peer) = with_log(true);
    let mut crashes = 0;
    for object in facts(&full) {
        for nth in 1..20 {
            let hurt = MemoryStore::from_snapshot(full.snapshot());
            harm(&hurt, &object, Harm::Flip(100));
            let faulty = Arc::new(Faulty::new(hurt, nth));
            // What changes something: a deletion, a put, a barrier, by turns.
            let request = [Request::Delete, Request::Put, Request::Barrier][nth as usize % 3];
            faulty.add(Rule::new(Fault::CrashAfter).on(request).nth(1 + nth / 3));
            let store: Arc<dyn Store> = faulty.clone();
            let result = try_heal(&store, &[&peer]);
            if !faulty.is_crashed() {
                result.unwrap();
                continue;
            }
            faulty.revive();
            faulty.clear();
            crashes += 1;
            let case = format!("{object}, {request:?} {nth}");
            let hash = object.last().rsplit('-').next().unwrap();
            let held = facts(&store).into_iter().filter(|name| name.as_str().ends_with(hash));
            let held: Vec<_> = held.map(|name| store.get(&name, usize::MAX).unwrap()).collect();
            if !object.as_str().starts_with("index/") {
                assert!(!held.is_empty(), "{case}: nothing is left of it");
            }
            // Nobody else has it now: a whole copy that is here already is enough.
            let whole = held.iter().any(|bytes| blake3::hash(bytes).to_hex().as_str() == hash);
            let (report, heard) = if whole { healed(&store, &[]) } else { healed(&store, &[&peer]) };
            assert_eq!((report.unmended, report.lost), (0, 0), "{case}: {:?}", heard.unmended);
            healthy(store);
        }
    }
    assert!(crashes > 30, "{crashes} crashes");
}

#[test]
fn what_another_repository_wrote_is_not_taken_over() {
    let (full, peer) = with_log(true);
    push(&peer, &trees()[1], &Pushing { now: 2000, root: "own", ..Pushing::default() }).clean();
    let before = full.snapshot();
    let store: Arc<dyn Store> = Arc::new(full.clone());
    assert_eq!(healed(&store, &[&peer]).0, HealReport::default());
    assert!(full.snapshot() == before);
}

#[test]
fn a_publication_whose_beginning_is_lost_comes_back_or_is_given_up() {
    let (full, peer) = with_log(true);
    let mut lost = 0;
    for object in names(&*peer, "log/") {
        // At the clone all facts are of another repository: only the Final tells that something is missing.
        let hurt = copy_of(&full.snapshot());
        harm(&hurt, &object, Harm::Lost);
        let store: Arc<dyn Store> = Arc::new(hurt);
        let lost_sessions = |store: &Arc<dyn Store>| {
            let repo = open(store.clone()).unwrap();
            repo.state().view.ended_without_beginning().collect::<Vec<_>>()
        };
        let sessions = lost_sessions(&store);
        let [session] = sessions[..] else { continue };
        lost += 1;
        // A repository that has the same snapshots by way of a sync has them from other sessions.
        let alike: Arc<dyn Store> = {
            let empty = MemoryStore::new();
            create(&empty, Making { encrypted: false, ..Making::default() }).unwrap();
            Arc::new(empty)
        };
        synced(&peer, &alike);
        synced(&alike, &store);
        let (report, heard) = healed(&store, &[&alike]);
        assert_eq!(report.unmended, 1, "{:?}", heard.unmended);
        assert!(heard.unmended[0].contains(&format!("'plakar rm {session}'")), "{:?}", heard.unmended);
        assert_eq!(check_all(&open(store.clone()).unwrap(), false).unwrap().1, heard.unmended);
        if lost == 1 {
            assert_eq!(healed(&store, &[&alike, &peer]).0.objects, 1);
        } else {
            let mut repo = open(store.clone()).unwrap();
            let author = Author { replica: repo.base().replica().id, writer: WriterId([3; 16]) };
            write::remove(&mut repo, &*store, &author, &[session], 1_700_000_000).unwrap();
        }
        assert_eq!(lost_sessions(&store), []);
        let repo = healthy(store);
        assert_eq!(repo.state().snapshots().len(), 2, "none is lost, none is shown twice");
    }
    assert!(lost >= 2, "{lost} Prepareds");
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
