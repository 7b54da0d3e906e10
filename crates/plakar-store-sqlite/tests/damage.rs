//! A damaged database is an error at worst: never a panic, never memory without end, never a range of another length.

mod common;

use std::{fs, path::Path};

use common::*;
use plakar_store::{ErrorKind, ReadStore, Store};
use plakar_store_sqlite::SqliteStore;

const OBJECTS: u64 = 12;

fn bytes(n: u64) -> Vec<u8> {
    noise(n, n as usize * 60_000)
}

/// A database with a few objects, and its bytes.
fn sample(path: &Path) -> Vec<u8> {
    let store = SqliteStore::create(path).unwrap();
    for n in 0..OBJECTS {
        store.put(&name(&format!("packs/{n}")), &[&bytes(n)]).unwrap();
    }
    store.delete(&name("packs/4")).unwrap();
    drop(store);
    fs::read(path).unwrap()
}

/// Does everything there is to do; tells how much of it went well.
fn use_all(path: &Path) -> usize {
    let Ok(store) = SqliteStore::open(path) else { return 0 };
    let mut well = usize::from(listing(&store, "").is_ok());
    for n in 0..OBJECTS {
        let object = name(&format!("packs/{n}"));
        if let Ok(got) = store.get(&object, 1 << 20) {
            assert!(got.len() <= 1 << 20);
            well += 1;
        }
        if let Ok(got) = store.get_range(&object, 1000, 300) {
            assert_eq!(got.len(), 300);
            well += 1;
        }
        well += usize::from(store.len(&object).is_ok());
        let _ = store.put(&object, &[&bytes(n)]);
        if n % 3 == 0 {
            let _ = store.delete(&object);
        }
    }
    well += usize::from(store.put(&name("packs/new"), &[&bytes(7)]).is_ok());
    let _ = store.barrier();
    well
}

#[test]
fn damaged_bytes_never_panic() {
    let mut random = Random(seed());
    let temp = tempfile::tempdir().unwrap();
    let pristine = sample(&temp.path().join("sample.db"));
    let path = temp.path().join("damaged.db");
    let (mut refused, mut partly) = (0, 0);
    fs::write(&path, &pristine).unwrap();
    let all = use_all(&path);
    for round in 0..250 {
        let mut damaged = pristine.clone();
        for _ in 0..=random.below(4) {
            // Half of them in the first page or at the beginning of another, where the structure is.
            let page = random.below(damaged.len() as u64 / 65_536) * 65_536;
            let at = match round % 4 {
                0 => random.below(damaged.len() as u64),
                1 => random.below(200),
                2 => page + random.below(60),
                _ => page + 65_535 - random.below(2000),
            };
            damaged[at as usize] = random.next() as u8;
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(temp.path().join(format!("damaged.db{suffix}")));
        }
        fs::write(&path, &damaged).unwrap();
        match use_all(&path) {
            0 => refused += 1,
            well if well < all => partly += 1,
            _ => {}
        }
    }
    println!("{refused} were refused, {partly} worked in part");
    assert!(refused > 5 && partly > 5);
}

#[test]
fn a_truncated_file_gives_right_bytes_or_none() {
    let temp = tempfile::tempdir().unwrap();
    let pristine = sample(&temp.path().join("sample.db"));
    let path = temp.path().join("short.db");
    let mut errors = 0;
    for kept in (0..pristine.len()).step_by(50_000) {
        fs::write(&path, &pristine[..kept]).unwrap();
        let Ok(store) = SqliteStore::open(&path) else {
            errors += 1;
            continue;
        };
        for n in (0..OBJECTS).filter(|n| *n != 4) {
            match store.get(&name(&format!("packs/{n}")), 1 << 20) {
                Ok(got) => assert!(got == bytes(n), "{n} of {kept} bytes"),
                Err(_) => errors += 1,
            }
        }
    }
    assert!(errors > 10);
}

#[test]
fn rows_that_lie_are_errors() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    let pristine = sample(&path);
    let object = name("packs/9");
    let cases = [
        ("UPDATE objects SET length = 1000000000000", ErrorKind::Damaged),
        ("UPDATE objects SET length = 200000000000", ErrorKind::Short),
        ("UPDATE objects SET length = 540001", ErrorKind::Short),
        ("UPDATE objects SET length = 100", ErrorKind::Short),
        ("UPDATE objects SET length = -1", ErrorKind::Damaged),
        ("UPDATE objects SET length = 9223372036854775807", ErrorKind::Damaged),
        ("UPDATE objects SET id = 99", ErrorKind::Short),
        ("UPDATE objects SET id = 0", ErrorKind::Damaged),
        ("UPDATE objects SET id = -5", ErrorKind::Damaged),
        ("UPDATE objects SET id = 9223372036854775807", ErrorKind::Damaged),
        ("DELETE FROM parts WHERE id % 1048576 = 1", ErrorKind::Short),
        ("UPDATE parts SET bytes = x'00' WHERE id % 1048576 = 0", ErrorKind::Short),
        ("UPDATE parts SET bytes = zeroblob(300000) WHERE id % 1048576 = 0", ErrorKind::Short),
    ];
    for (change, expected) in cases {
        behind(&path).execute_batch(change).unwrap();
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(kind(store.get(&object, usize::MAX)), expected, "{change}");
        if expected == ErrorKind::Short {
            assert_eq!(kind(store.get_range(&object, 0, 540_000)), ErrorKind::Short, "{change}");
            assert_eq!(kind(store.put(&object, &[&bytes(9)])), ErrorKind::Exists, "{change}");
            // What heals it: take it away, put it again.
            store.delete(&object).unwrap();
            store.put(&object, &[&bytes(9)]).unwrap();
            assert!(store.get(&object, 1 << 20).unwrap() == bytes(9), "{change}");
        }
        drop(store);
        fs::write(&path, &pristine).unwrap();
    }
}

#[test]
fn strangers_rows_are_not_shown() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store.db");
    sample(&path);
    for odd in
        ["'UPPER'", "'packs//x'", "''", "'packs/\u{e4}'", "CAST(x'7061636b732fff' AS TEXT)", "'packs/.tmp'"]
    {
        behind(&path).execute(&format!("INSERT INTO objects VALUES ({odd}, 5, 1, 0)"), ()).unwrap();
    }
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(names(&store).len() as u64, OBJECTS - 1);
    assert_eq!(listing(&store, "packs/").unwrap().len() as u64, OBJECTS - 1);
}
