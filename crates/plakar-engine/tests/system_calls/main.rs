//! The store in a folder, and a power cut at any moment of a push and of a cleanup.
//!
//! The calls by which the process changes the folder are recorded; then every beginning of them is looked at, with
//! everything on the disk, with nothing of what was not flushed yet, and without every one and every two of these. In each
//! of those folders the repository opens, `check` finds nothing, what must be there is restored, and a push succeeds.
//! Recording needs `strace`.

mod disk;
mod record;

use disk::{Disk, Files, Left};
use plakar_engine::block::Compression;
use plakar_engine::cleanup::{CleanupObserver, CleanupOptions, Estimate, cleanup};
use plakar_engine::id::{NodeId, WriterId};
use plakar_engine::index::segment::Author;
use plakar_engine::push::Checkpoints;
use plakar_engine::write::remove;
use plakar_store::{DirStore, Store};
use plakar_testkit::source::{Node, Tree, noise};
use plakar_testkit::world::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const DEED: &str = "PLAKAR_RECORDED_DEED";
const FOLDER: &str = "PLAKAR_RECORDED_FOLDER";

/// What is recorded.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Push,
    Cleanup,
}

/// A tree that has a third of its files in common with the next.
fn tree(number: u64) -> Tree {
    let mut tree = Tree::default();
    for file in number * 8..number * 8 + 12 {
        tree.put(&format!("dir-{}/file-{file}", file % 3), Node::file(noise(file, 3_000)));
    }
    tree
}

fn pushed(store: &Arc<dyn Store>, number: u64) -> NodeId {
    let now = 1_700_000_000 + number as i64;
    // Two or three times something is announced on the way.
    let checkpoints = Checkpoints { bytes: 12_000, ..Checkpoints::default() };
    push(store, &tree(number), &Pushing { now, checkpoints, ..Pushing::default() }).clean().row.root.node
}

struct Quiet;

impl CleanupObserver for Quiet {
    fn planned(&mut self, _: &Estimate) {}
    fn moved(&mut self, _: u64) {}
}

fn author(store: &Arc<dyn Store>) -> Author {
    let replica = open(store.clone()).unwrap().base().replica().id;
    Author { replica, writer: WriterId([7; 16]) }
}

fn clean(store: &Arc<dyn Store>) {
    let options = CleanupOptions {
        author: author(store),
        now: 4_000_000_000,
        grace: 0,
        max_repack: u64::MAX,
        workers: 1,
        compression: Compression { level: 1, verify: true },
    };
    let repo = open(store.clone()).unwrap();
    let (report, _) = cleanup(repo, store, &options, &mut Quiet, &AtomicBool::new(false)).unwrap();
    assert!(report.packs > 0 && report.moved > 0 && report.facts > 0, "{report:?}");
}

#[test]
fn the_process_that_is_recorded() {
    // It is this program itself, which was told so.
    let (Ok(deed), Ok(folder)) = (std::env::var(DEED), std::env::var(FOLDER)) else { return };
    let store: Arc<dyn Store> = Arc::new(DirStore::open(folder).unwrap());
    match deed.as_str() {
        "Push" => drop(pushed(&store, 2)),
        "Cleanup" => clean(&store),
        other => panic!("{other}?"),
    }
}

/// What must be there after a deed, whatever was lost.
struct Recorded {
    disk: Disk,
    /// Roots of snapshots and the numbers of their trees: these are there before and after,
    stay: Vec<(NodeId, u64)>,
    /// this one is there once the deed has returned,
    comes: Option<u64>,
}

fn temporary() -> tempfile::TempDir {
    // A disk would take its time for every flush of the pushes that follow.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn recorded(deed: Deed) -> Option<Recorded> {
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("PLAKAR_NO_SKIP").is_none_or(|value| value != "1"),
            "not skipped: no strace"
        );
        eprintln!("skipped: no strace");
        return None;
    }
    let folder = temporary();
    let path = folder.path().canonicalize().unwrap().join("repo");
    let store: Arc<dyn Store> = Arc::new(DirStore::create(&path).unwrap());
    create(&*store, Making { encrypted: false, pack_bytes: 8 << 10, ..Making::default() }).unwrap();
    let first = pushed(&store, 0);
    let mut stay = vec![(first, 0)];
    let second = pushed(&store, 1);
    match deed {
        Deed::Push => stay.push((second, 1)),
        Deed::Cleanup => {
            stay = vec![(second, 1)];
            let mut repo = open(store.clone()).unwrap();
            let snapshots = repo.state().snapshots();
            let session = snapshots.iter().find(|one| one.row.root.node == first).unwrap().session;
            drop(snapshots);
            remove(&mut repo, &*store, &author(&store), &[session], 2_000_000_000).unwrap();
        }
    }
    let mut disk = Disk::new(&path);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "the_process_that_is_recorded"])
        .env(DEED, format!("{deed:?}"))
        .env(FOLDER, &path);
    let calls = record::record(&command, &path).unwrap_or_else(|e| panic!("{e}"));
    disk.then(calls, &path);
    // What was understood of the calls is what the folder is now.
    assert_eq!(disk.after(disk.len(), &[], Left::Nothing), Disk::new(&path).after(0, &[], Left::Nothing));
    let comes = matches!(deed, Deed::Push).then_some(2);
    Some(Recorded { disk, stay, comes })
}

/// A sentence about what is wrong in a folder with these files.
fn wrong(recorded: &Recorded, files: &Files, returned: bool, into: &Path) -> Option<String> {
    std::fs::create_dir(into).unwrap();
    for (name, bytes) in files {
        let path = into.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let store: Arc<dyn Store> = Arc::new(DirStore::open(into).unwrap());
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(recorded, &store, returned)));
    std::fs::remove_dir_all(into).unwrap();
    seen.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default())
    })
}

fn look(recorded: &Recorded, store: &Arc<dyn Store>, returned: bool) -> Option<String> {
    let repo = match open(store.clone()) {
        Ok(repo) => repo,
        Err(e) => return Some(format!("it does not open: {e}")),
    };
    if !repo.damaged().is_empty() {
        return Some(format!("damaged: {:?}", repo.damaged()));
    }
    let (_, said) = check_all(&repo, false).unwrap();
    if !said.is_empty() {
        return Some(format!("check says {said:?}"));
    }
    let there: Vec<NodeId> = repo.state().snapshots().iter().map(|one| one.row.root.node).collect();
    for (root, number) in &recorded.stay {
        if !there.contains(root) {
            return Some(format!("snapshot {number} is gone"));
        }
        if restore(&repo, root).entries != expected(&tree(*number)) {
            return Some(format!("snapshot {number} is not what it was"));
        }
    }
    let new = there.iter().find(|root| recorded.stay.iter().all(|(known, _)| known != *root));
    match (new, recorded.comes) {
        (Some(root), Some(number)) if restore(&repo, root).entries != expected(&tree(number)) => {
            return Some("the new snapshot is not what was pushed".into());
        }
        (Some(_), None) => return Some("a removed snapshot is back".into()),
        (None, Some(_)) if returned => return Some("the push returned and its snapshot is not there".into()),
        _ => {}
    }
    let root = pushed(store, 3);
    let repo = healthy(store.clone());
    (restore(&repo, &root).entries != expected(&tree(3))).then(|| "what was pushed then is wrong".into())
}

/// Looks at everything that may be on the disk; returns how many folders that were, and what was wrong first.
fn after_power_cuts(recorded: &Recorded) -> (usize, Option<String>) {
    let disk = &recorded.disk;
    let mut seen = BTreeSet::new();
    let mut all: Vec<(usize, Vec<usize>, Left)> = Vec::new();
    for done in 0..=disk.len() {
        let pending = disk.pending(done);
        let mut losses = vec![vec![], pending.clone()];
        losses.extend(pending.iter().map(|one| vec![*one]));
        for (at, one) in pending.iter().enumerate() {
            losses.extend(pending[..at].iter().map(|other| vec![*other, *one]));
        }
        for lost in losses {
            for left in [Left::Nothing, Left::Zeros] {
                let files = disk.after(done, &lost, left);
                let mut hash = blake3::Hasher::new();
                for (name, bytes) in &files {
                    hash.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
                    hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
                }
                if seen.insert((*hash.finalize().as_bytes(), done == disk.len())) {
                    all.push((done, lost.clone(), left));
                }
            }
        }
    }
    let folder = temporary();
    let (next, found) = (AtomicUsize::new(0), std::sync::Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((done, lost, left)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if found.lock().unwrap().is_some() {
                        return;
                    }
                    let files = disk.after(*done, lost, *left);
                    let into: PathBuf = folder.path().join(format!("{:?}", std::thread::current().id()));
                    if let Some(what) = wrong(recorded, &files, *done == disk.len(), &into) {
                        let what = format!("after {done} steps, without {lost:?}: {what}");
                        found.lock().unwrap().get_or_insert(what);
                    }
                }
            });
        }
    });
    (all.len(), found.into_inner().unwrap())
}

#[test]
fn a_push_survives_every_power_cut() {
    survives(Deed::Push);
}

#[test]
fn a_cleanup_survives_every_power_cut() {
    survives(Deed::Cleanup);
}

fn survives(deed: Deed) {
    let Some(recorded) = recorded(deed) else { return };
    let (folders, wrong) = after_power_cuts(&recorded);
    println!("{deed:?}: {} steps, {folders} folders looked at", recorded.disk.len());
    assert_eq!(wrong, None);
    // A put is on the disk before the next begins, or nearly: there is not much to choose from.
    assert!(folders > 10, "that is too few to prove anything");
}

#[test]
fn a_store_that_does_not_flush_is_found_out() {
    for deed in [Deed::Push, Deed::Cleanup] {
        for of_folders in [false, true] {
            let Some(mut recorded) = recorded(deed) else { return };
            assert!(recorded.disk.forget_flushes(of_folders) > 0);
            let (_, wrong) = after_power_cuts(&recorded);
            let wrong = wrong.unwrap_or_else(|| panic!("{deed:?} without flushes of folders ({of_folders})"));
            println!("{deed:?}, flushes of folders forgotten: {of_folders}: {wrong}");
        }
    }
}
