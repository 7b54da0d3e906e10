//! What goes wrong with a service: nothing hangs, nothing false is read, nothing that was there is lost.

mod common;

use common::{Bucket, PATIENCE, name, noise};
use plakar_store::{Bandwidth, Error, ErrorKind, Listed, Pace, Range, ReadStore, Store};
use plakar_store_object::{Keys, ObjectStore, Way};
use plakar_testkit_s3::Fault;
use std::fs;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(12);

fn listing(store: &dyn ReadStore, prefix: &str) -> plakar_store::Result<Vec<Listed>> {
    let mut all = Vec::new();
    store.list(prefix, &mut |listed| {
        all.push(listed);
        Ok(())
    })?;
    Ok(all)
}

fn timed<T>(do_it: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = do_it();
    assert!(began.elapsed() < LONG, "it took {:?}", began.elapsed());
    done
}

/// Does it with all of them at once: most of it is waiting.
fn with_each<T: Sync>(cases: &[T], do_it: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| do_it(case));
        }
    });
}

/// All that can be asked of a store with two objects in it.
fn all_is_well(store: &ObjectStore, bytes: &[u8]) {
    assert!(store.get(&name("packs/aa/large"), bytes.len()).unwrap() == bytes);
    assert_eq!(store.get_range(&name("packs/aa/large"), 1000, 500).unwrap(), &bytes[1000..1500]);
    let ranges: Vec<_> =
        (0..12).map(|n| Range { name: name("packs/aa/large"), offset: n * 1000, len: 700 }).collect();
    for (n, answer) in store.get_ranges(&ranges).into_iter().enumerate() {
        assert_eq!(answer.unwrap(), &bytes[n * 1000..n * 1000 + 700]);
    }
    assert_eq!(store.len(&name("config")).unwrap(), 5);
    assert_eq!(listing(store, "").unwrap().len(), 2);
    assert_eq!(store.get(&name("absent"), 10).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_passes_is_waited_for() {
    let bytes = noise(300_000);
    let cases = [
        (2, "", Fault::Answer(503, "SlowDown")),
        (2, "", Fault::Answer(500, "InternalError")),
        (2, "", Fault::Answer(429, "TooManyRequests")),
        (3, "", Fault::LoseAnswer),
        (2, "GET", Fault::CutAnswer),
        (2, "PUT", Fault::CutUpload),
        (2, "PUT", Fault::Answer(409, "ConditionalRequestConflict")),
        (2, "PUT", Fault::SpoilUpload),
        (2, "PUT", Fault::LoseAnswer),
        (9, "GET", Fault::Stall),
        (9, "GET", Fault::StallAnswer),
        (2, "PUT", Fault::Stall),
        (4, "", Fault::Wait(Duration::from_millis(300))),
    ];
    with_each(&cases, |(every, method, fault)| {
        let mut bucket = Bucket::new();
        bucket.way.patience.retries = Duration::from_secs(30);
        let store = bucket.create("s3://bucket/x").unwrap();
        bucket.server.plan_every(*every, method, fault.clone());
        store.put(&name("config"), &[b"bytes"]).unwrap();
        store.put(&name("packs/aa/large"), &[&bytes]).unwrap();
        store.put(&name("packs/aa/large"), &[&bytes[..1], &bytes[1..]]).unwrap();
        assert_eq!(
            store.put(&name("config"), &[b"other"]).unwrap_err().kind(),
            ErrorKind::Exists,
            "{fault:?}"
        );
        all_is_well(&store, &bytes);
        store.delete(&name("absent")).unwrap();
        store.put(&name("gone"), &[b"x"]).unwrap();
        store.delete(&name("gone")).unwrap();
        all_is_well(&bucket.open("s3://bucket/x").unwrap(), &bytes);
        bucket.server.plan_nothing();
        // Of an upload there is one request and no pieces.
        assert!(!bucket.server.asked().iter().any(|request| request.what.contains("upload")), "{fault:?}");
    });
}

#[test]
fn what_does_not_pass_ends_in_an_error() {
    let bytes = noise(100_000);
    let cases = [
        Fault::Answer(503, "SlowDown"),
        Fault::CutAnswer,
        Fault::Overstate,
        Fault::Stall,
        Fault::StallAnswer,
        Fault::Lengthen,
        Fault::Answer(400, "Something"),
        Fault::Answer(302, ""),
    ];
    with_each(&cases, |fault| {
        let bucket = Bucket::new();
        let store = bucket.create("s3://bucket/x").unwrap();
        store.put(&name("packs/a"), &[&bytes]).unwrap();
        bucket.server.plan_every(1, "GET", fault.clone());
        let kind = |result: plakar_store::Result<Vec<u8>>| result.map(|b| b.len()).unwrap_err().kind();
        assert_eq!(timed(|| kind(store.get_range(&name("packs/a"), 5, 5_000))), ErrorKind::Io, "{fault:?}");
        if *fault == Fault::Lengthen {
            // That is what there is, then.
            assert_eq!(timed(|| kind(store.get(&name("packs/a"), bytes.len()))), ErrorKind::TooLarge);
        } else {
            assert_eq!(
                timed(|| kind(store.get(&name("packs/a"), 2 * bytes.len()))),
                ErrorKind::Io,
                "{fault:?}"
            );
            timed(|| listing(&store, "").unwrap_err());
        }
        bucket.server.plan_nothing();
        assert!(store.get(&name("packs/a"), bytes.len()).unwrap() == bytes, "{fault:?}");
    });
}

#[test]
fn an_upload_that_does_not_get_through_ends_in_an_error() {
    let cases = [
        (Fault::CutUpload, ErrorKind::Io),
        (Fault::Stall, ErrorKind::Io),
        (Fault::Answer(503, "SlowDown"), ErrorKind::Io),
        (Fault::SpoilUpload, ErrorKind::Io),
        (Fault::Answer(507, ""), ErrorKind::Full),
        (Fault::Answer(507, "XMinioStorageFull"), ErrorKind::Full),
        (Fault::Answer(403, "QuotaExceeded"), ErrorKind::Full),
        (Fault::Answer(403, "AccessDenied"), ErrorKind::Denied),
        (Fault::Answer(401, ""), ErrorKind::Denied),
        (Fault::Answer(404, "NoSuchBucket"), ErrorKind::Io),
        (Fault::Answer(301, "PermanentRedirect"), ErrorKind::Io),
    ];
    with_each(&cases, |(fault, kind)| {
        let bucket = Bucket::new();
        let store = bucket.create("s3://bucket/x").unwrap();
        bucket.server.plan_every(1, "PUT", fault.clone());
        let error: Error = timed(|| store.put(&name("packs/a"), &[&noise(200_000)]).unwrap_err());
        assert_eq!(error.kind(), *kind, "{fault:?}: {error}");
        assert!(error.to_string().contains("packs/a"), "{error}");
        bucket.server.plan_nothing();
        // What was spoilt or cut never counted.
        assert_eq!(listing(&store, "").unwrap(), [], "{fault:?}");
        store.put(&name("packs/a"), &[b"another"]).unwrap();
    });
}

#[test]
fn what_is_said_of_a_bucket_is_not_said_of_an_object() {
    let bucket = Bucket::new();
    let store = bucket.create("s3://bucket/x").unwrap();
    store.put(&name("packs/a"), &[b"12345"]).unwrap();
    for (fault, kind) in [
        (Fault::Answer(404, "NoSuchBucket"), ErrorKind::Io),
        (Fault::Answer(403, "AccessDenied"), ErrorKind::Denied),
        (Fault::Answer(404, "NoSuchKey"), ErrorKind::NotFound),
        (Fault::Answer(416, "InvalidRange"), ErrorKind::Short),
    ] {
        bucket.server.plan("GET", fault.clone(), 1);
        assert_eq!(store.get_range(&name("packs/a"), 1, 2).unwrap_err().kind(), kind, "{fault:?}");
    }
    // The bucket goes away while it is used: no object is said not to be there, and a listing is not an empty one.
    fs::rename(bucket.server.folder("bucket"), bucket.server.folder("elsewhere")).unwrap();
    assert_eq!(store.get(&name("packs/a"), 5).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(listing(&store, "").unwrap_err().kind(), ErrorKind::Io);
    fs::rename(bucket.server.folder("elsewhere"), bucket.server.folder("bucket")).unwrap();
    assert_eq!(store.get(&name("packs/a"), 5).unwrap(), b"12345");
}

#[test]
fn an_answer_to_something_else_is_none() {
    let bucket = Bucket::new();
    let store = bucket.create("s3://bucket/x").unwrap();
    store.put(&name("packs/a"), &[b"0123456789"]).unwrap();
    bucket.server.plan_every(1, "GET", Fault::IgnoreRange);
    // Bytes from elsewhere in the object would be taken for those that were meant.
    assert_eq!(store.get_range(&name("packs/a"), 3, 2).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(store.get_range(&name("packs/a"), 0, 2).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(store.get_range(&name("packs/a"), 6, 5).unwrap_err().kind(), ErrorKind::Short);
    assert_eq!(store.get_range(&name("packs/a"), 0, 10).unwrap(), b"0123456789");
    bucket.server.plan_nothing();
    bucket.server.plan("GET", Fault::Lengthen, 1);
    assert_eq!(store.get_range(&name("packs/a"), 3, 2).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_service_that_cannot_refuse_is_looked_at_first() {
    let bucket = Bucket::new();
    let store = bucket.create("s3://bucket/x").unwrap();
    bucket.server.plan("PUT", Fault::Answer(501, "NotImplemented"), 1);
    store.put(&name("packs/a"), &[b"bytes"]).unwrap();
    bucket.server.asked();
    store.put(&name("packs/b"), &[b"bytes"]).unwrap();
    let asked = bucket.server.asked();
    assert!(
        asked.len() == 2 && asked[0].what.starts_with("HEAD ") && asked[1].what.starts_with("PUT "),
        "{asked:?}"
    );
    store.put(&name("packs/a"), &[b"bytes"]).unwrap();
    assert_eq!(store.put(&name("packs/a"), &[b"other"]).unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(store.get(&name("packs/a"), 5).unwrap(), b"bytes");
}

#[test]
fn who_may_not_come_in_is_told_at_once() {
    let bucket = Bucket::new();
    let open = |way: &Way| timed(|| ObjectStore::open(&common::place("s3://bucket/x"), way).err().unwrap());
    assert_eq!(open(&bucket.way).kind(), ErrorKind::NotFound);
    let missing = bucket.open("s3://nothing/x").err().unwrap();
    assert_eq!(
        (missing.kind(), missing.to_string().as_str()),
        (ErrorKind::NotFound, "s3://nothing/x: the bucket nothing: not found")
    );
    assert_eq!(bucket.create("s3://nothing/x").err().unwrap().kind(), ErrorKind::NotFound);
    let keys = |id: &str, secret: &str| Some(Keys { id: id.into(), secret: secret.into() });
    for keys in [keys(plakar_testkit_s3::ACCESS_KEY, "wrong"), keys("wrong", "wrong")] {
        let error = open(&Way { keys, ..bucket.way.clone() });
        assert!(!error.to_string().contains("wrong"), "{error}");
        assert!(!format!("{:?}", bucket.way).contains(plakar_testkit_s3::SECRET_KEY));
        assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    bucket.server.plan_every(1, "", Fault::Stall);
    assert_eq!(open(&bucket.way).kind(), ErrorKind::Io);
    bucket.server.plan_nothing();
    let mut elsewhere = bucket.way.clone();
    elsewhere.options.set("endpoint", "http://127.0.0.1:1").unwrap();
    let error = open(&elsewhere);
    assert!(error.kind() == ErrorKind::Io && error.to_string().contains("cannot be reached"), "{error}");
    // What is not what it should be lies there, and is neither opened over nor listed as an object.
    fs::create_dir_all(bucket.server.folder("bucket").join("y/z")).unwrap();
    fs::write(bucket.server.folder("bucket").join("y/z/Not A Name"), "x").unwrap();
    assert_eq!(bucket.create("s3://bucket/y").err().unwrap().kind(), ErrorKind::Exists);
    assert_eq!(listing(&bucket.open("s3://bucket/y").unwrap(), "").unwrap(), []);
    // Another prefix that begins alike is another place.
    bucket.create("s3://bucket/y/z2").unwrap().put(&name("config"), &[b"x"]).unwrap();
    assert_eq!(
        bucket.open("s3://bucket/y/z").unwrap().get(&name("config"), 9).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(bucket.open("s3://bucket/y/z2").unwrap().get(&name("config"), 9).unwrap(), b"x");
}

#[test]
fn a_listing_of_many_pages_survives_what_goes_wrong_between_them() {
    let bucket = Bucket::new();
    let folder = bucket.server.folder("bucket").join("x/packs");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..3_500 {
        fs::write(folder.join(format!("{n:05}")), "x").unwrap();
    }
    let store = bucket.open("s3://bucket/x").unwrap();
    bucket.server.plan_every(3, "GET", Fault::Answer(503, "SlowDown"));
    bucket.server.plan_every(5, "GET", Fault::CutAnswer);
    let mut names: Vec<_> =
        listing(&store, "packs/").unwrap().into_iter().map(|listed| listed.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3_500);
    assert_eq!(listing(&store, "packs/001").unwrap().len(), 100);
}

#[test]
fn a_bandwidth_is_kept_both_ways_and_nobody_gives_up_meanwhile() {
    let bucket = Bucket::new();
    let pace = || Some(Arc::new(Pace::new(NonZeroU64::new(200_000).unwrap())));
    let bandwidth = Bandwidth { upload: pace(), download: pace() };
    let way = Way { bandwidth, ..bucket.way.clone() };
    let store = ObjectStore::create(&common::place("s3://bucket/x"), &way).unwrap();
    let bytes = noise(500_000);
    let took = |do_it: &dyn Fn()| {
        let began = Instant::now();
        do_it();
        began.elapsed()
    };
    // Longer than anybody waits who sees nothing move.
    assert!(PATIENCE.idle < Duration::from_secs(2));
    let up = took(&|| store.put(&name("packs/a"), &[&bytes]).unwrap());
    let down = took(&|| assert!(store.get(&name("packs/a"), bytes.len()).unwrap() == bytes));
    for took in [up, down] {
        assert!((2_000..5_000).contains(&took.as_millis()), "{up:?} up, {down:?} down");
    }
    // Two at once share it.
    let both = took(&|| {
        std::thread::scope(|scope| {
            for n in 0..2 {
                let (store, bytes) = (&store, &bytes[..200_000]);
                scope.spawn(move || store.put(&name(&format!("packs/b{n}")), &[bytes]).unwrap());
            }
        });
    });
    assert!(both.as_millis() >= 1_500, "{both:?}");
}
