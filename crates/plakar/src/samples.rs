//! How far `check -sample` has come, on this machine: a file for each repository, which may be thrown away.

use crate::local::{Local, write_file};
use crate::output::Output;
use plakar_engine::check::Sampled;
use plakar_engine::id::{ObjectHash, ReplicaId};
use serde::{Deserialize, Serialize};
use std::fs;

const FOLDER: &str = "samples";

/// How far it has come.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    /// The pack that was read last, in hexadecimal digits.
    after: Option<String>,
    /// When the first one after a beginning was read, in seconds since 1970.
    since: i64,
    /// When all packs had been read last: since then, and when that was.
    all: Option<(i64, i64)>,
}

impl Samples {
    /// The pack that was read last.
    pub fn after(&self) -> Option<ObjectHash> {
        ObjectHash::from_hex(self.after.as_ref()?)
    }

    /// Since when each pack was read at least once, if it was.
    pub fn all_since(&self) -> Option<i64> {
        self.all.map(|(since, _)| since)
    }

    /// What there is to be remembered after these were read, at `secs`.
    pub fn with(&self, sampled: &Sampled, secs: i64) -> Samples {
        let since = if self.after.is_some() { self.since } else { secs };
        let all = if sampled.reached_end { Some((since, secs)) } else { self.all };
        // What was read before the end and after the first belongs to the next turn as well, which thus begins now.
        let since = if sampled.reached_end { secs } else { since };
        Samples { after: Some(sampled.last.hex()), since, all }
    }
}

impl Local {
    /// How far it has come with a repository. A file that cannot be read says nothing.
    pub fn samples(&self, replica: ReplicaId) -> Samples {
        let text = self.state_file(FOLDER, &replica.hex()).and_then(|file| fs::read(file).ok());
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Takes note of it.
    pub fn remember_samples(&self, replica: ReplicaId, samples: &Samples, output: &Output) {
        let Some(file) = self.state_file(FOLDER, &replica.hex()) else { return };
        let text = serde_json::to_string(samples).expect("plain text") + "\n";
        if let Err(e) = write_file(&file, text.as_bytes()) {
            output.warning(&format!(
                "cannot remember what was read, so that the next sample is the same: {}: {e}",
                file.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_were_read_since_the_turn_began_that_reached_the_end() {
        let sampled = |n, reached_end| Sampled { packs: 1, of: 3, last: ObjectHash([n; 32]), reached_end };
        let mut samples = Samples::default();
        for (n, reached_end, secs, all) in [
            (1, false, 10, None),
            (2, false, 20, None),
            (3, true, 30, Some(10)),
            (1, false, 40, Some(10)),
            (3, true, 50, Some(30)),
        ] {
            samples = samples.with(&sampled(n, reached_end), secs);
            assert_eq!((samples.after(), samples.all_since()), (Some(ObjectHash([n; 32])), all), "{secs}");
        }
    }
}
