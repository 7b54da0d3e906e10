//! The state of a repository: what follows from the facts of its log.

use super::fact::{Bad, Fact, MarkId, Partial, Prepared, Published, Row, SegmentRef};
use super::reader::{Log, LogObject};
use crate::id::{NodeId, ObjectHash, SessionId};
use crate::protocol::{self, Folded, Root};
use plakar_store::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The protocol's view of a log.
pub type View = protocol::View<SessionId, ObjectHash, MarkId>;
/// A fact as the protocol sees it.
pub type ProtocolFact = protocol::Fact<SessionId, ObjectHash, MarkId>;

/// What a log says, taken together.
#[derive(Default)]
pub struct State {
    /// What is visible, announced, marked, dead.
    pub view: View,
    /// What each session published, visible or not, and when the store received it.
    rows: HashMap<SessionId, (Row, i64)>,
    /// How far each unfinished session is, by its latest Prepared.
    partials: HashMap<SessionId, (Partial, i64)>,
    /// The segments that count, each once.
    segments: Vec<(ObjectHash, SegmentRef)>,
    known_segments: HashSet<ObjectHash>,
    /// Segments that count no more, whoever names them.
    merged: BTreeSet<ObjectHash>,
}

impl State {
    /// What this log says.
    pub fn of(log: &Log) -> State {
        State::of_objects(log.objects().map(|(_, object)| object))
    }

    /// What these objects say.
    pub fn of_objects<'o>(objects: impl IntoIterator<Item = &'o LogObject>) -> State {
        let mut state = State::default();
        for object in objects {
            object.facts.iter().for_each(|fact| state.add(fact, object.received_ms));
        }
        state.segments.retain(|(hash, _)| !state.merged.contains(hash));
        state
    }

    /// Whether this says everything that stays true for good of what `other` says, but for segments.
    pub fn says(&self, other: &State) -> bool {
        let mut theirs = other.view.fold();
        // Packs are announced by segments, too, and those are not compared here; the tree of a void session is a hint.
        theirs.announced.clear();
        theirs.void.iter_mut().for_each(|(_, root)| *root = Root::None);
        let mut both = self.view.clone();
        both.add_folded(&theirs);
        let finished = |session: &SessionId| other.view.finished(*session);
        let mut rows = other.rows.iter().filter(|(session, _)| finished(session));
        let same = |(session, (row, _)): (&SessionId, &(Row, i64))| {
            self.rows.get(session).is_some_and(|(mine, _)| mine == row)
        };
        both.fold() == self.view.fold() && rows.all(same) && other.merged.is_subset(&self.merged)
    }

    fn add(&mut self, fact: &Fact, received_ms: i64) {
        if let Fact::Checkpoint(checkpoint) = fact {
            self.view.add_folded(&folded(checkpoint));
            for published in &checkpoint.published {
                if let Some(row) = &published.row {
                    self.rows.insert(published.session, (row.clone(), published.received_ms));
                }
            }
            checkpoint.segments.iter().for_each(|segment| self.segment(segment));
            self.merged.extend(&checkpoint.merged);
            return;
        }
        protocol_facts(fact).iter().for_each(|fact| self.view.add(fact));
        if let Fact::Prepared(prepared) = fact {
            prepared.segments.iter().for_each(|segment| self.segment(segment));
            if let Some(row) = &prepared.row {
                let (_, at) = self.rows.entry(prepared.session).or_insert((row.clone(), received_ms));
                *at = (*at).min(received_ms);
            }
            if let Some(partial) = &prepared.partial {
                let latest = self.partials.entry(prepared.session).or_insert((partial.clone(), received_ms));
                if latest.1 <= received_ms {
                    *latest = (partial.clone(), received_ms);
                }
            }
        }
    }

    fn segment(&mut self, segment: &SegmentRef) {
        let hash = segment.hash();
        if self.known_segments.insert(hash) {
            self.segments.push((hash, segment.clone()));
        }
    }

    /// The visible snapshots, oldest first. One that was published twice, because two clients brought it at the same
    /// time, is one snapshot: the publication that was received first stands for it.
    pub fn snapshots(&self) -> Vec<Snapshot<'_>> {
        let mut all = self.publications();
        all.dedup_by(|later, first| {
            let same = later.row == first.row;
            if same && later.received_ms < first.received_ms {
                std::mem::swap(later, first);
            }
            same
        });
        all
    }

    /// What is visible, publication by publication.
    pub fn publications(&self) -> Vec<Snapshot<'_>> {
        let mut all: Vec<_> = self
            .view
            .visible_sessions()
            .filter_map(|session| {
                let (row, received_ms) = self.rows.get(&session)?;
                Some(Snapshot { session, row, received_ms: *received_ms })
            })
            .collect();
        all.sort_by_key(|s| (s.row.created, s.row.uuid, s.session));
        all
    }

    /// What was published and then removed.
    pub fn removed(&self) -> impl Iterator<Item = Snapshot<'_>> {
        let removed = self.rows.iter().filter(|(session, _)| self.view.removed(**session));
        removed.map(|(session, (row, received_ms))| Snapshot {
            session: *session,
            row,
            received_ms: *received_ms,
        })
    }

    /// The snapshots that are removed with all their publications, oldest first, each once: by one that ended. Of what
    /// they need, some may be gone.
    pub fn removed_snapshots(&self) -> Vec<Snapshot<'_>> {
        let mut visible = HashMap::<_, Vec<_>>::new();
        for published in self.publications() {
            visible.entry(published.row.uuid).or_default().push(published.row);
        }
        let is_visible = |row: &Row| visible.get(&row.uuid).is_some_and(|rows| rows.contains(&row));
        let ended = |s: &Snapshot<'_>| self.view.finished(s.session) && !is_visible(s.row);
        let mut all: Vec<_> = self.removed().filter(ended).collect();
        all.sort_by_key(|s| (s.row.created, s.row.uuid, s.session));
        all.dedup_by(|later, first| later.row == first.row);
        all
    }

    /// The latest partial root of every session that neither ended nor is void, with when it was received.
    pub fn unfinished(&self) -> impl Iterator<Item = (SessionId, &Partial, i64)> {
        let unfinished = |session: &SessionId| self.view.unfinished(*session);
        self.partials.iter().filter(move |(s, _)| unfinished(s)).map(|(s, (p, at))| (*s, p, *at))
    }

    /// The tree that a session published, or has stored so far.
    pub fn root(&self, session: SessionId, kind: Root) -> Option<NodeId> {
        match kind {
            Root::None => None,
            Root::Partial => self.partials.get(&session).map(|(partial, _)| partial.root.node),
            Root::Publication => self.rows.get(&session).map(|(row, _)| row.root.node),
        }
    }

    /// The segments that count, with the hash of each.
    pub fn segments(&self) -> &[(ObjectHash, SegmentRef)] {
        &self.segments
    }

    /// Whether this segment was merged into others: whoever names it, it need not be there.
    pub fn is_merged(&self, segment: &ObjectHash) -> bool {
        self.merged.contains(segment)
    }

    /// A checkpoint of everything in `log` that can be covered: what it covers and what it says instead, without
    /// segments. `None` when there is nothing to cover.
    pub fn fold(&self, log: &Log) -> Option<(Checkpoint, Vec<Name>)> {
        let mut names = Vec::new();
        for (name, object) in log.objects() {
            let may = object.facts.iter().all(|fact| match fact {
                Fact::Checkpoint(_) => true,
                fact => protocol_facts(fact).iter().all(|fact| self.view.may_cover(fact)),
            });
            if may {
                names.push(name.clone());
            }
        }
        if names.is_empty() {
            return None;
        }
        let folded = self.view.fold();
        let published = folded
            .finished
            .iter()
            .map(|(session, _)| {
                let row = self.rows.get(session);
                Published {
                    session: *session,
                    row: row.map(|(row, _)| row.clone()),
                    received_ms: row.map_or(0, |(_, at)| *at),
                }
            })
            .collect();
        let checkpoint = Checkpoint {
            covers: names
                .iter()
                .filter_map(super::object::hash_in_name)
                .chain(log.covered().iter().copied())
                .collect(),
            published,
            removed: folded.removed,
            dead: folded.dead,
            void: folded.void.into_iter().map(|(session, _)| session).collect(),
            marks: folded.marks,
            bad: folded.bad.into_iter().map(|(pack, offset)| Bad { pack, offset }).collect(),
            segments: Vec::new(),
            merged: self.merged.iter().copied().collect(),
        };
        Some((checkpoint, names))
    }
}

pub use super::fact::Checkpoint;

/// One visible snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The session that published it.
    pub session: SessionId,
    /// What it says.
    pub row: &'a Row,
    /// When the store received it, in milliseconds since 1970.
    pub received_ms: i64,
}

fn folded(checkpoint: &Checkpoint) -> Folded<SessionId, ObjectHash, MarkId> {
    let root = |row: &Option<Row>| if row.is_some() { Root::Publication } else { Root::None };
    Folded {
        finished: checkpoint.published.iter().map(|p| (p.session, root(&p.row))).collect(),
        void: checkpoint.void.iter().map(|s| (*s, Root::None)).collect(),
        removed: checkpoint.removed.clone(),
        // The packs that the segments name are announced; they are added as the segments are opened.
        announced: Vec::new(),
        dead: checkpoint.dead.clone(),
        marks: checkpoint.marks.clone(),
        bad: checkpoint.bad.iter().map(|b| (b.pack, b.offset)).collect(),
    }
}

/// What the protocol sees of a fact; nothing of a checkpoint, which is folded in another way.
fn protocol_facts(fact: &Fact) -> Option<ProtocolFact> {
    Some(match fact {
        Fact::Prepared(p) => protocol::Fact::Prepared {
            session: p.session,
            pins: p.pins.clone(),
            packs: p.packs.clone(),
            root: root_of(p),
        },
        Fact::Final(session) => protocol::Fact::Final { session: *session },
        Fact::Mark(m) => {
            protocol::Fact::Mark { mark: m.id, packs: m.packs.clone(), revokes: m.revokes.clone() }
        }
        Fact::Dead(mark) => protocol::Fact::Dead { mark: *mark },
        Fact::Removed(session) => protocol::Fact::Removed { session: *session },
        Fact::Bad(b) => protocol::Fact::Bad { pack: b.pack, block: b.offset },
        Fact::Checkpoint(_) => return None,
    })
}

fn root_of(prepared: &Prepared) -> Root {
    if prepared.row.is_some() {
        Root::Publication
    } else if prepared.partial.is_some() {
        Root::Partial
    } else {
        Root::None
    }
}

/// Snapshots by UUID, for prefix lookups.
pub fn by_uuid<'a>(snapshots: &[Snapshot<'a>]) -> BTreeMap<String, Snapshot<'a>> {
    snapshots.iter().map(|s| (s.row.uuid_text(), *s)).collect()
}
