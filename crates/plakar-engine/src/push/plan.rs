//! What a push would read: the walk and the comparison, without a session. Nothing is opened and nothing is stored.

use super::base::{Base, BaseDir};
use super::capture::is_unchanged;
use super::hints::HintsReader;
use super::{Observer, Progress, PushOptions, choose_bases, source_digest};
use crate::error::{Error, Result};
use crate::read::{CACHE_BYTES_DEFAULT, Reader};
use crate::repository::Repository;
use crate::source::{Event, Item, Source};
use crate::tree::{Content, Kind};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a push would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planned {
    /// Items there are.
    pub items: u64,
    /// Of those that are no directories: not in the snapshot that the push would compare with.
    pub new: u64,
    /// In it, and perhaps no longer as they were.
    pub changed: u64,
    /// Regular files among the new and the changed,
    pub files_to_read: u64,
    /// with so many bytes. How many of those are stored already, only reading them would tell.
    pub bytes_to_read: u64,
}

/// Says what [`push`](super::push()) would read. `each` is told the path of what is new (`true`) or may have changed. It
/// compares with the same snapshot as a push, but not with what an interrupted push has left.
///
/// # Errors
/// If the repository cannot be read, or with [`Error::Interrupted`].
pub fn plan(
    repo: &Repository,
    source: &mut dyn Source,
    options: &PushOptions,
    observer: &mut dyn Observer,
    each: &mut dyn FnMut(&[u8], bool),
    interrupted: &AtomicBool,
) -> Result<Planned> {
    let chosen = choose_bases(repo, options, &source_digest(&options.host, &options.roots));
    let reader = Reader::new(repo, CACHE_BYTES_DEFAULT / 4);
    let mut base = chosen.snapshot.map(|base| Base {
        root: base.row.root.node,
        held: true,
        hints: HintsReader::open(options.hints.as_deref(), base.session),
    });
    let mut planned = Planned::default();
    let mut levels: Vec<Option<BaseDir>> = Vec::new();
    while let Some(event) = source.next() {
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        match event {
            Event::Enter(item) => {
                planned.items += 1;
                let beneath = match levels.last_mut() {
                    None => base.as_ref().and_then(|base| BaseDir::open(0, &reader, &base.root)),
                    Some(above) => above.as_mut().and_then(|above| above.find(&item.name)).and_then(|old| {
                        let Content::Directory(subtree) = &old.content else { return None };
                        BaseDir::open(0, &reader, &subtree.node)
                    }),
                };
                seen(&mut base, levels.len(), &item);
                levels.push(beneath);
            }
            Event::Leave { unreadable } => {
                levels.pop();
                if let Some(e) = unreadable {
                    observer.problem(&source.path(), &format!("cannot list all of the directory: {e}"));
                }
            }
            Event::Failed { error, .. } => {
                planned.items += 1;
                observer.problem(&source.path(), &format!("cannot be looked at: {error}"));
            }
            Event::Leaf(item) => {
                planned.items += 1;
                let old = levels.last_mut().and_then(|dir| dir.as_mut()).and_then(|dir| dir.find(&item.name));
                let seen = seen(&mut base, levels.len(), &item);
                match &old {
                    Some(old) if is_unchanged(options, &item, seen, old) => continue,
                    Some(_) => planned.changed += 1,
                    None => planned.new += 1,
                }
                if item.kind == Kind::File {
                    planned.files_to_read += 1;
                    planned.bytes_to_read += item.size;
                }
                each(&source.path(), old.is_none());
            }
        }
        observer.progress(&Progress { items: planned.items, ..Progress::default() });
    }
    Ok(planned)
}

/// The fingerprint of an item when the base was made; 0 if it is not known.
fn seen(base: &mut Option<Base>, depth: usize, item: &Item) -> u64 {
    let hints = base.as_mut().and_then(|base| base.hints.as_mut());
    match (depth, hints) {
        (0, _) | (_, None) => 0,
        (depth, Some(hints)) => hints.find(depth - 1, &item.name),
    }
}
