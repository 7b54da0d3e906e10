//! Connections that break after any number of bytes, each way, in the middle of every kind of request: it is made again, and
//! what comes out is right.

mod common;

use common::between::{Line, NEVER};
use common::*;
use plakar_store::{ErrorKind, Listed, Patience, Range, ReadStore, Store};
use plakar_store_sftp::SftpStore;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, thread};

/// Something that is done, and proven to have been done.
type Deed = (&'static str, fn(&SftpStore));

const DEEDS: [Deed; 9] = [
    ("put", |store| store.put(&name("packs/new/a"), &[&noise(1, 400_000), b"end"]).unwrap()),
    ("put again", |store| store.put(&name("packs/ab/there"), &[&noise(2, 300_000)]).unwrap()),
    ("put others", |store| {
        drop(fails(ErrorKind::Exists, store.put(&name("packs/ab/there"), &[&noise(3, 300_000)])))
    }),
    ("get", |store| assert!(store.get(&name("packs/ab/there"), 1 << 20).unwrap() == noise(2, 300_000))),
    ("ranges", |store| {
        let range = |text: &str, offset, len| Range { name: name(text), offset, len };
        let found = store.get_ranges(&[
            range("packs/ab/there", 7, 200_000),
            range("none", 0, 1),
            range("log/5", 0, 1),
        ]);
        assert!(found[0].as_ref().unwrap()[..] == noise(2, 300_000)[7..200_007]);
        assert!(found[1].is_err() && found[2].as_ref().unwrap() == b"5");
    }),
    ("list", |store| {
        let mut found = Vec::new();
        let add = &mut |listed: Listed| {
            found.push((listed.name.as_str().to_owned(), listed.len));
            Ok(())
        };
        store.list("", add).unwrap();
        let count = found.len();
        found.sort();
        found.dedup();
        assert_eq!((found.len(), count), (41, 41), "each once");
    }),
    ("len", |store| assert_eq!(store.len(&name("packs/ab/there")).unwrap(), 300_000)),
    ("delete", |store| {
        store.delete(&name("log/5")).unwrap();
        store.delete(&name("none/at-all")).unwrap();
    }),
    ("barrier", |store| {
        store.put(&name("log/late"), &[b"late"]).unwrap();
        store.barrier().unwrap();
    }),
];

fn stage(path: &Path) {
    let store = create(program(&[]), path).unwrap();
    store.put(&name("packs/ab/there"), &[&noise(2, 300_000)]).unwrap();
    for n in 0..40 {
        store.put(&name(&format!("log/{n}")), &[n.to_string().as_bytes()]).unwrap();
    }
}

/// What there has to be after each deed.
fn prove(path: &Path, deed: &str) {
    let store = open(program(&[]), path).unwrap();
    let there = names(&store, "");
    assert_eq!(there.contains(&"packs/new/a".into()), deed == "put");
    assert_eq!(there.contains(&"log/5".into()), deed != "delete");
    if deed == "put" {
        assert!(
            store.get(&name("packs/new/a"), 1 << 20).unwrap() == [&noise(1, 400_000)[..], b"end"].concat()
        );
    }
    assert!(store.get(&name("packs/ab/there"), 1 << 20).unwrap() == noise(2, 300_000));
}

/// Does a deed with one cut. Returns how many bytes went each way before and after it, and how many connections there were.
fn with_cut(deed: Deed, cut: Option<(usize, u64)>) -> ([u64; 2], [u64; 2], u64) {
    let temp = in_memory();
    let path = temp.path().join("store");
    stage(&path);
    let line = Line::new();
    let store = open(line.clone(), &path).unwrap();
    // An answer that nobody waits for may still be on its way.
    store.len(&name("packs/ab/there")).unwrap();
    let before = line.bytes();
    if let Some((way, bytes)) = cut {
        line.cut(way, bytes);
    }
    deed.1(&store);
    let after = line.bytes();
    (0..2).for_each(|way| line.cut(way, NEVER));
    let connections = line.connections();
    drop(store);
    prove(&path, deed.0);
    (before, after, connections)
}

#[test]
fn whatever_is_cut_is_done_again() {
    let mut cases = Vec::new();
    for deed in DEEDS {
        let (before, after, connections) = with_cut(deed, None);
        assert_eq!(connections, 1);
        for way in 0..2 {
            let all = after[way] - before[way];
            // What is short is cut at many places, what is long at its ends and here and there.
            let few = (1..12).chain((1..=20).map(|n| n * all / 21)).chain(all.saturating_sub(6)..all);
            cases.extend(few.filter(|at| (1..all).contains(at)).map(|at| (deed, way, at)));
        }
    }
    assert!(cases.len() > 400, "{}", cases.len());
    let (next, reconnected) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some((deed, way, at)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (.., connections) = with_cut(*deed, Some((*way, *at)));
                    assert!(connections <= 2, "{} cut at {at}, way {way}", deed.0);
                    reconnected.fetch_add((connections - 1) as usize, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} cuts, {} connections made anew", cases.len(), reconnected.load(Ordering::Relaxed));
    // Those at the very end hit what is not waited for.
    assert!(reconnected.into_inner() * 10 > cases.len() * 8);
}

#[test]
fn a_server_that_lost_what_it_had_is_found_out_by_the_barrier() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    let line = Line::new();
    let store = create(line.clone(), &path).unwrap();
    let put = |text: &str| store.put(&name(text), &[b"x"]).unwrap();
    put("log/kept");
    put("log/lost");
    put("log/deleted");
    store.delete(&name("log/deleted")).unwrap();
    // Its power goes, and with it a name that was not flushed; then it is back.
    fs::remove_file(path.join("log/lost")).unwrap();
    line.cut(0, 1);
    let told = fails(ErrorKind::Io, store.barrier());
    assert!(told.contains("log/lost has gone"), "{told}");
    assert_eq!(line.connections(), 2);
    fails(ErrorKind::Io, store.barrier());
    // It may be put again, and then all is well.
    put("log/lost");
    store.barrier().unwrap();
    // What the barrier has settled is not looked for any more.
    fs::remove_file(path.join("log/lost")).unwrap();
    line.cut(0, 1);
    store.barrier().unwrap();
    let _ = store.len(&name("log/kept")).unwrap();
    store.barrier().unwrap();
}

#[test]
fn who_stays_away_is_waited_for_and_then_told() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("store");
    create(program(&[]), &path).unwrap();
    struct Once(std::sync::atomic::AtomicBool, Line);
    impl plakar_store_sftp::Connect for Once {
        fn connect(&self) -> std::io::Result<plakar_store_sftp::Pipes> {
            match self.0.swap(true, Ordering::SeqCst) {
                false => self.1.connect(),
                true => Err(std::io::Error::other("the cable is cut")),
            }
        }
        fn peer(&self) -> String {
            "ssh".into()
        }
    }
    let line = Line::new();
    let patience = Patience { idle: Duration::from_secs(5), retries: Duration::from_millis(700) };
    let store = SftpStore::open(
        Box::new(Once(false.into(), line.clone())),
        path.as_os_str().as_encoded_bytes(),
        "sftp://test".into(),
        &Default::default(),
        patience,
    )
    .unwrap();
    line.cut(0, 1);
    let began = std::time::Instant::now();
    let told = fails(ErrorKind::Io, store.put(&name("config"), &[b"x"]));
    assert!(told.contains("the cable is cut") && told.contains("sftp://test"), "{told}");
    assert!((250..5000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}
