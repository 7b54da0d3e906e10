//! Several processes and threads at one database, and processes that are killed.

mod common;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::Stdio,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::*;
use plakar_store::{ReadStore, Store};
use plakar_store_sqlite::SqliteStore;
use rusqlite::TransactionBehavior;

/// How often a writer is killed in one database. All that is in it is read after each, so that there are several.
const KILLS: usize = 25;
const DATABASES: u64 = 8;

const RACE_OBJECTS: u64 = 60;

fn race_bytes(n: u64) -> Vec<u8> {
    noise(n, 1000 + n as usize * 10_000)
}

#[test]
fn processes_write_at_once() {
    let stage = Stage::new();
    let store = stage.create();
    let mut children: Vec<_> =
        ["race-a", "race-b", "race-b"].iter().map(|action| stage.command(action).spawn().unwrap()).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(names(&store).len() as u64, 3 * RACE_OBJECTS);
    for n in 0..RACE_OBJECTS {
        for object in [format!("both/{n}"), format!("race-a/{n}"), format!("race-b/{n}")] {
            assert!(store.get(&name(&object), 1 << 20).unwrap() == race_bytes(n), "{object}");
        }
    }
    drop(store);
    assert_sound(&stage.database());
}

#[test]
fn writers_wait_and_readers_do_not() {
    let stage = Stage::new();
    let store = stage.create();
    store.put(&name("config"), &[b"bytes"]).unwrap();
    let mut other = behind(&stage.database());
    let writing = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    writing.execute("DELETE FROM objects", ()).unwrap();
    let (done, put) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            store.put(&name("packs/ab"), &[b"more"]).unwrap();
            done.send(()).unwrap();
        });
        // All the while that somebody writes.
        assert!(put.recv_timeout(Duration::from_millis(300)).is_err(), "a put went past a writer");
        let start = Instant::now();
        assert_eq!(store.get(&name("config"), 9).unwrap(), b"bytes");
        assert_eq!(names(&store), ["config"]);
        store.put(&name("config"), &[b"bytes"]).expect("it is there");
        store.barrier().unwrap();
        assert!(start.elapsed() < Duration::from_secs(30), "a reader waited for a writer");
        writing.commit().unwrap();
        put.recv_timeout(Duration::from_secs(60)).expect("the writer's turn has come");
    });
    assert_eq!(names(&store), ["packs/ab"]);
}

#[test]
fn threads_read_in_parallel() {
    let temp = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(temp.path().join("store.db")).unwrap();
    let bytes: Vec<Vec<u8>> = (0..20).map(|n| noise(n, n as usize * 70_000)).collect();
    for (n, bytes) in bytes.iter().enumerate() {
        store.put(&name(&format!("packs/{n}")), &[bytes]).unwrap();
    }
    thread::scope(|scope| {
        for thread in 0..12 {
            let (store, bytes) = (&store, &bytes);
            scope.spawn(move || {
                let mut random = Random(thread);
                for _ in 0..60 {
                    let n = random.below(20) as usize;
                    let from = random.below(bytes[n].len() as u64 + 1) as usize;
                    let len = random.below((bytes[n].len() - from) as u64 + 1) as usize;
                    let range = store.get_range(&name(&format!("packs/{n}")), from as u64, len).unwrap();
                    assert!(range == bytes[n][from..][..len], "{len} at {from} of {n}");
                }
            });
        }
        for n in 0..40 {
            store.put(&name(&format!("log/{n}")), &[b"meanwhile"]).unwrap();
        }
    });
    assert_eq!(listing(&store, "log/").unwrap().len(), 40);
}

/// The bytes of what the killed writer puts under a number.
fn killed_bytes(n: u64) -> Vec<u8> {
    let len = match n % 5 {
        0 => 900_000,
        1 => 270_000,
        _ => 50 + n % 3000,
    };
    noise(n, len as usize)
}

#[test]
fn a_killed_writer_loses_nothing_that_had_a_barrier() {
    let (seed, next) = (seed(), AtomicU64::new(0));
    // Two at a time: each is the other's load.
    let work = || {
        let one = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < DATABASES);
        while let Some(number) = one() {
            killed_in_one_database(Random(seed ^ number));
        }
    };
    thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(|thread| thread.join().unwrap()));
}

fn killed_in_one_database(mut random: Random) {
    let stage = Stage::new();
    drop(stage.create());
    // By number: whether it was put, or deleted again, when a barrier had passed. What is in the making is in neither.
    let mut passed: BTreeMap<u64, bool> = BTreeMap::new();
    let mut next = 0;
    for _ in 0..KILLS {
        let mut child = stage
            .command(&format!("write {next}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reading = thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        thread::sleep(Duration::from_micros(20_000 + random.below(180_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reading.join().unwrap() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["begins", n] => next = next.max(n.parse::<u64>().unwrap() + 1),
                ["put", n] => assert_eq!(passed.insert(n.parse().unwrap(), true), None),
                ["deleted", n] => assert_eq!(passed.insert(n.parse().unwrap(), false), Some(true)),
                _ => {}
            }
        }
        let store = SqliteStore::open(stage.database()).unwrap();
        let there = listing(&store, "packs/").unwrap();
        for (n, put) in &passed {
            let object = format!("packs/{n}");
            // A delete may have been committed before it could be told.
            assert!(!put || there.contains_key(&object) || n % 7 == 3, "{object} had a barrier");
            assert!(*put || !there.contains_key(&object), "{object} was deleted");
        }
        for (object, len) in &there {
            let n: u64 = object.strip_prefix("packs/").unwrap().parse().unwrap();
            assert_eq!(*len, killed_bytes(n).len() as u64);
            assert!(store.get(&name(object), 1 << 20).unwrap() == killed_bytes(n), "{object} is not whole");
        }
        drop(store);
        assert_sound(&stage.database());
    }
    println!("{} of {next} objects had a barrier", passed.len());
    assert!(passed.len() > KILLS, "the writers did write");
}

/// What the tests above run in processes of their own; by itself it has nothing to do.
#[test]
fn child() {
    let Ok(action) = std::env::var(CHILD) else { return };
    if action.starts_with("race") {
        let store = SqliteStore::open("store.db").unwrap();
        for n in 0..RACE_OBJECTS {
            store.put(&name(&format!("both/{n}")), &[&race_bytes(n)]).unwrap();
            store.put(&name(&format!("{action}/{n}")), &[&race_bytes(n)]).unwrap();
            if n % 8 == 0 {
                store.barrier().unwrap();
            }
        }
        return store.barrier().unwrap();
    }
    // Puts, tells, and deletes some, until it is killed; opens anew now and then.
    let tell = |text: String| {
        writeln!(std::io::stdout(), "{text}").and_then(|()| std::io::stdout().flush()).unwrap()
    };
    let first: u64 = action.strip_prefix("write ").unwrap().parse().unwrap();
    // The line before is not ended.
    tell(String::new());
    for round in 0.. {
        let store = SqliteStore::open("store.db").unwrap();
        for n in (first + round * 20)..(first + round * 20 + 20) {
            tell(format!("begins {n}"));
            store.put(&name(&format!("packs/{n}")), &[&killed_bytes(n)]).unwrap();
            store.barrier().unwrap();
            tell(format!("put {n}"));
            if n % 7 == 3 {
                store.delete(&name(&format!("packs/{n}"))).unwrap();
                store.barrier().unwrap();
                tell(format!("deleted {n}"));
            }
        }
    }
}
