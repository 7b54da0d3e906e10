//! Other repositories than the one a command is about: finding, opening and unlocking them.

use crate::args::PeerKeys;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::kept;
use crate::location::Location;
use crate::passphrase::Source;
use crate::repo::{self, Place, Purpose};
use plakar_engine::Error;
use plakar_engine::repository::{Locked, Repository, Unlocked};
use plakar_store::Store;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A repository that is synced with, or compared.
pub struct Peer {
    /// As it was typed, printable.
    pub name: String,
    /// To be written through, if it may be written.
    pub store: Option<Arc<dyn Store>>,
    /// It, open.
    pub repository: Repository,
}

/// Where the passphrases of peers come from, if they are typed nowhere.
#[derive(Debug, Clone, Copy)]
pub struct Secrets<'a> {
    /// A file.
    pub keyfile: Option<&'a Path>,
    /// A command that prints it.
    pub command: Option<&'a OsStr>,
}

impl<'a> Secrets<'a> {
    /// As the flags say.
    pub fn of(flags: &'a PeerKeys) -> Secrets<'a> {
        Secrets { keyfile: flags.peer_keyfile.as_deref(), command: flags.peer_passphrase_command.as_deref() }
    }
}

impl Peer {
    /// Opens one beside the repository at `place`. For reading, nothing is kept that could write to it.
    pub fn open(
        context: &Context,
        place: &Place,
        typed: &OsStr,
        purpose: Purpose,
        secrets: &Secrets,
    ) -> Result<Peer> {
        let name = format::printable(typed.as_bytes());
        let (store, location) = open_store(context, typed, purpose)?;
        let locked = Locked::open(store.clone()).map_err(|e| with_hint(e.into(), &location, purpose))?;
        refuse_itself(place, &location, &locked, &name)?;
        if purpose == Purpose::Write {
            repo::tell_weakness(context, &*store);
        }
        let store = kept::keeping(context, store, &location, &locked)?;
        let locked = locked.through(store.clone());
        context.local.refuse_downgrade(&location, locked.is_encrypted())?;
        let source = Source::of_peer(secrets.keyfile, secrets.command, &name);
        let source = match context.secret(typed)?.filter(|_| source.may_try_again()) {
            Some(configured) => configured,
            None => source,
        };
        let unlocked = unlock(context, place, &locked, &name, &source)?;
        repo::meet(context, &location, &unlocked, purpose)?;
        let repository = unlocked.open()?;
        for what in repository.damaged() {
            context.output.damage(&format!("{name}: {what}"));
        }
        Ok(Peer { name, store: Some(store).filter(|_| purpose == Purpose::Write), repository })
    }
}

fn open_store(context: &Context, typed: &OsStr, purpose: Purpose) -> Result<(Arc<dyn Store>, Location)> {
    let location = context.place(typed)?;
    repo::open_store(context, &location).map_err(|failure| with_hint(failure, &location, purpose))
}

/// Where there is no repository, says how one comes about that can be synced to.
fn with_hint(failure: Failure, location: &Location, purpose: Purpose) -> Failure {
    let nothing_there = failure.code == Code::NoRepository && failure.hint.is_some();
    match (nothing_there, purpose) {
        (false, _) => failure,
        (true, Purpose::Read) => Failure { hint: None, ..failure },
        (true, Purpose::Write) => failure.hint(format!(
            "'plakar clone {location}' makes a copy of this repository there, 'plakar create -like REPOSITORY \
             {location}' an empty one like it"
        )),
    }
}

/// Nothing is synced with itself, nor with what cannot be told from it.
fn refuse_itself(place: &Place, location: &Location, locked: &Locked, name: &str) -> Result<()> {
    let same_place = match (place.location.identity(), location.identity()) {
        (Ok(own), Ok(other)) => own == other,
        _ => false,
    };
    if same_place {
        return Err(Failure::failed(format!("{name}: is this repository itself")));
    }
    if locked.replica().id == place.unlocked.replica().id {
        let what = "has the same replica ID as this repository, so one must be a copy of the other";
        return Err(Failure::failed(format!("{name}: {what}"))
            .hint(format!("'plakar on {location} adopt' gives it one of its own")));
    }
    Ok(())
}

fn unlock(
    context: &Context,
    place: &Place,
    locked: &Locked,
    name: &str,
    source: &Source,
) -> Result<Unlocked> {
    if !locked.is_encrypted() {
        return Ok(locked.unlock(None)?);
    }
    match locked.unlock_like(&place.unlocked) {
        Ok(unlocked) => return Ok(unlocked),
        // Of another domain, or not opened by what opens this one.
        Err(Error::WrongPassphrase(_) | Error::NeedsPassphrase(_)) => {}
        Err(e) => return Err(e.into()),
    }
    if source.may_try_again()
        && let Some(unlocked) = unlock_silently(place, locked)?
    {
        return Ok(unlocked);
    }
    let (unlocked, _) = repo::try_passphrases(context, locked, source).map_err(|failure| {
        let Failure { code, what, hint } = failure;
        // A wrong one is told with the place where it was tried.
        let is_named = code == Code::WrongPassphrase;
        let of_peer = |what: String| if is_named { what } else { format!("{name}: {what}") };
        Failure { code, what: what.map(of_peer), hint }
    })?;
    Ok(unlocked)
}

/// Before anybody is asked: many use one passphrase for all their repositories.
fn unlock_silently(place: &Place, locked: &Locked) -> Result<Option<Unlocked>> {
    for passphrase in place.passphrase.iter().cloned().chain(Source::environment()) {
        match locked.unlock(Some(&passphrase)) {
            Ok(unlocked) => return Ok(Some(unlocked)),
            Err(Error::WrongPassphrase(_)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(None)
}
