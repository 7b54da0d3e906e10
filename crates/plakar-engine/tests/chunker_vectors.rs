//! Cut points are format. This compares every one of a few with a text that a second implementation can read;
//! if it fails, the code is wrong: the text never changes, other cuts are another chunker id.

use plakar_engine::chunker::{Chunker, ChunkerKind, ChunkerParams};
use std::fmt::Write;

mod chunker_reference;
use chunker_reference::{Reference, aes_key, ciphertext, data, digest};

const VECTORS: &str = include_str!("data/chunker_vectors.txt");

fn key() -> [u8; 32] {
    std::array::from_fn(|i| i as u8)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cuts(chunker: &Chunker, mut data: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !data.is_empty() {
        lengths.push(chunker.cut(data));
        data = &data[lengths[lengths.len() - 1]..];
    }
    lengths
}

fn lengths(lengths: &[usize]) -> String {
    let lines: Vec<String> = lengths
        .chunks(12)
        .map(|line| line.iter().map(usize::to_string).collect::<Vec<_>>().join(" "))
        .collect();
    format!("  {}", lines.join("\n  "))
}

/// What the chunkers do today, in the form of the vectors.
fn render() -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(
        out,
        "Vectors of the chunkers: all numbers of chunks and bytes are decimal, all words hexadecimal."
    )?;
    writeln!(
        out,
        "data(s, n): the first n bytes of BLAKE3's extended output for s as 8 little-endian bytes."
    )?;
    writeln!(out, "\nkey {}", hex(&key()))?;
    for kind in [ChunkerKind::FastCdc, ChunkerKind::Prf] {
        let default = ChunkerParams::with_default_sizes(kind);
        let small = ChunkerParams { kind, min: 128, avg: 256, max: 320 };
        let middle = ChunkerParams { kind, min: 1024, avg: 4096, max: 16320 };
        writeln!(out, "\n== chunker {}", kind.id())?;
        let chunker = Chunker::new(&default, &key());
        let (table, ..) = chunker.table_and_masks();
        for i in [0, 1, 2, 127, 253, 254, 255] {
            writeln!(out, "table[{i}] {:016x}", table[i])?;
        }
        let hash = blake3::hash(&table.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
        writeln!(out, "BLAKE3 of the table, little-endian: {hash}")?;
        if kind == ChunkerKind::Prf {
            let aes_key = aes_key(&key());
            writeln!(out, "AES key {}", hex(&aes_key))?;
            for (name, window) in [
                ("64 zeros", vec![0; 64]),
                ("bytes 0 to 63", (0..64).collect()),
                ("data(0, 64)", data(0, 64)),
            ] {
                let digest = digest(table, window[..].try_into().unwrap());
                let ciphertext = hex(&ciphertext(&aes_key, digest));
                writeln!(out, "window of {name}: digest {digest:016x} ciphertext {ciphertext}")?;
            }
        }
        for (params, len) in [(default, 2 << 20), (middle, 100_000), (small, 6000)] {
            let chunker = Chunker::new(&params, &key());
            let (_, strict, lax) = chunker.table_and_masks();
            let ChunkerParams { min, avg, max, .. } = params;
            let [min_len, max_len] = [min, max].map(|size| size as usize);
            writeln!(out, "\n{min}/{avg}/{max}: strict {strict:016x} lax {lax:016x}")?;
            writeln!(out, "zeros: {}", chunker.zero_cut())?;
            for len in [0, 1, min_len - 1, min_len, min_len + 1] {
                writeln!(out, "data(1, {len}): {:?}", cuts(&chunker, &data(1, len)))?;
            }
            writeln!(out, "data(2, {len}):\n{}", lengths(&cuts(&chunker, &data(2, len))))?;
            let zeros = [vec![0; max_len + 10], data(3, max_len)].concat();
            writeln!(out, "{} zeros, data(3, {max_len}): {:?}", max_len + 10, cuts(&chunker, &zeros))?;
        }
        writeln!(out, "\n{}/{}/{}, first chunk of data(s, 400) under the key of 32 bytes k", 128, 256, 320)?;
        for (name, wanted) in [("min", 128), ("avg", 256), ("max - 1", 319), ("max", 320)] {
            // Some keys never cut `fastcdc` at exactly `min`: one byte alone decides there.
            let (k, s) = (0..=u8::MAX)
                .find_map(|k| {
                    let chunker = Chunker::new(&small, &[k; 32]);
                    let seed = (0..10_000).find(|seed| chunker.cut(&data(*seed, 400)) == wanted)?;
                    Some((k, seed))
                })
                .expect("some key does");
            writeln!(out, "exactly {name} = {wanted}: k = {k}, s = {s}")?;
        }
    }
    Ok(out)
}

#[test]
fn the_chunkers_cut_as_they_always_did() {
    let rendered = render().unwrap();
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/chunker_vectors.txt");
    std::fs::write(path, &rendered).unwrap();
    for (i, (is, was)) in rendered.lines().zip(VECTORS.lines()).enumerate() {
        assert_eq!(is, was, "line {}; all of it is in {path}", i + 1);
    }
    assert_eq!(rendered, VECTORS);
}

#[test]
fn the_reference_cuts_so_too() {
    for kind in [ChunkerKind::FastCdc, ChunkerKind::Prf] {
        let params = ChunkerParams { kind, min: 128, avg: 256, max: 320 };
        let reference = Reference::new(&params, &key());
        let data = data(2, 6000);
        let mut rest = &data[..];
        let mut all = Vec::new();
        while !rest.is_empty() {
            all.push(reference.cut(rest));
            rest = &rest[all[all.len() - 1]..];
        }
        let all = format!("data(2, 6000):\n{}\n", lengths(&all));
        assert!(VECTORS.contains(&all), "{kind:?} {all}");
    }
}

#[test]
fn ids_are_for_ever() {
    assert_eq!([ChunkerKind::FastCdc.id(), ChunkerKind::Prf.id()], [1, 2]);
    let known: Vec<_> = (0..=u8::MAX).filter_map(ChunkerKind::from_id).collect();
    assert_eq!(known, [ChunkerKind::FastCdc, ChunkerKind::Prf]);
}
