//! What a checkpoint says instead of the facts that it covers.

use super::{Id, Root, View};

/// The lasting part of a view: statements that stay true whatever is added later.
///
/// Because each of them is only ever true for good, a folded view may be added to any other, together with any
/// of the facts that it covers: deleting those one by one, or finding old ones again, changes no answer. What
/// [`View::may_cover`] refuses stays in the log as it is.
///
/// The names in it are sorted. It grows with what was ever removed, void or dead; forgetting those is not done here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folded<S, P, M> {
    /// Sessions that have a Final, with their root. The caller keeps the row of each visible or pinned one.
    pub finished: Vec<(S, Root)>,
    /// Sessions that were revoked: a Final that comes later makes nothing visible. The root matters only while
    /// somebody pins it.
    pub void: Vec<(S, Root)>,
    /// Publications that were removed, so that an old Final found again shows nothing.
    pub removed: Vec<S>,
    /// Packs that some Prepared names, void or not, except the dead.
    pub announced: Vec<P>,
    /// Packs of dead marks: their names are never used again.
    pub dead: Vec<P>,
    /// Dead marks, so that one found again without its Dead is not taken for an open one.
    pub marks: Vec<M>,
    /// Damaged blocks.
    pub bad: Vec<(P, u32)>,
}

impl<S: Id, P: Id, M: Id> From<&Folded<S, P, M>> for View<S, P, M> {
    fn from(folded: &Folded<S, P, M>) -> Self {
        let mut view = View::new();
        view.add_folded(folded);
        view
    }
}
