//! Two different snapshots with one UUID, as a damaged random generator or a hostile client makes them: both are kept, and
//! both are told of.

mod common;

use common::World;
use common::copies::lines;
use plakar_engine::block::Compression;
use plakar_engine::id::WriterId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::Row;
use plakar_engine::repository::{Locked, Repository};
use plakar_engine::write::{Ended, Session, SessionOptions};
use plakar_store::{DirStore, Store};
use std::path::Path;
use std::sync::Arc;

fn open(store: &Arc<dyn Store>) -> Repository {
    Locked::open(store.clone()).unwrap().unlock(None).unwrap().open().unwrap()
}

/// Publishes the tree of the only snapshot of the repository at `folder` once more, under another UUID.
fn publish_as(folder: &Path, uuid: &str) {
    let store: Arc<dyn Store> = Arc::new(DirStore::open(folder).unwrap());
    let repository = open(&store);
    let (session, row) = {
        let snapshots = repository.state().snapshots();
        (snapshots[0].session, snapshots[0].row.clone())
    };
    let digits: String = uuid.chars().filter(|c| *c != '-').collect();
    let uuid = plakar_engine::id::unhex(&digits).unwrap();
    let author = Author { replica: repository.base().replica().id, writer: WriterId([7; 16]) };
    let compression = Compression { level: 3, verify: true };
    let options = SessionOptions { author, compression, workers: 1, now: 1_700_000_000, may_admin: true };
    let (begun, held) = Session::begin(repository, store, options, &[session], &[]).unwrap();
    assert_eq!(held, [session]);
    let (ended, _) = begun.publish(Some(Row { uuid, ..row })).unwrap();
    assert_eq!(ended, Ended::Published);
}

#[test]
fn both_are_kept_and_told_of() {
    let world = World::with_repositories(&["a"]);
    let uuid = world.push_new("", "here");
    let other = world.push_new("a", "there");
    publish_as(&world.path("work/a"), &uuid);
    world.ok(&format!("on a rm {other}"));
    assert_eq!(world.uuids_on("a"), [uuid.as_str()]);

    let told = format!("plakar: {uuid}: two different snapshots have this UUID; both are kept\n");
    let planned = lines(&world.ok("-json sync -dry-run a"));
    assert_eq!((&planned[1]["snapshots"], &planned[1]["conflicts"][0]), (&1.into(), &uuid.clone().into()));
    let ran = world.line("sync with a");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", told.as_str()));
    for repository in ["a", &world.store().display().to_string()] {
        assert_eq!(world.uuids_on(repository), [uuid.as_str(), uuid.as_str()]);
        world.ok(&format!("on {repository} check"));
    }
    assert_eq!(world.ok("ls"), world.ok("on a ls"));
    assert_eq!(world.ok("status a").lines().count(), 2);
    // A reference cannot tell them apart: their times do.
    let times: Vec<_> = lines(&world.ok("-json ls")).iter().map(|s| s["time"].clone()).collect();
    for words in ["ls", "info", "pull", "rm", "check"] {
        let ran =
            world.fails(&format!("{words} {uuid}"), 1, &format!("2 different snapshots have {uuid}: of "));
        assert!(times.iter().all(|time| ran.err.contains(time.as_str().unwrap())), "{ran:?}");
    }
    world.fails(&format!("sync {uuid} to a"), 1, "2 different snapshots have");
}
