//! What is typed may be anything: a short seeded run of everything that reads words, as the decoders of the engine have one.
//! `PLAKAR_SEED` and `PLAKAR_EXECUTIONS` choose another.

use crate::format::printable;
use crate::location::Location;
use crate::{tags, units};
use plakar_testkit::fuzz::{Mutator, Target};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// By name; what each begins with has spaces between.
const ALL: [(&str, Target, &str); 4] = [
    ("sizes", sizes, "0 500 500B 1.5G 2GiB 3tb .5k 9223372036854775808 8EiB 1e3 0.0000001T"),
    ("spans", spans, "0 90s 15m 1.5h 7d 2w 1000000000000s .5d 0.w"),
    ("tags", typed_tags, "daily \u{a0}x\u{a0} a\u{202e}b \u{e9} \x1b[2J keep-me"),
    (
        "locations",
        locations,
        "/a/b ./x://y sqlite:///a/b.db sqlite://b.db @work s3://bucket/x?endpoint=http://h webdavs://h/p \
         sftp://me@h:22/~/x plakar+tls://h :// a\nb",
    ),
];

fn text(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_default()
}

/// A size is one that a file may have, and the same when it is typed as a number.
fn sizes(data: &[u8]) {
    if let Ok(bytes) = units::size(text(data)) {
        assert!(bytes <= 1 << 63);
        // Below this, all numbers are numbers with a point too.
        assert!(bytes > 1 << 53 || units::size(&bytes.to_string()) == Ok(bytes), "{bytes}");
    }
}

/// A time span is not negative, can be added to any time, and is the same in seconds.
fn spans(data: &[u8]) {
    if let Ok(secs) = units::seconds(text(data)) {
        assert!((0..=1_000_000_000_000).contains(&secs));
        assert_eq!(units::seconds(&format!("{secs}s")), Ok(secs));
    }
}

/// A tag can be shown as it is, and typed again as it is shown.
fn typed_tags(data: &[u8]) {
    if let Ok(tag) = tags::parse(text(data)) {
        assert!(!tag.is_empty() && tag.len() <= 255 && printable(tag.as_bytes()) == tag, "{tag:?}");
        assert_eq!(tags::parse(&tag), Ok(tag));
    }
}

/// A location is named as it was typed, byte for byte, and told in one line; a name of nothing is refused in words.
fn locations(data: &[u8]) {
    match Location::parse(OsStr::from_bytes(data)) {
        Ok(place) => {
            assert!(
                place.name().as_bytes() == data
                    && place.path().is_none_or(|path| !path.as_os_str().is_empty()),
                "{place}"
            );
            assert!(!place.to_string().contains('\n') && Location::parse(&place.name()).unwrap() == place);
        }
        Err(failure) => {
            let what = failure.what.expect("it says what");
            assert_eq!(printable(what.as_bytes()), what);
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn no_words_are_misread() {
    let (seed, executions) = (number("PLAKAR_SEED", 1), number("PLAKAR_EXECUTIONS", 20_000));
    for (target, law, begin) in ALL {
        let mut corpus: Vec<Vec<u8>> = begin.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        corpus.iter().for_each(|bytes| law(bytes));
        corpus.push(Vec::new());
        let mut random = Mutator::new(seed);
        for n in 0..executions {
            let bytes = random.mutate(&corpus);
            let result = std::panic::catch_unwind(|| law(&bytes));
            assert!(result.is_ok(), "{target}, seed {seed}, execution {n}: {}", bytes.escape_ascii());
        }
        println!("{target}: {executions} executions, seed {seed}");
    }
}
