//! `plakar sync`: brings snapshots to peers, from them, or both ways.
//!
//! `words` is what was typed, `chosen` which snapshots it is about, `transfer` one way between this repository and one
//! peer, `dry` the same without doing it.

mod chosen;
mod dry;
mod transfer;
mod words;

pub use chosen::identified;

use crate::args::Sync;
use crate::context::{Context, interruption};
use crate::exit::{Code, Failure, Result};
use crate::location;
use crate::output::Data;
use crate::peer::{Peer, Secrets};
use crate::repo::{self, Place, Purpose};
use crate::several::Several;
use chosen::Chosen;
use plakar_engine::repository::Repository;
use plakar_engine::sync::Selection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use words::{Direction, Words};

/// Syncs with each peer. All are opened before anything is moved, so that nobody is asked for a passphrase hours later.
pub fn run(context: &Context, args: &Sync) -> Result<Code> {
    let words = Words::parse(&args.words)?;
    refuse_contradictions(args, &words)?;
    // All peers are opened before anything is moved: one that is named twice would be sent everything twice.
    location::refuse_twice("sync", &context.places(words.peers))?;
    let (own, others) = purposes(args, words.direction);
    let place = repo::unlock(context, own)?;
    let here = place.open(context)?;
    let secrets = Secrets::of(&args.keys);
    let mut several = Several::new(&context.output);
    let mut peers = Vec::new();
    for typed in words.peers {
        peers.extend(several.take(Peer::open(context, &place, typed, others, &secrets))?);
    }
    let givers = peers.iter().map(|peer| &peer.repository).filter(|_| words.direction != Direction::To);
    let own = Some(&here).filter(|_| words.direction != Direction::From);
    if peers.is_empty() {
        return several.end();
    }
    let chosen = Chosen::find(words.snapshots, own.into_iter().chain(givers))?;
    let interrupted = interruption()?;
    if args.dry_run {
        dry::run(context, &here, &peers, words.direction, &chosen, &selection(args), &interrupted)?;
        return several.end();
    }
    let mut syncing = Syncing {
        context,
        place: &place,
        here: Some(here),
        chosen,
        selection: selection(args),
        interrupted,
        told_conflicts: BTreeSet::new(),
        data: Data::begin()?,
    };
    let result = syncing.all(peers, words.direction, &mut several);
    // What was done is told, even if the rest failed.
    syncing.data.end()?;
    result?;
    several.end()
}

fn refuse_contradictions(args: &Sync, words: &Words) -> Result<()> {
    if args.follow_removals && !words.snapshots.is_empty() {
        return Err(Failure::usage("sync: -follow-removals is about all snapshots: name none"));
    }
    if args.follow_removals && args.resurrect && words.direction == Direction::With {
        let what = "sync: -resurrect and -follow-removals contradict each other when snapshots go both ways";
        return Err(Failure::usage(what));
    }
    Ok(())
}

/// What this repository and its peers are opened for.
fn purposes(args: &Sync, direction: Direction) -> (Purpose, Purpose) {
    match direction {
        _ if args.dry_run => (Purpose::Read, Purpose::Read),
        Direction::To => (Purpose::Read, Purpose::Write),
        Direction::From => (Purpose::Write, Purpose::Read),
        Direction::With => (Purpose::Write, Purpose::Write),
    }
}

fn selection(args: &Sync) -> Selection {
    Selection { only: None, resurrect: args.resurrect, follow_removals: args.follow_removals }
}

/// A sync with several peers, under way.
struct Syncing<'a> {
    context: &'a Context,
    place: &'a Place,
    /// This repository as it is now; to be opened again after a failure.
    here: Option<Repository>,
    chosen: Chosen,
    /// But for the chosen snapshots.
    selection: Selection,
    interrupted: Arc<AtomicBool>,
    /// UUIDs of which it was told already that two snapshots have them.
    told_conflicts: BTreeSet<[u8; 16]>,
    data: Data,
}

impl Syncing<'_> {
    fn all(&mut self, peers: Vec<Peer>, direction: Direction, several: &mut Several) -> Result<()> {
        let mut done = Vec::new();
        for peer in peers {
            let result = match direction {
                Direction::To => self.send(peer),
                Direction::From => self.receive(peer),
                Direction::With => self.receive(peer).and_then(|peer| self.send(peer)),
            };
            done.extend(self.unless_interrupted(several, result)?);
        }
        if direction == Direction::With && done.len() > 1 {
            // What came from the later ones is new to the earlier ones.
            done.pop();
            for peer in done {
                let result = self.send(peer);
                self.unless_interrupted(several, result)?;
            }
        }
        Ok(())
    }

    /// Whoever interrupts one wants them all to end.
    fn unless_interrupted<T>(&self, several: &mut Several, result: Result<T>) -> Result<Option<T>> {
        match result {
            Err(failure) if self.interrupted.load(std::sync::atomic::Ordering::Relaxed) => Err(failure),
            result => several.take(result),
        }
    }

    fn send(&mut self, peer: Peer) -> Result<Peer> {
        let here = self.own()?;
        let Peer { name, store, repository } = peer;
        let store = store.expect("peers that are sent to are opened for writing");
        let way = transfer::Way { direction: Direction::To, peer: &name };
        let result = self.transfer(&way, &here, repository, &store);
        self.here = Some(here);
        Ok(Peer { repository: result?, store: Some(store), name })
    }

    fn receive(&mut self, peer: Peer) -> Result<Peer> {
        let here = self.own()?;
        let way = transfer::Way { direction: Direction::From, peer: &peer.name };
        let store = self.place.store.clone();
        self.here = Some(self.transfer(&way, &peer.repository, here, &store)?);
        Ok(peer)
    }

    fn own(&mut self) -> Result<Repository> {
        match self.here.take() {
            Some(here) => Ok(here),
            None => Ok(self.place.unlocked.clone().open()?),
        }
    }
}
