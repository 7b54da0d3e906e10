//! Operations that nobody may do: each leaves out what a rule asks for. They are made of what the engine offers.

use super::broken::Broken;
use crate::world::open;
use plakar_engine::Result;
use plakar_engine::block::{Compression, ItemId};
use plakar_engine::crypto::seal::Sealer;
use plakar_engine::id::SessionId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::fact::{Fact, Prepared, Row};
use plakar_engine::log::object::encode;
use plakar_engine::pack::pack_name;
use plakar_engine::repository::Repository;
use plakar_engine::tree::Time;
use plakar_engine::write::{Session, SessionOptions};
use plakar_store::Store;
use std::sync::Arc;

const NOW: i64 = 1_700_000_000;

/// Does what this rule forbids, to something that `nth` chooses.
pub fn run(store: &Arc<dyn Store>, author: Author, broken: Broken, made: i64, nth: u64) -> Result<()> {
    let repo = open(store.clone())?;
    match broken {
        Broken::FinishesOthers => finish_others(&repo, &**store, &author),
        Broken::UndeleteAsksForRootOnly => match removed(&repo, nth) {
            Some(row) => publish_if_root_is_there(repo, store, author, row),
            None => Ok(()),
        },
        Broken::ResumeDoesNotAsk => match described(&repo, made, nth) {
            Some(row) => publish_if_root_is_there(repo, store, author, row),
            None => Ok(()),
        },
        Broken::UndeleteDoesNotLook => {
            let Some(row) = removed(&repo, nth) else { return Ok(()) };
            let session = SessionId::random();
            let prepared = Prepared { session, row: Some(row), ..Prepared::default() };
            put(&repo, &**store, &author, Fact::Prepared(Box::new(prepared)))?;
            put(&repo, &**store, &author, Fact::Final(session))
        }
        _ => unreachable!("{broken:?} is not an operation"),
    }
}

fn put(repo: &Repository, store: &dyn Store, author: &Author, fact: Fact) -> Result<()> {
    let sealer = Sealer::plain(repo.base().config().domain);
    let (name, bytes) = encode(&[fact], author, &sealer, NOW);
    store.put(&name, &[&bytes])?;
    store.barrier()?;
    Ok(())
}

/// Puts the Dead of a Mark that somebody else has put, and deletes its packs.
fn finish_others(repo: &Repository, store: &dyn Store, author: &Author) -> Result<()> {
    let open: Vec<_> = repo.state().view.open_marks().collect();
    for fact in repo.log().objects().flat_map(|(_, object)| &object.facts) {
        if let Fact::Mark(mark) = fact
            && open.contains(&mark.id)
        {
            put(repo, store, author, Fact::Dead(mark.id))?;
            for pack in &mark.packs {
                store.delete(&pack_name(pack))?;
            }
        }
    }
    Ok(())
}

/// A snapshot that was removed.
fn removed(repo: &Repository, nth: u64) -> Option<Row> {
    let removed: Vec<_> = repo.state().removed().map(|one| one.row.clone()).collect();
    removed.get(nth as usize % removed.len().max(1)).cloned()
}

/// What an unfinished session says it has captured so far, as a snapshot.
fn described(repo: &Repository, made: i64, nth: u64) -> Option<Row> {
    let roots: Vec<_> = repo.state().unfinished().map(|(_, partial, _)| partial.root).collect();
    let root = *roots.get(nth as usize % roots.len().max(1))?;
    let like = repo.state().publications().first().map(|one| one.row.clone())?;
    let uuid = SessionId::random().0;
    Some(Row { uuid, root, created: Time { secs: made, nanos: 0 }, ..like })
}

fn publish_if_root_is_there(
    repo: Repository,
    store: &Arc<dyn Store>,
    author: Author,
    row: Row,
) -> Result<()> {
    let compression = Compression { level: 1, verify: false };
    let options = SessionOptions { author, compression, workers: 1, now: NOW, may_admin: false };
    let (mut session, _) = Session::begin(repo, store.clone(), options, &[], &[])?;
    if session.has(&ItemId::from(row.root.node))? {
        session.publish(Some(row))?;
    }
    Ok(())
}
