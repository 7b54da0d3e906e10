//! `fastcdc`: the gear hash; the definition is in the parent module.

use super::{ChunkerParams, table};

pub(super) struct FastCdc {
    gear: [u64; 256],
    min: usize,
    avg: usize,
    strict: u64,
    lax: u64,
}

impl FastCdc {
    pub(super) fn new(params: &ChunkerParams, key: &[u8; 32]) -> Self {
        let bits = params.avg.ilog2();
        let mask = |ones: u32| ((1 << ones) - 1) << (63 - ones);
        Self {
            gear: table("plakar v1 gear table", key),
            min: params.min as usize,
            avg: params.avg as usize,
            strict: mask(bits + 2),
            lax: mask(bits - 2),
        }
    }

    pub(super) fn table_and_masks(&self) -> (&[u64; 256], u64, u64) {
        (&self.gear, self.strict, self.lax)
    }

    /// `data` is longer than `min` and no longer than `max`.
    pub(super) fn cut(&self, data: &[u8]) -> usize {
        let avg = self.avg.min(data.len());
        let mut fp = 0;
        if let Some(at) = self.scan(&mut fp, &data[self.min..avg], self.strict) {
            return self.min + at;
        }
        if let Some(at) = self.scan(&mut fp, &data[avg..], self.lax) {
            return avg + at;
        }
        data.len()
    }

    /// Whether a chunk that may end at `at` and has no place to end before does end there. A hash of 64 bits has
    /// forgotten all but the last 64 bytes.
    pub(super) fn cuts_at(&self, data: &[u8], at: usize) -> bool {
        let mask = if at < self.avg { self.strict } else { self.lax };
        let mut fp = 0u64;
        for &byte in &data[self.min.max(at.saturating_sub(63))..=at] {
            fp = (fp << 1).wrapping_add(self.gear[byte as usize]);
        }
        fp & mask == 0
    }

    /// The first index in `data` whose byte makes the hash vanish under `mask`.
    fn scan(&self, fp: &mut u64, data: &[u8], mask: u64) -> Option<usize> {
        // One chain of dependent additions; unrolling leaves little else in its way.
        const STEP: usize = 8;
        let (steps, rest) = data.as_chunks::<STEP>();
        for (i, step) in steps.iter().enumerate() {
            for (j, &byte) in step.iter().enumerate() {
                *fp = (*fp << 1).wrapping_add(self.gear[byte as usize]);
                if *fp & mask == 0 {
                    return Some(i * STEP + j);
                }
            }
        }
        for (j, &byte) in rest.iter().enumerate() {
            *fp = (*fp << 1).wrapping_add(self.gear[byte as usize]);
            if *fp & mask == 0 {
                return Some(steps.len() * STEP + j);
            }
        }
        None
    }
}
