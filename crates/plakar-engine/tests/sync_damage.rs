//! Damage at the source withholds exactly the snapshots that need what is lost, with the right paths, and no others; once
//! it is mended the next sync sends them. Damage at the destination is not relied on.

use plakar_engine::id::ObjectHash;
use plakar_store::{MemoryStore, Name, Store};
use plakar_testkit::source::{Node, Random, Tree, What, noise};
use plakar_testkit::syncing::*;
use plakar_testkit::world::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is done to a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Lost,
    Half,
    /// One bit, by seed.
    Bit(u64),
    /// Some hundred bytes in the middle, by seed.
    Bytes(u64),
}

const DAMAGES: [Damage; 7] = [
    Damage::Lost,
    Damage::Half,
    Damage::Bit(1),
    Damage::Bit(2),
    Damage::Bit(3),
    Damage::Bytes(4),
    Damage::Bytes(5),
];

fn damage(store: &MemoryStore, pack: &Name, damage: Damage) {
    let bytes = store.snapshot()[pack].clone();
    match damage {
        Damage::Lost => assert!(store.tamper_remove(pack)),
        Damage::Half => assert!(store.tamper_truncate(pack, bytes.len() / 2)),
        Damage::Bit(seed) => assert!(store.tamper_flip(pack, Random(seed).number())),
        Damage::Bytes(seed) => {
            let mut bytes = bytes;
            let from = Random(seed).below(bytes.len() as u64) as usize;
            bytes.iter_mut().skip(from).take(300).for_each(|byte| *byte ^= 0x55);
            store.tamper_replace(pack, bytes);
        }
    }
}

/// Snapshots that share some files and some directories, in several packs; one directory is there twice, one file as
/// well, one is large, and one has a long chunk list.
fn source(domains: Domains) -> (MemoryStore, MemoryStore, Known) {
    let (from, to) = domains.empty(6 << 10);
    let a: Arc<dyn Store> = Arc::new(from.clone());
    let mut known = Known::new();
    for version in 0..3 {
        let mut tree = Tree::default();
        for n in 0..6 {
            let fresh = if n == version { 1_000 } else { 0 };
            let file = Node::file(noise(fresh + n, 3_500)).owned_by(n as u32 % 3);
            tree.put(&format!("shared/{n}"), file);
        }
        for twice in ["twice/one", "twice/two/again"] {
            tree.put(&format!("{twice}/file"), Node::file(noise(50 + version / 2, 2_000)).owned_by(5));
            tree.put(&format!("{twice}/other"), Node::file(noise(60, 90)));
            tree.put(&format!("{twice}-file"), Node::file(noise(70, 1_500)).owned_by(6));
        }
        tree.put("long", Node::file(noise(80, 40_000 + version as usize)).owned_by(7));
        let mut attributes = Node::new(What::Directory);
        attributes.xattrs = vec![(b"user.long".to_vec(), noise(90 + version, 2_000))];
        tree.put("attributes", attributes);
        for n in 0..200 {
            let times = if n == 100 + version { 2 } else { 1 };
            tree.put(&format!("many/{n:03}"), Node::file(vec![n as u8; 5 * times]));
        }
        let now = 1_000 + version as i64;
        let pushed = push(&a, &tree, &Pushing { now, ..Pushing::default() }).clean();
        known.insert(pushed.row.uuid_text(), expected(&tree));
    }
    (from, to, known)
}

/// What cannot be restored of each snapshot: none for one that is whole.
fn problems(store: &MemoryStore) -> BTreeMap<String, BTreeSet<String>> {
    let repo = open(Arc::new(store.clone())).unwrap();
    let paths = |restored: Restored| -> BTreeSet<String> {
        let text = |path: &Vec<Vec<u8>>| {
            path.iter().fold(String::new(), |text, name| text + "/" + &String::from_utf8_lossy(name))
        };
        restored.problems.iter().map(|(path, _)| text(path)).collect()
    };
    let snapshots = repo.state().snapshots();
    snapshots.iter().map(|s| (s.row.uuid_text(), paths(restore(&repo, &s.row.root.node)))).collect()
}

/// The paths in sentences about `/root/…`, as [`problems`] gives them.
fn named(sentences: &[String]) -> BTreeSet<String> {
    let path = |sentence: &String| {
        let path = sentence.split(": ").next().unwrap();
        path.strip_prefix("/root").unwrap_or(if path == "/" { "" } else { path }).to_owned()
    };
    sentences.iter().map(path).collect()
}

fn packs(store: &MemoryStore) -> Vec<Name> {
    store.names().into_iter().filter(|name| name.as_str().starts_with("packs/")).collect()
}

#[test]
fn a_damaged_pack_withholds_the_snapshots_that_need_it_names_their_paths_and_sends_the_others() {
    let mut kinds = BTreeSet::new();
    for domains in [Domains::Plain, Domains::Copies, Domains::OtherKeys, Domains::OtherSizes] {
        let (healthy_source, empty, known) = source(domains);
        let all: BTreeSet<_> = known.keys().cloned().collect();
        let mut cases = 0;
        for pack in packs(&healthy_source) {
            // All kinds where sealing tells of damage, and where only ids do; some of them again.
            let all_kinds = matches!(domains, Domains::Plain | Domains::OtherKeys);
            for kind in DAMAGES.into_iter().step_by(if all_kinds { 1 } else { 3 }) {
                let case = format!("{domains:?}: {pack} {kind:?}");
                let from = MemoryStore::from_snapshot(healthy_source.snapshot());
                damage(&from, &pack, kind);
                let to = MemoryStore::from_snapshot(empty.snapshot());
                let b: Arc<dyn Store> = Arc::new(to.clone());
                let before = from.snapshot();
                // Announced now and then, or not: what is withheld in the end was announced before, then.
                let checkpoints = if cases % 2 == 0 { EVERY_ITEM } else { Default::default() };
                let syncing = Syncing { checkpoints, ..Syncing::default() };
                let (heard, result) = sync_stores(Arc::new(from.clone()), &b, &syncing);
                let report = result.unwrap_or_else(|e| panic!("{case}: {e}")).0;
                let lost: BTreeMap<_, _> =
                    problems(&from).into_iter().filter(|(_, paths)| !paths.is_empty()).collect();
                assert_eq!(report.withheld as usize, lost.len(), "{case}");
                let told: BTreeMap<_, _> =
                    heard.withheld.iter().map(|(uuid, said)| (uuid.clone(), named(said))).collect();
                assert_eq!(told, lost, "{case}: the paths that a restore cannot bring back");
                let whole = all.iter().filter(|uuid| !lost.contains_key(*uuid)).cloned().collect();
                assert_eq!(shown(b.clone(), &known, &case), whole, "{case}: exactly the others are sent");
                assert!(from.snapshot() == before, "{case}: the source is as it was");
                kinds.insert((lost.len(), lost.values().any(|paths| paths.len() > 1)));
                cases += 1;
                // Nothing is taken for sent that was withheld: neither now, nor after the source is mended.
                let again = sync_stores(Arc::new(from.clone()), &b, &Syncing::default()).0;
                assert_eq!((again.sent.len(), again.withheld.len()), (0, lost.len()), "{case}");
                let mended: Arc<dyn Store> = Arc::new(healthy_source.clone());
                let report = synced(&mended, &b).0;
                assert_eq!(report.counts.snapshots as usize, lost.len(), "{case}: mended");
                assert_eq!(shown(b, &known, &case), all, "{case}: mended");
            }
        }
        println!("{domains:?}: {cases} cases");
    }
    for withheld in 0..=3 {
        assert!(kinds.iter().any(|(n, _)| *n == withheld), "{withheld} of 3 withheld: {kinds:?}");
    }
}

/// What is damaged at the source and is at the destination already keeps nothing from being sent, if it is asked for at
/// all; and what is sent is whole.
#[test]
fn damage_to_what_the_destination_has_already_spoils_nothing() {
    for domains in [Domains::Plain, Domains::OtherKeys] {
        let (from, empty, known) = source(domains);
        let first = {
            let repo = open(Arc::new(from.clone())).unwrap();
            repo.state().snapshots()[0].session
        };
        let b: Arc<dyn Store> = Arc::new(empty.clone());
        let mut syncing = Syncing::default();
        syncing.selection.only = Some([first].into());
        sync_stores(Arc::new(from.clone()), &b, &syncing).1.unwrap();
        let mut sent = 0;
        for pack in packs(&from) {
            let case = format!("{domains:?}: {pack}");
            let damaged = MemoryStore::from_snapshot(from.snapshot());
            damage(&damaged, &pack, Damage::Lost);
            let b: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(empty.snapshot()));
            let (heard, result) = sync_stores(Arc::new(damaged.clone()), &b, &Syncing::default());
            result.unwrap_or_else(|e| panic!("{case}: {e}"));
            let lost = problems(&damaged);
            for (uuid, sentences) in &heard.withheld {
                // A directory that is whole at the destination may be named all the same: it is read from the source.
                assert!(!lost[uuid].is_empty() && !named(sentences).is_empty(), "{case}: {sentences:?}");
            }
            let there = shown(b.clone(), &known, &case);
            assert_eq!(there.len(), 3 - heard.withheld.len(), "{case}");
            sent += heard.sent.iter().filter(|uuid| !lost[*uuid].is_empty()).count();
        }
        assert!(sent > 0, "{domains:?}: some are sent that the source itself can no longer restore");
    }
}

/// A pack that the destination has lost, or that was cut short, is relied on by no snapshot that is sent after that,
/// unless it lies beneath a snapshot that both sides show: that one is for a check to find.
#[test]
fn what_the_destination_has_lost_is_sent_again() {
    for domains in [Domains::Plain, Domains::Copies, Domains::OtherKeys] {
        for kind in [Damage::Lost, Damage::Half] {
            let (from, empty, known) = source(domains);
            let a: Arc<dyn Store> = Arc::new(from.clone());
            let b: Arc<dyn Store> = Arc::new(empty.clone());
            synced(&a, &b);
            let uuids: Vec<_> = roots(a.clone()).into_keys().collect();
            // All are removed, so that nothing is held, and what lies there is only known by the index.
            uuids.iter().for_each(|uuid| remove(&b, uuid));
            for pack in packs(&empty) {
                let case = format!("{domains:?}: {pack} {kind:?}");
                let to = MemoryStore::from_snapshot(empty.snapshot());
                damage(&to, &pack, kind);
                let b: Arc<dyn Store> = Arc::new(to.clone());
                let mut syncing = Syncing::default();
                syncing.selection.resurrect = true;
                let report = sync_stores(a.clone(), &b, &syncing).1.unwrap().0;
                assert_eq!(report.counts.snapshots, 3, "{case}");
                // What was cut off may have been the end alone, which only says what lies where.
                assert!(report.counts.bytes > 0 || kind == Damage::Half, "{case}");
                let repo = open(b.clone()).unwrap();
                for snapshot in repo.state().snapshots() {
                    let restored = restore(&repo, &snapshot.row.root.node);
                    assert!(restored.problems.is_empty(), "{case}: {:?}", restored.problems);
                    assert!(restored.entries == known[&snapshot.row.uuid_text()], "{case}");
                }
            }
        }
    }
}

/// A chunk that no index of the source names any more (its segment is lost): known by its absence.
#[test]
fn what_the_index_of_the_source_no_longer_knows_is_withheld_and_not_left_out() {
    for domains in [Domains::Plain, Domains::OtherSizes] {
        let (from, to) = domains.empty(1 << 20);
        let a: Arc<dyn Store> = Arc::new(from.clone());
        let mut known = Known::new();
        let (mut large, mut small) = (Tree::default(), Tree::default());
        // Enough chunks for a segment that is an object of its own.
        large.put("large", Node::file(noise(1, 3_000_000)));
        small.put("small", Node::file(noise(2, 5_000)));
        for (now, tree) in [(1_000, &large), (1_001, &small)] {
            let pushed = push(&a, tree, &Pushing { now, ..Pushing::default() }).clean();
            known.insert(pushed.row.uuid_text(), expected(tree));
        }
        let segments: Vec<_> =
            from.names().into_iter().filter(|name| name.as_str().starts_with("index/")).collect();
        assert!(!segments.is_empty());
        let whole = from.snapshot();
        segments.iter().for_each(|name| assert!(from.tamper_remove(name)));
        let b: Arc<dyn Store> = Arc::new(to.clone());
        for round in 0..2 {
            let (heard, result) = sync_stores(a.clone(), &b, &Syncing::default());
            result.unwrap();
            assert_eq!((heard.sent.len(), heard.withheld.len()), (1 - round, 1), "{:?}", heard.withheld);
            assert_eq!(shown(b.clone(), &known, "without the index").len(), 1);
        }
        let mended: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(whole));
        assert_eq!(synced(&mended, &b).0.counts.snapshots, 1);
        assert_eq!(shown(b, &known, "mended").len(), 2);
    }
}

/// Packs are never copied: what comes from a pack that lies about its name is proven item by item.
#[test]
fn a_pack_with_the_bytes_of_another_is_not_believed() {
    for domains in [Domains::Plain, Domains::OtherSizes] {
        let (healthy_source, empty, known) = source(domains);
        let packs = packs(&healthy_source);
        for (at, pack) in packs.iter().enumerate() {
            let other = &packs[(at + 1) % packs.len()];
            assert!(ObjectHash::from_hex(pack.last()).is_some());
            let from = MemoryStore::from_snapshot(healthy_source.snapshot());
            from.tamper_replace(pack, healthy_source.snapshot()[other].clone());
            let b: Arc<dyn Store> = Arc::new(MemoryStore::from_snapshot(empty.snapshot()));
            let (heard, result) = sync_stores(Arc::new(from.clone()), &b, &Syncing::default());
            result.unwrap();
            let lost = problems(&from).into_values().filter(|paths| !paths.is_empty()).count();
            assert!(lost > 0);
            assert_eq!(heard.withheld.len(), lost);
            assert_eq!(shown(b, &known, pack.as_str()).len(), 3 - lost);
        }
    }
}
