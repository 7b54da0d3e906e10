//! What reading, deleting and full disks cost.

mod common;

use std::fs;

use common::*;
use plakar_store::{ErrorKind, ReadStore, Store};
use plakar_store_sqlite::SqliteStore;

const MIB: usize = 1 << 20;

#[test]
fn a_range_reads_only_its_parts() {
    let stage = Stage::new();
    let store = stage.create();
    store.put(&name("packs/large"), &[&noise(1, 64 * MIB)]).unwrap();
    drop(store);
    stage.run("ranges");
}

/// Bytes that this process has read from files.
fn bytes_read() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

/// What the test above runs in a process that does nothing else; by itself it has nothing to do.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let bytes = noise(1, 64 * MIB);
    let cases = [(0, 4096), (40 * MIB + 5, 4096), (64 * MIB - 1, 1), (33 * MIB, 2 * MIB)];
    for (offset, len) in cases {
        // A new handle each time: it remembers no pages.
        let store = SqliteStore::open("store.db").unwrap();
        let before = bytes_read();
        let range = store.get_range(&name("packs/large"), offset as u64, len).unwrap();
        let read = bytes_read() - before;
        assert!(range == bytes[offset..][..len]);
        println!("{len} bytes at {offset}: {read} bytes read");
        assert!(read >= 65_536, "what is read is counted");
        // The part, and ten pages of 64 KiB on the way to it.
        assert!(
            read <= (len + 10 * 65_536 + 2 * 262_144) as u64,
            "{len} bytes at {offset}: {read} bytes read"
        );
    }
}

#[test]
fn space_returns_after_deletes() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    let store = SqliteStore::create(&path).unwrap();
    let length = || fs::metadata(&path).unwrap().len() as usize;
    for n in 0..16 {
        store.put(&name(&format!("packs/{n}")), &[&noise(n, 4 * MIB)]).unwrap();
    }
    store.barrier().unwrap();
    // From the beginning, so that what stays has to move.
    for n in 0..12 {
        store.delete(&name(&format!("packs/{n}"))).unwrap();
    }
    store.barrier().unwrap();
    assert!(length() < (16 + 16 + 8) * MIB, "{} MiB", length() / MIB);
    for n in 12..16 {
        assert!(store.get(&name(&format!("packs/{n}")), 4 * MIB).unwrap() == noise(n, 4 * MIB));
    }
    drop(store);
    assert!(length() < (16 + 16 + 2) * MIB, "{} MiB", length() / MIB);
    assert_sound(&path);
}

#[test]
fn the_log_does_not_grow_without_end() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    let store = SqliteStore::create(&path).unwrap();
    let mut longest = 0;
    for n in 0..60 {
        store.put(&name(&format!("packs/{n}")), &[&noise(n, 4 * MIB)]).unwrap();
        longest = longest.max(fs::metadata(temp.path().join("store.db-wal")).unwrap().len());
    }
    assert!(longest < 80 * MIB as u64, "{longest}");
    assert!(longest > 40 * MIB as u64, "and it is not copied back each time: {longest}");
    for n in 0..60 {
        assert!(store.get(&name(&format!("packs/{n}")), 4 * MIB).unwrap() == noise(n, 4 * MIB));
    }
}

#[test]
fn a_full_disk_is_full_and_nothing_else() {
    let Some(mount) = Mount::tmpfs("size=6m") else { return };
    let path = mount.path().join("store.db");
    let store = SqliteStore::create(&path).unwrap();
    let mut put = Vec::new();
    let full = loop {
        let n = put.len() as u64;
        match store.put(&name(&format!("packs/{n}")), &[&noise(n, 70_000)]) {
            Ok(()) => put.push(n),
            Err(error) => break error,
        }
        assert!(put.len() < 100, "six mebibytes have an end");
    };
    assert_eq!(full.kind(), ErrorKind::Full, "{full}");
    assert!(put.len() > 10, "{}", put.len());
    let check = |store: &SqliteStore, put: &[u64]| {
        assert_eq!(names(store).len(), put.len());
        for n in put {
            assert!(store.get(&name(&format!("packs/{n}")), 70_000).unwrap() == noise(*n, 70_000));
            store.put(&name(&format!("packs/{n}")), &[&noise(*n, 70_000)]).expect("it is there already");
        }
    };
    store.barrier().unwrap();
    check(&store, &put);
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    check(&store, &put);
    // With more room everything goes on.
    mount.remount("size=12m");
    for n in put.len() as u64.. {
        if n == 60 {
            break;
        }
        store.put(&name(&format!("packs/{n}")), &[&noise(n, 70_000)]).unwrap();
        put.push(n);
    }
    check(&store, &put);
    drop(store);
    assert_sound(&path);
}

#[test]
fn a_full_disk_can_be_emptied() {
    let Some(mount) = Mount::tmpfs("size=6m") else { return };
    let store = SqliteStore::create(mount.path().join("store.db")).unwrap();
    let mut put = 0;
    while store.put(&name(&format!("packs/{put}")), &[&noise(put, 40_000)]).is_ok() {
        put += 1;
        assert!(put < 200, "six mebibytes have an end");
    }
    for n in 0..put {
        store.delete(&name(&format!("packs/{n}"))).unwrap();
    }
    store.barrier().unwrap();
    store.put(&name("packs/other"), &[&noise(7, 40_000)]).expect("there is room again");
}

#[test]
fn a_store_is_not_made_by_halves_where_there_is_no_room() {
    let Some(mount) = Mount::tmpfs("size=4k") else { return };
    let mut failed = 0;
    for pages in 1.. {
        assert!(pages < 300, "it never fits");
        mount.remount(&format!("size={}", pages * 4096));
        match SqliteStore::create(mount.path().join("store.db")) {
            Ok(store) => {
                assert!(names(&store).is_empty());
                break;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{pages} pages: {error}");
                assert_eq!(
                    fs::read_dir(mount.path()).unwrap().count(),
                    0,
                    "{pages} pages: something is left"
                );
                failed += 1;
            }
        }
    }
    assert!(failed > 5, "{failed}");
}
