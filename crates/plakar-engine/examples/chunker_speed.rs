//! How fast the chunkers cut, and how long their chunks are: `chunker_speed [FILE...]`.
//!
//! Each corpus is cut whole, several times over, on one thread; the best time counts. Run it in release mode.

use plakar_engine::chunker::{Chunker, ChunkerKind, ChunkerParams};
use std::time::Instant;

const LEN: usize = 64 << 20;
const ROUNDS: usize = 7;

/// Cuts all of `data`; returns the number of chunks.
fn cut_all(chunker: &Chunker, mut data: &[u8]) -> usize {
    let mut count = 0;
    while !data.is_empty() {
        data = &data[chunker.cut(data)..];
        count += 1;
    }
    count
}

/// `LEN` bytes of the lines of `seed` over and over, numbered so that nothing repeats.
fn repeated(seed: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(LEN + 256);
    for (number, line) in seed.lines().cycle().enumerate() {
        if data.len() >= LEN {
            break;
        }
        data.extend_from_slice(format!("{number} {line}\n").as_bytes());
    }
    data.truncate(LEN);
    data
}

fn main() {
    let mut random = vec![0; LEN];
    blake3::Hasher::new().finalize_xof().fill(&mut random);
    let source: String = [
        include_str!("../src/chunker/mod.rs"),
        include_str!("../src/chunker/fastcdc.rs"),
        include_str!("../src/chunker/prf.rs"),
        include_str!("chunker_speed.rs"),
    ]
    .concat();
    let mut corpora = vec![
        ("random".to_owned(), random),
        ("text".to_owned(), repeated(&source)),
        ("zeros".to_owned(), vec![0; LEN]),
    ];
    for path in std::env::args_os().skip(1) {
        let mut data = std::fs::read(&path).expect("the file can be read");
        data.truncate(2 * LEN);
        corpora.push((path.to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned(), data));
    }

    println!(
        "{:<24} {:>8} {:>12} {:>8} {:>12} {:>10}",
        "corpus", "kind", "min/avg/max", "GB/s", "mean", "chunks"
    );
    for (min, avg, max) in [(16, 64, 256), (64, 256, 1024)] {
        for (name, data) in &corpora {
            for kind in [ChunkerKind::FastCdc, ChunkerKind::Prf] {
                let params = ChunkerParams { kind, min: min << 10, avg: avg << 10, max: max << 10 };
                let chunker = Chunker::new(&params, &[7; 32]);
                let mut best = f64::INFINITY;
                let mut count = 0;
                for _ in 0..ROUNDS {
                    let start = Instant::now();
                    count = cut_all(&chunker, data);
                    best = best.min(start.elapsed().as_secs_f64());
                }
                println!(
                    "{name:<24} {:>8} {:>12} {:>8.2} {:>12} {count:>10}",
                    format!("{kind:?}").to_lowercase(),
                    format!("{min}/{avg}/{max}"),
                    data.len() as f64 / best / 1e9,
                    data.len() / count.max(1),
                );
            }
        }
    }
}
