//! Finding, opening and unlocking the repository.

use crate::context::Context;
use crate::exit::{Failure, Result};
use crate::kept;
use crate::known::Seen;
use crate::location::Location;
use crate::passphrase::{Passphrase, Source, TRIES};
use plakar_engine::Error;
use plakar_engine::crypto::seal::Suite;
use plakar_engine::repository::records::{Config, Replica};
use plakar_engine::repository::{Locked, Repository, Unlocked};
use plakar_store::Store;
use plakar_store::wrap::Counting;
use std::sync::Arc;

/// What a repository is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only to be read.
    Read,
    /// To be written to as well.
    Write,
}

/// A repository whose keys are known, and where it is kept.
pub struct Place {
    /// Where, absolute.
    pub location: Location,
    /// To be written through.
    pub store: Arc<dyn Store>,
    /// What is known of it without its log.
    pub unlocked: Unlocked,
    /// What opened it, if it is encrypted.
    pub passphrase: Option<Passphrase>,
}

impl Place {
    /// Reads the log. What is damaged in it is told about.
    pub fn open(&self, context: &Context) -> Result<Repository> {
        let repository = self.unlocked.clone().open()?;
        for what in repository.damaged() {
            context.output.damage(&what);
        }
        mind_rollback(context, &self.location, &repository);
        Ok(repository)
    }
}

/// Where the repository is that the command line, the environment or the configuration names.
pub fn location(context: &Context) -> Result<Location> {
    match context.named()? {
        Some(typed) => context.place(typed),
        None => default_location(context),
    }
}

/// Where the repository is when nobody names one.
fn default_location(context: &Context) -> Result<Location> {
    match &context.local.home {
        Some(home) => Ok(Location::Folder(home.join(".plakar").join("store"))),
        None => Err(Failure::failed("there is no home directory, so there is no default repository")
            .hint("name one: 'plakar on REPOSITORY ...'")),
    }
}

/// Opens the store at a location.
pub fn open_store(context: &Context, location: &Location) -> Result<(Arc<dyn Store>, Location)> {
    let (store, location) = location.open(&context.line)?;
    Ok((watched(store, context), location))
}

/// The store, counting what is asked of it if somebody wants to know.
pub fn watched(store: Arc<dyn Store>, context: &Context) -> Arc<dyn Store> {
    if !context.trace {
        return store;
    }
    let counting = Arc::new(Counting::new(store));
    context.counting.borrow_mut().push(counting.clone());
    counting
}

/// Tells what a store cannot promise, to whoever is about to write to it.
pub fn tell_weakness(context: &Context, store: &dyn Store) {
    if let Some(what) = store.weakness() {
        context.output.warning(&what);
    }
}

/// Finds the repository and unlocks it, asking for the passphrase if need be.
pub fn unlock(context: &Context, purpose: Purpose) -> Result<Place> {
    let (store, location) = open_store(context, &location(context)?)?;
    let locked = Locked::open(store.clone())?;
    if purpose == Purpose::Write {
        tell_weakness(context, &*store);
    }
    let encrypted = locked.is_encrypted();
    let store = kept::keeping(context, store, &location, &locked)?;
    let locked = locked.through(store.clone());
    // Before a passphrase is asked for, let alone anything written.
    context.local.refuse_downgrade(&location, encrypted)?;
    let (unlocked, passphrase) = match encrypted {
        false => (locked.unlock(None)?, None),
        true => {
            let (unlocked, passphrase) =
                try_passphrases(context, &locked, &context.passphrase(context.named()?)?)?;
            (unlocked, Some(passphrase))
        }
    };
    meet(context, &location, &unlocked, purpose)?;
    Ok(Place { location, store, unlocked, passphrase })
}

/// Makes sure that an unlocked repository is the one that was there before, and that it may be used like this.
pub fn meet(context: &Context, location: &Location, unlocked: &Unlocked, purpose: Purpose) -> Result<()> {
    // As it is now: the store may have answered otherwise before.
    let seen = seen(unlocked.replica(), unlocked.config());
    match context.local.meet(location, &seen, &context.output)? {
        Some(original) => mind_twin(context, location, &original, purpose),
        None => Ok(()),
    }
}

/// Tells of a repository that is older than it was; else remembers how new it is.
pub fn mind_rollback(context: &Context, place: &Location, repository: &Repository) {
    match context.local.rolled_back(place, repository) {
        Some(what) => context.output.warning(&what),
        None => context.local.saw(place, repository, &context.output),
    }
}

/// Remembers a repository that was made just now, without its keys.
pub fn meet_locked(context: &Context, location: &Location, locked: &Locked) -> Result<()> {
    let seen = seen(locked.replica(), locked.config());
    context.local.meet(location, &seen, &context.output).map(drop)
}

fn seen(replica: &Replica, config: &Config) -> Seen {
    Seen { replica: replica.id, domain: config.domain, encrypted: config.suite() == Some(Suite::Xaes) }
}

/// What is to be done about a repository with the replica id of another one: it may be read.
pub fn mind_twin(context: &Context, twin: &Location, original: &Location, purpose: Purpose) -> Result<()> {
    let what = format!("{twin}: has the same replica ID as {original}, so it must be a copy of that");
    let hint = format!("'plakar on {twin} adopt' gives it one of its own");
    match purpose {
        Purpose::Read => {
            context.output.warning(&format!("{what}; {hint}"));
            Ok(())
        }
        Purpose::Write => Err(Failure::failed(format!("{what}, and is not written to")).hint(hint)),
    }
}

/// Unlocks an encrypted repository with what comes from `source`, as often as somebody there may try.
pub fn try_passphrases(
    context: &Context,
    locked: &Locked,
    source: &Source,
) -> Result<(Unlocked, Passphrase)> {
    let mut tries = if source.may_try_again() { TRIES } else { 1 };
    loop {
        tries -= 1;
        let passphrase = source.get()?;
        match locked.unlock(Some(&passphrase)) {
            Ok(unlocked) => return Ok((unlocked, passphrase)),
            Err(e @ Error::WrongPassphrase(_)) if tries > 0 => context.output.warning(&e.to_string()),
            Err(e) => return Err(e.into()),
        }
    }
}
