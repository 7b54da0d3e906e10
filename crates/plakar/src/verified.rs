//! Which snapshots `check` proved on this machine, and when: a file for each repository, which may be thrown away.

use crate::local::{Local, write_file};
use crate::output::Output;
use plakar_engine::id::{ReplicaId, hex};
use plakar_engine::sync::Identity;
use std::collections::{BTreeMap, HashSet};
use std::fs;

const FOLDER: &str = "verified";

/// When each snapshot of one repository was proven last, in seconds since 1970.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verified(BTreeMap<String, i64>);

impl Verified {
    /// When this one was, if it was.
    pub fn when(&self, snapshot: &Identity) -> Option<i64> {
        self.0.get(&key(snapshot)).copied()
    }
}

impl Local {
    /// What is remembered of a repository. A file that cannot be read says nothing.
    pub fn verified(&self, replica: ReplicaId) -> Verified {
        let file = self.state_file(FOLDER, &replica.hex());
        let text = file.and_then(|file| fs::read(file).ok());
        Verified(text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
    }

    /// Takes note that `proven` were, at `secs`. What is not among the repository's `snapshots` is forgotten.
    pub fn remember_verified(
        &self,
        replica: ReplicaId,
        proven: &[Identity],
        snapshots: &HashSet<Identity>,
        secs: i64,
        output: &Output,
    ) {
        let Some(file) = self.state_file(FOLDER, &replica.hex()) else { return };
        let keys: HashSet<_> = snapshots.iter().map(key).collect();
        let Verified(mut all) = self.verified(replica);
        all.retain(|key, _| keys.contains(key));
        all.extend(proven.iter().map(|snapshot| (key(snapshot), secs)));
        let text = serde_json::to_string(&all).expect("plain text") + "\n";
        if let Err(e) = write_file(&file, text.as_bytes()) {
            output.note(&format!("cannot remember what was verified: {}: {e}", file.display()));
        }
    }
}

fn key(snapshot: &Identity) -> String {
    format!("{}-{}", hex(&snapshot.uuid), hex(&snapshot.digest.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plakar_engine::log::fact::Digest;

    #[test]
    fn what_is_gone_is_forgotten_and_nonsense_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (local, output) = (Local::beneath(folder.path()), Output::new(false, false, true));
        let replica = ReplicaId([1; 16]);
        let snapshot = |n: u8| Identity { uuid: [n; 16], digest: Digest([n; 32]) };
        let all = |of: &[u8]| of.iter().map(|n| snapshot(*n)).collect();
        local.remember_verified(replica, &[snapshot(1), snapshot(2)], &all(&[1, 2, 3]), 7, &output);
        local.remember_verified(replica, &[snapshot(3)], &all(&[2, 3]), 8, &output);
        let verified = local.verified(replica);
        assert_eq!([1, 2, 3].map(|n| verified.when(&snapshot(n))), [None, Some(7), Some(8)]);
        assert_eq!(local.verified(ReplicaId([2; 16])), Verified::default());
        fs::write(local.state_file(FOLDER, &replica.hex()).unwrap(), "nonsense").unwrap();
        assert_eq!(local.verified(replica), Verified::default());
    }
}
