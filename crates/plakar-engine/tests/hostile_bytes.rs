//! A short seeded run of every fuzz target, beginning with the golden vectors and with what the encoders make: as the
//! fuzzer does it, so that decoders that panic or take what no encoder writes are found by `cargo test`.
//!
//! `PLAKAR_SEED` and `PLAKAR_EXECUTIONS` choose another run. `PLAKAR_CORPUS=DIR` writes what it begins with to `DIR/TARGET/`,
//! for the fuzzer to begin with.

use plakar_testkit::fuzz::{self, Mutator};
use std::path::Path;
use std::time::Instant;

fn golden(target: &str) -> Vec<Vec<u8>> {
    let formats: &[&str] = match target {
        "repository_records" => &["replica", "config"],
        other => &[other],
    };
    let lines = include_str!("data/golden.txt").lines().filter_map(|line| line.split_once(" = "));
    lines
        .filter(|(name, _)| formats.iter().any(|format| name.split('/').next() == Some(format)))
        .map(|(_, digits)| {
            (0..digits.len()).step_by(2).map(|n| u8::from_str_radix(&digits[n..n + 2], 16).unwrap()).collect()
        })
        .collect()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn no_decoder_panics_or_takes_what_no_encoder_writes() {
    let (seed, executions) = (number("PLAKAR_SEED", 1), number("PLAKAR_EXECUTIONS", 20_000));
    for (target, law) in fuzz::ALL {
        let start = Instant::now();
        let mut corpus = fuzz::seeds(target);
        corpus.extend(golden(target));
        assert!(!corpus.is_empty(), "{target}");
        corpus.iter().for_each(|bytes| law(bytes));
        write_corpus(target, &corpus);
        corpus.push(Vec::new());
        let mut random = Mutator::new(seed);
        for n in 0..executions {
            let bytes = random.mutate(&corpus);
            let result = std::panic::catch_unwind(|| law(&bytes));
            assert!(
                result.is_ok(),
                "{target}, seed {seed}, execution {n}: {}",
                plakar_engine::id::hex(&bytes)
            );
        }
        println!("{target}: {executions} executions, seed {seed}, {} ms", start.elapsed().as_millis());
    }
}

fn write_corpus(target: &str, corpus: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("PLAKAR_CORPUS") else { return };
    let folder = Path::new(&folder).join(target);
    std::fs::create_dir_all(&folder).unwrap();
    for bytes in corpus {
        std::fs::write(folder.join(blake3::hash(bytes).to_hex().as_str()), bytes).unwrap();
    }
}

#[test]
fn every_function_has_its_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder.join("fuzz_targets"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut expected: Vec<_> = fuzz::ALL.iter().map(|(name, _)| format!("{name}.rs")).collect();
    expected.sort();
    assert_eq!(files, expected);
    for (name, _) in fuzz::ALL {
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        let source = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("plakar_testkit::fuzz::{name}(data)")), "{name}");
    }
}
