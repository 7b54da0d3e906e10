//! Repair: segments that are lost are made good out of the packs, what is bad is noted, what is gone is named, nothing is
//! deleted; whoever works meanwhile, and wherever it is ended.

use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, Estimate, cleanup};
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Fact;
use plakar_engine::push::Pushed;
use plakar_engine::repair::{RepairObserver, RepairOptions, RepairReport, estimate, repair};
use plakar_engine::{Error, Result};
use plakar_store::wrap::{Counting, Fault, Faulty, Request, Rule};
use plakar_store::{ErrorKind, MemoryStore, Name, ReadStore, Store};
use plakar_testkit::collecting::{Collecting, Which, collect};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::stores::Meanwhile;
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Heard {
    damage: Vec<String>,
    lost: Vec<String>,
}

impl RepairObserver for Heard {
    fn damage(&mut self, what: &str) {
        self.damage.push(what.to_owned());
    }

    fn lost(&mut self, what: &str) {
        self.lost.push(what.to_owned());
    }

    fn progress(&mut self, _: u64) {}
}

fn author(store: &Arc<dyn Store>) -> Author {
    Author { replica: open(store.clone()).unwrap().base().replica().id, writer: WriterId([7; 16]) }
}

fn options(author: Author) -> RepairOptions {
    RepairOptions { author, now: 4_000_000_000, grace: 0, fast: false, workers: 1 }
}

fn try_repair(store: &Arc<dyn Store>, options: &RepairOptions) -> Result<(RepairReport, Heard)> {
    let mut heard = Heard::default();
    let repo = open(store.clone())?;
    let (report, repo) = repair(repo, store, options, &mut heard, &AtomicBool::new(false))?;
    assert_eq!(report.lost, heard.lost.len() as u64);
    assert_eq!(repo.damaged(), open(store.clone()).unwrap().damaged());
    Ok((report, heard))
}

fn repaired(store: &Arc<dyn Store>) -> (RepairReport, Heard) {
    try_repair(store, &options(author(store))).unwrap()
}

/// Repairs what must be all right afterwards.
fn mended(store: &Arc<dyn Store>) -> RepairReport {
    let before = names(&**store, "");
    let (report, heard) = repaired(store);
    assert_eq!(heard.lost, Vec::<String>::new());
    assert!(names(&**store, "").is_superset(&before), "nothing is deleted");
    let (again, _) = repaired(store);
    let left = RepairReport { left: report.left, ..RepairReport::default() };
    assert_eq!(again, left, "nothing is left to do after {report:?}");
    report
}

struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

fn clean(store: &Arc<dyn Store>, grace: i64) -> Result<()> {
    let options = CleanupOptions {
        author: author(store),
        now: 4_000_000_000,
        grace,
        max_repack: u64::MAX,
        workers: 1,
        compression: Compression { level: 1, verify: true },
    };
    cleanup(open(store.clone())?, store, &options, &mut Quiet, &AtomicBool::new(false)).map(drop)
}

fn names(store: &dyn ReadStore, prefix: &str) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    let mut add = |listed: plakar_store::Listed| {
        names.insert(listed.name);
        Ok(())
    };
    store.list(prefix, &mut add).unwrap();
    names
}

/// So many small files that a segment which lists them is an object of its own.
fn tree(seed: u64, files: u64) -> Tree {
    let mut tree = Tree::default();
    for file in 0..files {
        tree.put(&format!("dir-{}/file-{file}", file % 7), Node::file(noise(seed * 100_000 + file, 120)));
    }
    tree
}

const MANY: u64 = 2_200;

/// Snapshots of trees.
#[derive(Clone)]
struct Scene {
    store: MemoryStore,
    known: Vec<(Pushed, Tree)>,
}

impl Scene {
    fn new(encrypted: bool, files: u64) -> Scene {
        let store = MemoryStore::new();
        create(&store, Making { encrypted, ..Making::default() }).unwrap();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let mut known = Vec::new();
        for n in 0..2 {
            let (tree, now) = (tree(n, files), 1_646_519_458 + n as i64);
            known.push((push(&shared, &tree, &Pushing { now, ..Pushing::default() }).clean(), tree));
        }
        Scene { store, known }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::from_snapshot(self.store.snapshot()))
    }

    fn comes_back(&self, store: &Arc<dyn Store>) {
        let repo = open(store.clone()).unwrap();
        assert!(repo.state().snapshots().len() >= self.known.len());
        for (pushed, tree) in &self.known {
            let restored = restore(&repo, &pushed.row.root.node);
            assert!(restored.problems.is_empty(), "{:?}", restored.problems.first());
            assert!(restored.entries == expected(tree));
        }
    }

    /// Everything works.
    fn works(&self, store: &Arc<dyn Store>) {
        healthy(store.clone());
        self.comes_back(store);
        let more = tree(9, 10);
        let pushed = push(store, &more, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
        clean(store, 0).unwrap();
        let repo = healthy(store.clone());
        assert!(restore(&repo, &pushed.row.root.node).entries == expected(&more));
        self.comes_back(store);
    }
}

fn tampered(store: &Arc<dyn Store>, change: impl Fn(&MemoryStore)) -> Arc<dyn Store> {
    let copy = MemoryStore::new();
    for name in names(&**store, "") {
        copy.put(&name, &[&store.get(&name, usize::MAX).unwrap()]).unwrap();
    }
    change(&copy);
    Arc::new(copy)
}

fn without(store: &Arc<dyn Store>, prefix: &str) -> Arc<dyn Store> {
    tampered(store, |copy| names(copy, prefix).iter().for_each(|name| _ = copy.tamper_remove(name)))
}

/// The log is there and the whole index is gone: whether Prepareds name the packs or only lost segments did.
#[test]
fn every_segment_gone_is_made_good() {
    for encrypted in [true, false] {
        let scene = Scene::new(encrypted, MANY);
        let store = scene.store();
        let folded = scene.store();
        clean(&folded, 0).unwrap();
        for (store, strays) in [(store, false), (folded, true)] {
            assert!(!names(&*store, "index/").is_empty());
            let store = without(&store, "index/");
            assert!(!open(store.clone()).unwrap().damaged().is_empty());
            assert!(clean(&store, 0).is_err(), "nothing is collected");
            let before = names(&*store, "");
            let told = estimate(
                open(store.clone()).unwrap(),
                &options(author(&store)),
                &mut Heard::default(),
                &AtomicBool::new(false),
            )
            .unwrap();
            assert_eq!(names(&*store, ""), before, "it was only asked");
            let report = mended(&store);
            assert!(report.segments > 0 && report.given_up == report.segments, "{report:?}");
            assert_eq!(report.packs, names(&*store, "packs/").len() as u64);
            assert_eq!(report.strays, if strays { report.packs } else { 0 });
            assert_eq!(
                (told.segments, told.packs, told.strays),
                (report.segments, report.packs, report.strays)
            );
            scene.works(&store);
        }
    }
}

/// One segment, damaged in every way.
#[test]
fn a_segment_that_is_damaged_is_made_good() {
    let scene = Scene::new(true, MANY);
    let segment = names(&scene.store, "index/").into_iter().next().unwrap();
    let len = scene.store.len(&segment).unwrap();
    let ways: [&dyn Fn(&MemoryStore); 7] = [
        &|store| _ = store.tamper_truncate(&segment, 0),
        &|store| _ = store.tamper_truncate(&segment, len as usize - 1),
        &|store| _ = store.tamper_flip(&segment, 0),
        // The signature, a page, a filter, the head.
        &|store| _ = store.tamper_flip(&segment, 8 * 140),
        &|store| _ = store.tamper_flip(&segment, 8 * 2000),
        &|store| _ = store.tamper_flip(&segment, 8 * (len - 900)),
        &|store| _ = store.tamper_flip(&segment, 8 * (len - 1)),
    ];
    for (number, way) in ways.iter().enumerate() {
        let store = tampered(&scene.store(), way);
        let report = mended(&store);
        assert_eq!((report.segments, report.given_up), (1, 1), "{number}");
        scene.works(&store);
    }
}

/// Blocks that are damaged are noted once; what needs them is named, by path.
#[test]
fn bad_blocks_are_noted_and_what_is_lost_is_named() {
    let scene = Scene::new(true, 60);
    let packs = names(&scene.store, "packs/");
    let pack = packs.iter().max_by_key(|pack| scene.store.len(pack).unwrap()).unwrap();
    let store = tampered(&scene.store(), |store| _ = store.tamper_flip(pack, 8 * 200));
    let (report, heard) = repaired(&store);
    assert!(report.bad == 1 && report.lost > 0, "{report:?}");
    assert!(heard.lost.iter().all(|what| what.contains(":/root/")), "{:?}", heard.lost);
    let bads = |store: &Arc<dyn Store>| {
        let repo = open(store.clone()).unwrap();
        repo.log().objects().flat_map(|(_, o)| &o.facts).filter(|fact| matches!(fact, Fact::Bad(_))).count()
    };
    assert_eq!(bads(&store), 1);
    let (again, _) = repaired(&store);
    assert_eq!((again.bad, again.lost), (0, report.lost));
    assert_eq!(bads(&store), 1, "it is known already");
    // Pushed again, it is stored again.
    let (_, tree) = &scene.known[0];
    push(&store, tree, &Pushing { now: 1_700_000_000, ..Pushing::default() }).clean();
    let (_, tree) = &scene.known[1];
    push(&store, tree, &Pushing { now: 1_700_000_001, ..Pushing::default() }).clean();
    mended(&store);
    scene.comes_back(&store);
}

/// Without its directory a pack says nothing; what segments list of it stays.
#[test]
fn a_pack_without_its_directory_keeps_its_rows() {
    let scene = Scene::new(true, MANY);
    let packs = names(&scene.store, "packs/");
    let pack = packs.first().unwrap();
    let len = scene.store.len(pack).unwrap();
    let torn = tampered(&scene.store(), |store| _ = store.tamper_flip(pack, 8 * (len - 10)));
    let (report, heard) = repaired(&torn);
    assert_eq!((report.unreadable, report.bad, report.lost), (1, 0, 1), "{:?}", heard.lost);
    scene.comes_back(&torn);

    // With the segments gone as well: they are not given up while they may be all that knows what is in it.
    let segments = names(&scene.store, "index/");
    let worse = without(&torn, "index/");
    let (report, heard) = repaired(&worse);
    assert!(report.lost > 1 && report.given_up == 0, "{report:?}");
    assert!(heard.lost.iter().any(|what| what.contains(":/")), "{:?}", heard.lost);
    for name in segments {
        worse.put(&name, &[&scene.store.get(&name, usize::MAX).unwrap()]).unwrap();
    }
    scene.comes_back(&worse);
    let (report, _) = repaired(&worse);
    assert_eq!((report.segments, report.lost), (0, 1));

    // A segment of which a page is damaged still says the rest.
    let half = tampered(&torn, |store| {
        names(store, "index/").iter().for_each(|segment| _ = store.tamper_flip(segment, 8 * 2000));
    });
    let before = open(half.clone()).map(|repo| restore(&repo, &scene.known[0].0.row.root.node)).unwrap();
    let (report, _) = repaired(&half);
    assert!(report.segments > 0);
    let repo = open(half.clone()).unwrap();
    let after = restore(&repo, &scene.known[0].0.row.root.node);
    assert!(after.entries.len() >= before.entries.len());
    let (again, _) = repaired(&half);
    assert_eq!(again.packs, 0);
}

/// What only a lost pack had is named; one that nobody needs is not told of for ever.
#[test]
fn a_pack_that_is_gone_is_told_of_as_long_as_it_is_needed() {
    let scene = Scene::new(false, 60);
    let pack = names(&scene.store, "packs/").into_iter().next().unwrap();
    let bytes = scene.store.get(&pack, usize::MAX).unwrap();
    let store = tampered(&scene.store(), |store| _ = store.tamper_remove(&pack));
    let (report, heard) = repaired(&store);
    assert!(report.missing == 1 && report.bad == 0 && report.lost > 0, "{report:?}");
    assert!(heard.lost.iter().any(|what| what.contains(":/")), "{:?}", heard.lost);
    // It was only misplaced: nothing was said of it that is not so.
    let found = tampered(&store, |store| store.put(&pack, &[&bytes]).unwrap());
    mended(&found);
    scene.works(&found);
    let repo = open(store.clone()).unwrap();
    let sessions: Vec<_> = repo.state().snapshots().iter().map(|s| s.session).collect();
    let mut repo = repo;
    plakar_engine::write::remove(&mut repo, &*store, &author(&store), &sessions, 1_700_000_000).unwrap();
    let (report, heard) = repaired(&store);
    assert!(report.bad > 0 && heard.lost.is_empty(), "{report:?} {:?}", heard.lost);
    healthy(store);
}

/// Packs of a writer at work are left alone, unless something is lost: then they may be what is missed.
#[test]
fn packs_that_nobody_announced_are_left_alone_unless_something_is_lost() {
    let scene = Scene::new(true, 60);
    // A push that did not come to its Prepared.
    let faulty = Arc::new(Faulty::new(MemoryStore::from_snapshot(scene.store.snapshot()), 1));
    let before = names(&*faulty, "log/").len();
    faulty.add(Rule::new(Fault::Error(ErrorKind::Io)).prefix("log/").on(Request::Put).from(2));
    let through: Arc<dyn Store> = faulty.clone();
    assert!(
        push(&through, &tree(5, 60), &Pushing { now: 1_700_000_000, ..Pushing::default() }).result.is_err()
    );
    faulty.clear();
    let store: Arc<dyn Store> = Arc::new(faulty.inner().clone());
    assert!(names(&*store, "log/").len() <= before + 1);
    let strays = (names(&*store, "packs/").len() - names(&scene.store, "packs/").len()) as u64;
    assert!(strays > 0);
    assert_eq!(mended(&store).left, strays);
    scene.works(&store);
}

/// A push that has not ended keeps the name of its lost segment in the log until it is given up, or has ended.
#[test]
fn a_session_that_has_not_ended_is_given_up_only_when_it_was_silent_for_long() {
    let scene = Scene::new(true, 10);
    let store = scene.store();
    let cut = Pushing { now: 1_700_000_000, interrupt_at: Some(8_000), ..Pushing::default() };
    let more = tree(5, 2 * MANY);
    assert!(matches!(push(&store, &more, &cut).result, Err(Error::Interrupted)));
    assert!(!names(&*store, "index/").is_empty(), "it announced a segment that is an object of its own");
    let store = without(&store, "index/");
    let patient = RepairOptions { now: 0, grace: 7 * 86_400, ..options(author(&store)) };
    let (report, heard) = try_repair(&store, &patient).unwrap();
    assert_eq!((report.revoked, report.given_up), (0, 0));
    assert!(heard.lost.iter().any(|what| what.contains("not ended")), "{:?}", heard.lost);
    let resumed = tampered(&store, |_| ());
    // It is all there to go on from.
    let done = push(&resumed, &more, &Pushing { now: 1_700_000_001, ..Pushing::default() }).clean();
    assert!(restore(&open(resumed).unwrap(), &done.row.root.node).entries == expected(&more));
    let report = mended(&store);
    assert!(report.revoked == 1 && report.given_up > 0, "{report:?}");
    scene.works(&store);
}

/// Of the log nothing can be made good: it is said what may be lost. With `admin/` unreadable nothing is written.
#[test]
fn a_damaged_log_is_told_and_stays() {
    let scene = Scene::new(true, 60);
    let (one, _) = &scene.known[0];
    let mut repo = open(scene.store()).unwrap();
    let session = repo.state().snapshots().iter().find(|s| *s.row == one.row).unwrap().session;
    let with_admin = scene.store();
    plakar_engine::write::remove(&mut repo, &*with_admin, &author(&with_admin), &[session], 1_700_000_000)
        .unwrap();
    let admin = names(&*with_admin, "admin/").into_iter().next().unwrap();
    let store = tampered(&with_admin, |store| _ = store.tamper_flip(&admin, 1000));
    let before = names(&*store, "");
    let error = try_repair(&store, &options(author(&store))).err().unwrap();
    assert!(error.is_damage() && error.to_string().contains("heal from"), "{error}");
    assert_eq!(names(&*store, ""), before, "nothing is written");

    for log in names(&scene.store, "log/") {
        let store = tampered(&scene.store(), |store| _ = store.tamper_flip(&log, 1000));
        let (report, heard) = repaired(&store);
        assert!(report.lost > 0 && heard.lost[0].contains(log.as_str()), "{:?}", heard.lost);
        assert!(clean(&store, 0).is_err());
        // Brought back from somewhere, all is as it was.
        let back = tampered(&store, |to| {
            to.tamper_replace(&log, scene.store.get(&log, usize::MAX).unwrap());
        });
        mended(&back);
        scene.works(&back);
    }
}

/// A power cut before any request, or a request that fails: nothing is lost, and the next run ends it.
#[test]
fn a_repair_that_is_ended_anywhere_harms_nobody_and_is_finished_by_the_next() {
    let scene = Scene::new(false, MANY);
    let folded = scene.store();
    clean(&folded, 0).unwrap();
    for start in [scene.store(), folded] {
        let start = without(&start, "index/");
        let author = author(&start);
        let counting: Arc<Counting<Arc<dyn Store>>> = Arc::new(Counting::new(tampered(&start, |_| ())));
        let counted: Arc<dyn Store> = counting.clone();
        let mut heard = Heard::default();
        let first = open(counted.clone()).unwrap();
        repair(first, &counted, &options(author), &mut heard, &AtomicBool::new(false)).unwrap();
        let counts = counting.counts();
        // Every request that changes something, and some of those that read.
        let puts = (1..=counts.put).map(|nth| (Some(Request::Put), nth));
        let barriers = (1..=counts.barrier).map(|nth| (Some(Request::Barrier), nth));
        let reads = (1..=counts.requests()).step_by(13).map(|nth| (None, nth));
        let mut cases = 0;
        for (request, nth) in puts.chain(barriers).chain(reads) {
            for fault in [
                Fault::Crash,
                Fault::CrashAfter,
                Fault::ErrorAfter(ErrorKind::Io),
                Fault::Error(ErrorKind::Full),
            ] {
                let case = format!("{fault:?} at {request:?} {nth}");
                let copy = MemoryStore::new();
                for name in names(&*start, "") {
                    copy.put(&name, &[&start.get(&name, usize::MAX).unwrap()]).unwrap();
                }
                let faulty = Arc::new(Faulty::new(copy, nth));
                let rule = Rule::new(fault);
                faulty.add(request.map_or(rule.clone(), |request| rule.on(request)).nth(nth));
                let through: Arc<dyn Store> = faulty.clone();
                let result = open(through.clone()).and_then(|repo| {
                    repair(repo, &through, &options(author), &mut Heard::default(), &AtomicBool::new(false))
                });
                if faulty.is_crashed() {
                    faulty.revive();
                    assert!(result.is_err(), "{case}");
                }
                drop(result);
                faulty.clear();
                let (_, heard) = repaired(&through);
                assert!(heard.lost.is_empty(), "{case}: {:?}", heard.lost);
                cases += 1;
                if cases % 8 == 0 {
                    scene.works(&through);
                } else {
                    healthy(through);
                }
            }
        }
        println!("{cases} cases: {counts:?}");
    }
}

/// What others do while a repair runs.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Push,
    Remove,
    CollectAll,
    /// Marks everything, and goes on so many requests later.
    Mark(u64),
    Repair,
}

#[test]
fn others_at_work_meanwhile_are_not_harmed_and_do_no_harm() {
    let scene = Scene::new(false, 60);
    let whole = scene.store();
    let bytes = names(&*whole, "packs/");
    let flipped = bytes.iter().next().unwrap().clone();
    for (what, start) in [
        ("whole", whole.clone()),
        (
            "a stray",
            tampered(&whole, |store| {
                let other = Scene::new(false, 5).store;
                let pack = names(&other, "packs/").into_iter().next().unwrap();
                store.put(&pack, &[&other.get(&pack, usize::MAX).unwrap()]).unwrap();
            }),
        ),
        ("damaged", tampered(&whole, |store| _ = store.tamper_flip(&flipped, 8 * 150))),
    ] {
        for deed in [Deed::Push, Deed::Remove, Deed::CollectAll, Deed::Mark(9), Deed::Repair] {
            if what == "damaged" && !matches!(deed, Deed::Push | Deed::Repair) {
                continue;
            }
            let mut n = 1;
            loop {
                let case = format!("{what}: {deed:?} before {n}");
                let behind = tampered(&start, |_| ());
                let author = author(&behind);
                let meanwhile = Arc::new(Meanwhile::new(behind.clone()));
                let through: Arc<dyn Store> = meanwhile.clone();
                let begun = Arc::new(Mutex::new(None::<Collecting>));
                let (at, then) = (behind.clone(), begun.clone());
                let first = scene.known[0].0.row.clone();
                let event = move || match deed {
                    Deed::Push => {
                        _ = push(&at, &tree(8, 20), &Pushing { now: 1_700_000_009, ..Pushing::default() })
                            .clean();
                    }
                    Deed::Remove => {
                        let mut repo = open(at.clone()).unwrap();
                        let which =
                            repo.state().snapshots().iter().find(|s| *s.row == first).unwrap().session;
                        plakar_engine::write::remove(&mut repo, &*at, &author, &[which], 1_700_000_000)
                            .unwrap();
                        collect(&at, Which::Unneeded);
                    }
                    Deed::CollectAll => _ = collect(&at, Which::All),
                    Deed::Mark(_) => *then.lock().unwrap() = Collecting::begin(&at, Which::All),
                    Deed::Repair => _ = repaired(&at),
                };
                meanwhile.before(n, event);
                if let Deed::Mark(later) = deed {
                    let (at, then) = (behind.clone(), begun.clone());
                    meanwhile.before(n + later, move || {
                        if let Some(collecting) = then.lock().unwrap().take() {
                            collecting.finish(&at);
                        }
                    });
                }
                let repo = open(through.clone()).unwrap();
                let result =
                    repair(repo, &through, &options(author), &mut Heard::default(), &AtomicBool::new(false));
                let waiting = meanwhile.waiting();
                result.unwrap_or_else(|e| panic!("{case}: {e}"));
                if let Some(collecting) = begun.lock().unwrap().take() {
                    collecting.finish(&behind);
                }
                if waiting > 0 && !matches!(deed, Deed::Mark(_)) || waiting > 1 {
                    assert!(n > 10, "{case}");
                    break;
                }
                if what == "damaged" {
                    let (report, _) = repaired(&behind);
                    assert_eq!(report.bad, 0, "{case}: it was noted");
                } else {
                    let repo = healthy(behind.clone());
                    for snapshot in repo.state().snapshots() {
                        assert!(restore(&repo, &snapshot.row.root.node).problems.is_empty(), "{case}");
                    }
                    mended(&behind);
                }
                n += 3;
            }
        }
    }
}

/// A push and a cleanup while the lost index is made good.
#[test]
fn pushes_go_on_while_the_index_is_made_good() {
    let scene = Scene::new(false, MANY);
    let start = without(&scene.store(), "index/");
    let author = author(&start);
    let more = tree(8, 20);
    let mut n = 1;
    loop {
        let behind = tampered(&start, |_| ());
        let meanwhile = Arc::new(Meanwhile::new(behind.clone()));
        let through: Arc<dyn Store> = meanwhile.clone();
        let (at, other) = (behind.clone(), more.clone());
        meanwhile.before(n, move || {
            _ = push(&at, &other, &Pushing { now: 1_700_000_009, ..Pushing::default() }).clean();
            // With the index lost nothing is collected; once it is made good, it may be.
            _ = clean(&at, 0);
        });
        let repo = open(through.clone()).unwrap();
        let result = repair(repo, &through, &options(author), &mut Heard::default(), &AtomicBool::new(false));
        if meanwhile.waiting() > 0 {
            break;
        }
        result.unwrap_or_else(|e| panic!("before {n}: {e}"));
        let (_, heard) = repaired(&behind);
        assert!(heard.lost.is_empty(), "before {n}: {:?}", heard.lost);
        let repo = healthy(behind.clone());
        assert_eq!(repo.state().snapshots().len(), 3, "before {n}");
        scene.comes_back(&behind);
        n += 11;
    }
    println!("{n} requests");
}
