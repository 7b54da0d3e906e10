//! What every store must pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Barrier,
    thread,
};

use crate::{Draft, Error, ErrorKind, Listed, Name, Range, Result, Store};

/// A promise in words, and what proves it of an empty store.
type Promise = (&'static str, fn(&dyn Store));

/// Proves that the stores which `make` makes keep the contract, as far as one process can tell.
///
/// `make` gives an empty store at every call, and what it holds may be thrown away after. It is called some
/// twenty times; one of the stores receives 3000 small objects. What only a power cut can tell, durability
/// above all, is not proven.
///
/// # Panics
/// At the first promise that is broken, with its name.
pub fn conformance(make: &dyn Fn() -> Box<dyn Store>) {
    let promises: [Promise; 20] = [
        ("an empty store is empty", empty),
        ("what is missing is not found", missing),
        ("what was put is there whole", whole),
        ("parts are concatenated", parts),
        ("an empty object is an object", empty_object),
        ("a large object arrives", large),
        ("ranges are exact or short", ranges),
        ("an object longer than allowed is refused", too_large),
        ("equal bytes may be put again", put_again),
        ("other bytes change nothing", put_other),
        ("what comes in pieces is there whole or not at all", drafts),
        ("of drafts and puts of one name, one set of bytes wins", drafts_meet),
        ("deleting is final and may be repeated", delete),
        ("a prefix is text", prefixes),
        ("a listing is whole", list_many),
        ("a listing of one moment is one, whatever was known", list_at_once),
        ("a listing stops at an error", list_stops),
        ("a listing may use the store", list_reenters),
        ("threads may put different objects", different_names),
        ("of threads putting one name, one set of bytes wins", same_name),
    ];
    for (promise, prove) in promises {
        let store = make();
        assert!(listing(&*store, "").is_empty(), "{promise}: the store must be empty");
        let proof = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| prove(&*store)));
        assert!(proof.is_ok(), "{} breaks the promise: {promise}", store.location());
    }
}

fn empty(store: &dyn Store) {
    store.barrier().unwrap();
    assert!(!store.location().is_empty());
    assert!(store.capabilities().strong_list, "what follows needs whole listings");
}

fn missing(store: &dyn Store) {
    store.put(&name("packs/ab/there"), &[b"x"]).unwrap();
    for absent in ["absent", "packs/ab/absent", "packs/cd/absent", "no/such/folder", "packs/ab", "packs"] {
        let absent = name(absent);
        fails(ErrorKind::NotFound, store.get(&absent, 100));
        fails(ErrorKind::NotFound, store.get_range(&absent, 0, 1));
        fails(ErrorKind::NotFound, store.get_range(&absent, 0, 0));
        fails(ErrorKind::NotFound, store.len(&absent));
    }
}

fn whole(store: &dyn Store) {
    for text in ["config", "keys/0", "packs/ab/abcdef", "log/20220305t223058z-00ff", "a/b/c/d/e/f", "-", "0"]
    {
        store.put(&name(text), &[text.as_bytes()]).unwrap();
        assert_eq!(store.get(&name(text), 1000).unwrap(), text.as_bytes());
        assert_eq!(store.len(&name(text)).unwrap(), text.len() as u64);
    }
    let longest = name(&"n".repeat(crate::name::NAME_BYTES_MAX));
    store.put(&longest, &[b"long"]).unwrap();
    assert_eq!(store.get(&longest, 4).unwrap(), b"long");
    store.barrier().unwrap();
    store.barrier().unwrap();
    assert_eq!(listing(store, "").len(), 8);
    assert_eq!(store.get(&name("config"), 6).unwrap(), b"config");
}

fn parts(store: &dyn Store) {
    let bytes = noise(300_000);
    let parts = [&bytes[..7], &[], &bytes[7..8], &bytes[8..100_000], &bytes[100_000..], &[]];
    store.put(&name("packs/parts"), &parts).unwrap();
    assert!(store.get(&name("packs/parts"), bytes.len()).unwrap() == bytes);
    store.put(&name("packs/parts"), &[&bytes]).unwrap();
}

fn empty_object(store: &dyn Store) {
    for (text, parts) in [("none", &[][..]), ("packs/empty", &[&b""[..], b""])] {
        store.put(&name(text), parts).unwrap();
        assert_eq!(store.get(&name(text), 0).unwrap(), b"");
        assert_eq!(store.get_range(&name(text), 0, 0).unwrap(), b"");
        fails(ErrorKind::Short, store.get_range(&name(text), 0, 1));
        assert_eq!(store.len(&name(text)).unwrap(), 0);
        fails(ErrorKind::Exists, store.put(&name(text), &[b"x"]));
    }
    assert_eq!(listing(store, "").values().map(|listed| listed.len).collect::<Vec<_>>(), [0, 0]);
}

fn large(store: &dyn Store) {
    let bytes = noise((8 << 20) + 3);
    store.put(&name("packs/ab/large"), &[&bytes]).unwrap();
    assert!(store.get(&name("packs/ab/large"), bytes.len()).unwrap() == bytes);
    for (offset, len) in [(0, 1 << 20), (4095, 1 << 18), ((8 << 20) - 200_000, 200_003)] {
        assert!(
            store.get_range(&name("packs/ab/large"), offset as u64, len).unwrap() == bytes[offset..][..len]
        );
    }
}

fn ranges(store: &dyn Store) {
    let bytes = noise(1000);
    let object = name("packs/ranges");
    store.put(&object, &[&bytes]).unwrap();
    for (offset, len) in [(0, 0), (0, 1), (0, 1000), (1, 999), (999, 1), (1000, 0), (500, 250)] {
        let range = store.get_range(&object, offset as u64, len).unwrap();
        assert_eq!(range, bytes[offset..][..len], "{len} at {offset}");
    }
    let far = [
        (0, 1001),
        (999, 2),
        (1000, 1),
        (1001, 0),
        (u64::MAX, 0),
        (u64::MAX, 1),
        (1, usize::MAX),
        (0, 1 << 62),
    ];
    for (offset, len) in far {
        fails(ErrorKind::Short, store.get_range(&object, offset, len));
    }
    let several = [(&object, 7, 3), (&object, 999, 2), (&name("absent"), 0, 1), (&object, 0, 1000)]
        .map(|(name, offset, len)| Range { name: name.clone(), offset, len });
    let mut answers = store.get_ranges(&several).into_iter();
    let mut next = || answers.next().expect("as many answers as ranges");
    assert_eq!(next().unwrap(), bytes[7..10]);
    fails(ErrorKind::Short, next());
    fails(ErrorKind::NotFound, next());
    assert_eq!(next().unwrap(), bytes);
    assert!(answers.next().is_none() && store.get_ranges(&[]).is_empty());
}

fn too_large(store: &dyn Store) {
    store.put(&name("keys/k"), &[b"12345"]).unwrap();
    fails(ErrorKind::TooLarge, store.get(&name("keys/k"), 4));
    fails(ErrorKind::TooLarge, store.get(&name("keys/k"), 0));
    assert_eq!(store.get(&name("keys/k"), 5).unwrap(), b"12345");
    assert_eq!(store.get(&name("keys/k"), usize::MAX).unwrap(), b"12345");
}

fn put_again(store: &dyn Store) {
    for _ in 0..3 {
        store.put(&name("config"), &[b"the ", b"same"]).unwrap();
        store.barrier().unwrap();
    }
    store.put(&name("config"), &[b"the same"]).unwrap();
    assert_eq!(store.get(&name("config"), 100).unwrap(), b"the same");
    assert_eq!(listing(store, "").len(), 1);
}

fn put_other(store: &dyn Store) {
    let object = name("packs/ab/same");
    store.put(&object, &[b"bytes"]).unwrap();
    for other in [&b"Bytes"[..], b"byteS", b"byte", b"bytes.", b""] {
        fails(ErrorKind::Exists, store.put(&object, &[other]));
        assert_eq!(store.get(&object, 100).unwrap(), b"bytes");
    }
    assert_eq!(listing(store, "").len(), 1);
    store.delete(&object).unwrap();
    store.put(&object, &[b"other"]).unwrap();
    assert_eq!(store.get_range(&object, 0, 5).unwrap(), b"other");
}

fn drafts(store: &dyn Store) {
    let (object, bytes) = (name("packs/ab/draft"), noise(300_000));
    let begin = |len: usize, pieces: &[&[u8]]| -> Result<Option<Box<dyn Draft>>> {
        let Some(mut draft) = store.draft(&object, len as u64)? else { return Ok(None) };
        pieces.iter().try_for_each(|piece| draft.write(piece))?;
        Ok(Some(draft))
    };
    let whole = [&bytes[..7], &[], &bytes[7..100_000], &bytes[100_000..], &[]];
    // A store need not be able to.
    let Some(dropped) = begin(bytes.len(), &whole).unwrap() else { return };
    let nothing = || {
        assert!(listing(store, "").is_empty());
        fails(ErrorKind::NotFound, store.len(&object));
        fails(ErrorKind::NotFound, store.get(&object, bytes.len()));
    };
    let finish = |draft: Result<Option<Box<dyn Draft>>>| draft.unwrap().expect("it can still").finish();
    nothing();
    drop(dropped);
    nothing();
    fails(ErrorKind::Short, finish(begin(bytes.len() + 1, &whole)));
    fails(ErrorKind::Short, finish(begin(1, &[])));
    fails(ErrorKind::TooLarge, begin(bytes.len() - 1, &whole).map(drop));
    fails(ErrorKind::TooLarge, begin(0, &[b"x"]).map(drop));
    let mut long = begin(bytes.len(), &whole).unwrap().expect("it can still");
    fails(ErrorKind::TooLarge, long.write(b"x"));
    assert!(long.finish().is_err(), "what failed is not finished");
    nothing();
    for _ in 0..2 {
        finish(begin(bytes.len(), &whole)).unwrap();
        store.barrier().unwrap();
        assert!(store.get(&object, bytes.len()).unwrap() == bytes);
    }
    store.put(&object, &whole).unwrap();
    for other in [&bytes[1..], &[&bytes[..299_999], b"!"].concat(), b""] {
        fails(ErrorKind::Exists, finish(begin(other.len(), &[other])));
        assert!(store.get(&object, bytes.len()).unwrap() == bytes);
    }
    assert_eq!(listing(store, "").values().map(|listed| listed.len).collect::<Vec<_>>(), [300_000]);
    store.delete(&object).unwrap();
    nothing();
    finish(begin(0, &[])).unwrap();
    assert_eq!(store.get(&object, 0).unwrap(), b"");
}

fn drafts_meet(store: &dyn Store) {
    let object = name("packs/aa/met");
    let draft = |byte: u8| -> Option<Box<dyn Draft>> {
        let mut draft = store.draft(&object, 3).unwrap()?;
        draft.write(&[byte; 3]).unwrap();
        Some(draft)
    };
    let all: Option<Vec<_>> = [1, 2, 1].into_iter().map(draft).collect();
    let Some(mut all) = all else { return };
    all.pop().expect("three").finish().unwrap();
    fails(ErrorKind::Exists, all.pop().expect("two").finish());
    all.pop().expect("one").finish().unwrap();
    assert_eq!(store.get(&object, 3).unwrap(), [1; 3]);
    // What is put, or deleted, meanwhile counts when a draft is finished.
    let two = draft(2).expect("it can still");
    store.delete(&object).unwrap();
    two.finish().unwrap();
    let one = draft(1).expect("it can still");
    store.put(&object, &[&[2; 3]]).unwrap();
    fails(ErrorKind::Exists, one.finish());
    assert_eq!(store.get(&object, 3).unwrap(), [2; 3]);
}

fn delete(store: &dyn Store) {
    let (object, neighbour) = (name("packs/ab/x"), name("packs/ab/y"));
    store.put(&object, &[b"x"]).unwrap();
    store.put(&neighbour, &[b"y"]).unwrap();
    assert_eq!(store.get_range(&object, 0, 1).unwrap(), b"x");
    for _ in 0..2 {
        store.delete(&object).unwrap();
        fails(ErrorKind::NotFound, store.get_range(&object, 0, 1));
        fails(ErrorKind::NotFound, store.get(&object, 1));
        fails(ErrorKind::NotFound, store.len(&object));
    }
    for absent in ["absent", "no/such/folder", "packs/ab", "packs"] {
        store.delete(&name(absent)).unwrap();
    }
    store.barrier().unwrap();
    assert_eq!(names(store, ""), ["packs/ab/y"]);
    store.put(&object, &[b"again"]).unwrap();
    assert_eq!(store.get_range(&object, 0, 5).unwrap(), b"again");
}

fn prefixes(store: &dyn Store) {
    let all =
        ["config", "configs", "log/1", "log-old", "packs/00/a", "packs/00/b", "packs/01/a", "packs/10/00"];
    for text in all {
        store.put(&name(text), &[text.as_bytes()]).unwrap();
    }
    let cases = [
        "",
        "c",
        "config",
        "configs",
        "log",
        "log/",
        "log-",
        "p",
        "pack",
        "packs",
        "packs/",
        "packs/0",
        "packs/00",
        "packs/00/",
        "packs/00/a",
        "packs/00/ab",
        "packs/1",
        "packs/2",
        "q",
        "/",
        "//",
        "packs//",
        "../",
        "..",
        "packs/../config",
        ".",
        "./",
        "C",
        "\0",
        "packs/00/a/",
        "config/",
        "ä",
        "packs/Ä/",
    ];
    for prefix in cases {
        let expected: Vec<&str> = {
            let sorted: BTreeSet<&str> = all.into_iter().filter(|text| text.starts_with(prefix)).collect();
            sorted.into_iter().collect()
        };
        assert_eq!(names(store, prefix), expected, "{prefix:?}");
    }
    let long = "n".repeat(10_000);
    assert!(listing(store, &long).is_empty() && listing(store, &format!("{long}/")).is_empty());
}

fn list_many(store: &dyn Store) {
    let mut put = BTreeMap::new();
    for n in 0..3000usize {
        let text = match n % 3 {
            0 => format!("log/{n:06}"),
            _ => format!("packs/{:02x}/{n:06}", n % 7),
        };
        store.put(&name(&text), &[&vec![b'x'; n % 50]]).unwrap();
        put.insert(name(&text), n as u64 % 50);
    }
    let listed = listing(store, "");
    assert_eq!(
        listed.iter().map(|(name, listed)| (name.clone(), listed.len)).collect::<BTreeMap<_, _>>(),
        put
    );
    assert!(listed.values().all(|listed| listed.received_ms >= 0));
    assert_eq!(names(store, "log/").len(), 1000);
    for name in put.keys().step_by(2) {
        store.delete(name).unwrap();
    }
    assert_eq!(listing(store, "").len(), 1500);
}

fn list_at_once(store: &dyn Store) {
    let folders = ["log/", "admin/", "packs/0"];
    let there = || {
        let all = |prefix: &&str| listing(store, prefix).into_values().collect::<Vec<_>>();
        let mut all: Vec<_> = folders.iter().flat_map(all).collect();
        all.sort();
        all
    };
    let mut known = vec![Vec::new()];
    let mut proves = |store: &dyn Store| {
        for known in &known {
            // A store need not be able to.
            if let Some(told) = store.list_at_once(&folders, known).unwrap() {
                assert_eq!(told, there(), "knowing {} objects", known.len());
            }
        }
        known.push(there());
    };
    proves(store);
    for text in
        ["log/2", "log/4", "admin/1", "packs/00/1", "packs/10/1", "log/3", "log/1", "log/5", "admin/0"]
    {
        store.put(&name(text), &[text.as_bytes()]).unwrap();
        proves(store);
    }
    for text in ["log/3", "log/5", "admin/0", "admin/1", "packs/00/1"] {
        store.delete(&name(text)).unwrap();
        proves(store);
    }
}

fn list_stops(store: &dyn Store) {
    for text in ["a/1", "a/2", "b/1"] {
        store.put(&name(text), &[]).unwrap();
    }
    let mut seen = 0;
    let stopped = store.list("", &mut |_| {
        seen += 1;
        if seen == 2 { Err(Error::new(ErrorKind::Denied, "enough")) } else { Ok(()) }
    });
    fails(ErrorKind::Denied, stopped);
    assert_eq!(seen, 2);
}

fn list_reenters(store: &dyn Store) {
    for n in 0..50 {
        store.put(&name(&format!("packs/0{}/{n}", n % 5)), &[b"x"]).unwrap();
    }
    let mut seen = 0;
    let reading = store.list("packs/", &mut |listed| {
        seen += 1;
        assert_eq!(store.get(&listed.name, 1)?, b"x");
        store.delete(&listed.name)?;
        store.put(&name(&format!("log/{seen}")), &[b"x"])
    });
    reading.unwrap();
    assert_eq!((seen, names(store, "packs/").len(), names(store, "log/").len()), (50, 0, 50));
}

fn different_names(store: &dyn Store) {
    thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for n in 0..20 {
                    let object = name(&format!("packs/{n:02}/{worker}"));
                    let bytes = noise(1000 * worker + n);
                    store.put(&object, &[&bytes]).unwrap();
                    // A put that returned is seen at once, by everybody.
                    assert!(names(store, &format!("packs/{n:02}/")).contains(&object.as_str().to_owned()));
                    assert!(store.get_range(&object, 0, bytes.len()).unwrap() == bytes);
                }
                store.barrier().unwrap();
            });
        }
    });
    assert_eq!(names(store, "packs/").len(), 160);
}

fn same_name(store: &dyn Store) {
    for round in 0..10 {
        let object = name(&format!("packs/aa/{round}"));
        let start = Barrier::new(6);
        let outcomes: Vec<(usize, Result<()>)> = thread::scope(|scope| {
            let put = |worker: usize| {
                let (object, start) = (&object, &start);
                // Workers agree in pairs; all bytes have one length.
                scope.spawn(move || {
                    let bytes = vec![worker as u8 / 2; 100_000];
                    start.wait();
                    let outcome = store.put(object, &[&bytes]);
                    if let Ok(seen) = store.get(object, 100_000) {
                        assert!(seen.len() == 100_000 && seen.iter().all(|byte| *byte == seen[0]), "torn");
                    }
                    (worker, outcome)
                })
            };
            let workers: Vec<_> = (0..6).map(put).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        let winner = store.get(&object, 100_000).unwrap()[0];
        for (worker, outcome) in outcomes {
            match outcome {
                Ok(()) => assert_eq!(worker as u8 / 2, winner),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Exists, "{e}");
                    assert_ne!(worker as u8 / 2, winner);
                }
            }
        }
    }
    assert_eq!(names(store, "").len(), 10);
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|| panic!("{text:?} is a name"))
}

/// What a listing shows; nothing is shown twice.
fn listing(store: &dyn Store, prefix: &str) -> BTreeMap<Name, Listed> {
    let mut all = BTreeMap::new();
    let add = &mut |listed: Listed| {
        let before = all.insert(listed.name.clone(), listed);
        assert_eq!(before, None, "shown twice");
        Ok(())
    };
    store.list(prefix, add).unwrap();
    all
}

fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    listing(store, prefix).keys().map(|name| name.as_str().to_owned()).collect()
}

fn fails<T: Debug>(kind: ErrorKind, result: Result<T>) {
    match result {
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
        Ok(value) => panic!("{value:?} instead of {kind:?}"),
    }
}

/// Bytes without a short period.
fn noise(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect()
}
