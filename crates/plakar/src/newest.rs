//! What this client last saw published at a place. A store that serves what was there earlier, or hides what is newest, is
//! found out by that: a snapshot may be removed, but then the log says so for ever.

use crate::format;
use crate::local::{Local, write_file};
use crate::location::Location;
use crate::output::Output;
use plakar_engine::id::{ReplicaId, SessionId};
use plakar_engine::repository::Repository;
use std::fs;

const FOLDER: &str = "newest";

/// What was the newest publication of a repository.
#[derive(Debug, PartialEq, Eq)]
struct Newest {
    replica: String,
    session: String,
    /// When its snapshot was made, in seconds since 1970.
    made: i64,
}

impl Newest {
    fn parse(text: &str) -> Option<Newest> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let (replica, session) = (words.next()?, words.next()?);
        Some(Newest { replica, session, made: words.next()?.parse().ok()? })
    }
}

impl Local {
    /// What to say of a repository that knows nothing of what was its newest snapshot when it was last used from here. Of one
    /// whose log is damaged other things are said.
    pub fn rolled_back(&self, place: &Location, repository: &Repository) -> Option<String> {
        let known = self.newest(place)?;
        let session = SessionId::from_hex(&known.session)?;
        let view = &repository.state().view;
        let is_known = view.finished(session) || view.removed(session);
        let is_whole = repository.damaged().is_empty();
        let is_same = known.replica == repository.base().replica().id.hex();
        (is_same && is_whole && !is_known).then(|| {
            let made = format::time(known.made);
            format!(
                "{place}: the snapshot of {made}, which was here before, is neither here nor removed: what is served is older, or \
                 hides what is newest"
            )
        })
    }

    /// Remembers what is the newest in a repository now.
    pub fn saw(&self, place: &Location, repository: &Repository, output: &Output) {
        let snapshots = repository.state().snapshots();
        // By the store's clock: what a snapshot says of its own time may be anything.
        let newest = snapshots.iter().max_by_key(|one| (one.received_ms, one.row.created, one.session));
        if let Some(newest) = newest {
            let replica = repository.base().replica().id;
            self.published(place, replica, newest.session, newest.row.created.secs, output);
        }
    }

    /// Remembers what was published just now.
    pub fn published(
        &self,
        place: &Location,
        replica: ReplicaId,
        session: SessionId,
        made: i64,
        output: &Output,
    ) {
        let new = Newest { replica: replica.hex(), session: session.hex(), made };
        let Some(file) = self.place_file(FOLDER, place).filter(|_| self.newest(place).as_ref() != Some(&new))
        else {
            return;
        };
        let text = format!("{} {} {}\n", new.replica, new.session, new.made);
        if let Err(e) = write_file(&file, text.as_bytes()) {
            output.note(&format!("cannot remember what was published: {}: {e}", file.display()));
        }
    }

    fn newest(&self, place: &Location) -> Option<Newest> {
        Newest::parse(&fs::read_to_string(self.place_file(FOLDER, place)?).ok()?)
    }
}
