//! What holds of the chunkers whatever the data: they agree with their definition, keep to their sizes,
//! forget what came before, and fall into step again after an edit.

use plakar_engine::chunker::{Chunker, ChunkerKind, ChunkerParams, ParamsError};
use proptest::prelude::*;
use std::collections::BTreeSet;

mod chunker_reference;
use chunker_reference::{Reference, data, multiply};

const KINDS: [ChunkerKind; 2] = [ChunkerKind::FastCdc, ChunkerKind::Prf];

fn cuts_with(mut data: &[u8], mut cut: impl FnMut(&[u8]) -> usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !data.is_empty() {
        let length = cut(data);
        assert!(length > 0 && length <= data.len());
        lengths.push(length);
        data = &data[length..];
    }
    lengths
}

fn cuts(chunker: &Chunker, data: &[u8]) -> Vec<usize> {
    cuts_with(data, |data| chunker.cut(data))
}

/// Where chunks end.
fn ends(lengths: &[usize]) -> BTreeSet<usize> {
    lengths
        .iter()
        .scan(0, |end, length| {
            *end += length;
            Some(*end)
        })
        .collect()
}

fn any_params() -> impl Strategy<Value = ChunkerParams> {
    (prop::sample::select(&KINDS[..]), 8..13u32).prop_flat_map(|(kind, bits)| {
        let avg = 1 << bits;
        (2..avg / 64, avg / 64 + 1..avg / 16).prop_map(move |(min, max)| ChunkerParams {
            kind,
            min: min * 64,
            avg,
            max: max * 64,
        })
    })
}

/// Noise, text of few letters, and runs: pieces of each.
fn any_data() -> impl Strategy<Value = Vec<u8>> {
    let piece = (any::<u64>(), 0..3000usize, prop::sample::select(&[1u8, 2, 7, 64, 255][..]));
    prop::collection::vec(piece, 0..8).prop_map(|pieces| {
        let piece = |(seed, len, letters)| data(seed, len).into_iter().map(move |byte| byte % letters);
        pieces.into_iter().flat_map(piece).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_definition_cuts_so(params in any_params(), key: [u8; 32], data in any_data()) {
        let reference = Reference::new(&params, &key);
        let chunker = Chunker::new(&params, &key);
        prop_assert_eq!(cuts(&chunker, &data), cuts_with(&data, |data| reference.cut(data)));
    }

    #[test]
    fn the_fastcdc_crate_cuts_so(params in any_params(), key: [u8; 32], data in any_data()) {
        let params = ChunkerParams { kind: ChunkerKind::FastCdc, ..params };
        let [min, avg, max] = [params.min, params.avg, params.max].map(|size| size as usize);
        let chunker = Chunker::new(&params, &key);
        let (gear, strict, lax) = chunker.table_and_masks();
        let gear_ls = gear.map(|word| word << 1);
        cuts_with(&data, |data| {
            let length = chunker.cut(data);
            // The crate takes two bytes a step and never tests the last position of an odd tail.
            if data.len() >= max || data.len().is_multiple_of(2) {
                let (_, expected) = fastcdc::v2020::cut_gear(
                    data, min, avg, max, strict, lax, strict << 1, lax << 1, gear, &gear_ls,
                );
                assert_eq!(length, expected);
            }
            length
        });
    }

    #[test]
    fn chunks_keep_to_their_sizes(params in any_params(), key: [u8; 32], data in any_data()) {
        let lengths = cuts(&Chunker::new(&params, &key), &data);
        prop_assert_eq!(lengths.iter().sum::<usize>(), data.len());
        if let Some((last, others)) = lengths.split_last() {
            prop_assert!(*last <= params.max as usize);
            prop_assert!(others.iter().all(|n| (params.min as usize..=params.max as usize).contains(n)));
        }
    }

    #[test]
    fn how_the_file_is_read_is_not_seen(
        params in any_params(),
        key: [u8; 32],
        data in any_data(),
        reads in prop::collection::vec(1..5000usize, 1..20),
    ) {
        let chunker = Chunker::new(&params, &key);
        let mut reads = reads.into_iter().cycle();
        let mut window = Vec::new();
        let mut unread = &data[..];
        let mut lengths = Vec::new();
        loop {
            while window.len() < params.max as usize && !unread.is_empty() {
                let (read, rest) = unread.split_at(reads.next().unwrap().min(unread.len()));
                window.extend_from_slice(read);
                unread = rest;
            }
            if window.is_empty() {
                break;
            }
            lengths.push(chunker.cut(&window));
            window.drain(..lengths[lengths.len() - 1]);
        }
        prop_assert_eq!(lengths, cuts(&chunker, &data));
    }

    #[test]
    fn holes_are_cut_as_zeros(params in any_params(), key: [u8; 32], more in 0..5000usize) {
        let chunker = Chunker::new(&params, &key);
        let zeros = vec![0; params.max as usize + more];
        prop_assert_eq!(chunker.cut(&zeros), chunker.zero_cut());
        prop_assert_eq!(chunker.cut(&zeros[..params.max as usize]), chunker.zero_cut());
    }

    #[test]
    fn what_follows_a_cut_chunk_is_not_seen(params in any_params(), key: [u8; 32], data in any_data()) {
        let chunker = Chunker::new(&params, &key);
        let whole = chunker.cut(&data);
        prop_assert_eq!(chunker.cut(&data[..data.len().min(params.max as usize)]), whole);
        if whole < data.len() {
            // `fastcdc` decides on the byte after the cut.
            prop_assert_eq!(chunker.cut(&data[..whole + 1]), whole);
            prop_assert_eq!(chunker.cut(&data[..whole]), whole);
        }
    }
}

#[test]
fn an_insertion_costs_the_chunks_around_it() {
    for kind in KINDS {
        let params = ChunkerParams { kind, min: 1024, avg: 4096, max: 16384 };
        let chunker = Chunker::new(&params, &[9; 32]);
        for seed in 0..40 {
            let before = data(seed, 400_000);
            let at = 150_000 + 997 * seed as usize;
            let inserted = data(seed + 1000, 1 + 37 * seed as usize);
            let after = [&before[..at], &inserted, &before[at..]].concat();

            let old = ends(&cuts(&chunker, &before));
            let new = ends(&cuts(&chunker, &after));
            let near = 6 * params.max as usize;
            let shifted = |ends: &BTreeSet<usize>, from: usize, by: usize| -> Vec<usize> {
                ends.iter().filter(|end| **end > from).map(|end| end + by).collect()
            };
            assert!(old.range(..at).eq(new.range(..at)), "{kind:?} {seed}: nothing before the edit moved");
            assert_eq!(
                shifted(&old, at + near, inserted.len()),
                shifted(&new, at + near + inserted.len(), 0),
                "{kind:?} {seed}: in step again"
            );
        }
    }
}

#[test]
fn sizes_gather_above_the_average() {
    let data = data(7, 16 << 20);
    for kind in KINDS {
        let params = ChunkerParams { kind, min: 4096, avg: 16384, max: 65536 };
        let lengths = cuts(&Chunker::new(&params, &[5; 32]), &data);
        let mean = data.len() / lengths.len();
        assert!((17_500..20_500).contains(&mean), "{kind:?}: {mean}");
        let at_max = lengths.iter().filter(|length| **length == 65536).count();
        assert!(at_max <= 1, "{kind:?}: {at_max}");
    }
}

#[test]
fn keys_and_kinds_cut_differently() {
    let data = data(8, 1 << 20);
    let mut seen = BTreeSet::new();
    for kind in KINDS {
        for key in 0..4 {
            let params = ChunkerParams { kind, min: 1024, avg: 4096, max: 16384 };
            assert!(seen.insert(cuts(&Chunker::new(&params, &[key; 32]), &data)));
        }
    }
}

#[test]
fn parameters_out_of_bounds_are_refused() {
    let params = |min, avg, max| ChunkerParams { kind: ChunkerKind::Prf, min, avg, max };
    let check = |min, avg, max, expected| assert_eq!(params(min, avg, max).validate(), expected);
    for kind in KINDS {
        assert_eq!(ChunkerParams::with_default_sizes(kind).validate(), Ok(()));
    }
    check(128, 256, 320, Ok(()));
    check(128, 8 << 20, 15 << 20, Ok(()));
    check(0, 256, 512, Err(ParamsError::MinTooSmall));
    check(64, 256, 512, Err(ParamsError::MinTooSmall));
    check(128, 256, (15 << 20) + 64, Err(ParamsError::MaxTooLarge));
    check(256, 256, 512, Err(ParamsError::Order));
    check(128, 512, 512, Err(ParamsError::Order));
    check(128, u32::MAX, 512, Err(ParamsError::Order));
    check(128, 384, 512, Err(ParamsError::AvgNotPowerOfTwo));
    check(130, 256, 512, Err(ParamsError::NotMultipleOf64));
    check(128, 256, 500, Err(ParamsError::NotMultipleOf64));
}

#[test]
fn threads_share_a_chunker() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Chunker>();
    let chunker = Chunker::new(&ChunkerParams::with_default_sizes(ChunkerKind::Prf), &[42; 32]);
    assert!(!format!("{chunker:?}").contains("42"), "keys are not printed");
}

/// Rabin's test: a polynomial P of degree 64 is irreducible if x^(2^64) = x modulo P, and x^(2^32) - x has no
/// factor in common with it. The collision bound of `prf` stands on this.
#[test]
fn the_modulus_of_prf_is_irreducible() {
    const P: u128 = (1 << 64) | 0x1b;
    let square = |n: u32| (0..n).fold(2, |power, _| multiply(power, power));
    assert_eq!(square(64), 2);
    let (mut a, mut b) = (P, u128::from(square(32) ^ 2));
    while b != 0 {
        while a != 0 && a.ilog2() >= b.ilog2() {
            a ^= b << (a.ilog2() - b.ilog2());
        }
        (a, b) = (b, a);
    }
    assert_eq!(a, 1);
}
