//! What is kept on this machine of repositories that are elsewhere: sealed pieces of their index and of their trees, so that
//! what a run reads is not fetched again by the next ([`plakar_store::wrap::Cached`]).
//!
//! ```text
//! ~/.cache/plakar/far/<what>    of one repository; <what> is the hash of its replica id, its domain, and its location
//! ```
//!
//! So another repository at the same place finds nothing here, nor does this one at another place, were it only because
//! somebody says it is this one. All folders together stay within `-cache-size`: one takes what the others leave it, at least
//! half, for which the oldest files of the others go. Folders have mode 0700 and files 0600. All of it may be deleted at any
//! time.
//!
//! What is kept is what the store said. So a command that judges the store itself reads past it, and one that met damage
//! forgets all it used: whatever it was that was wrong, the next one asks the store.

use crate::args::Command;
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::local::make_folder;
use crate::location::Location;
use plakar_engine::repository::Locked;
use plakar_store::Store;
use plakar_store::wrap::Cached;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

const FOLDER: &str = "far";
/// How much is kept unless somebody says otherwise, in bytes.
const BYTES_DEFAULT: u64 = 1 << 30;

/// A store of which something is kept.
pub type Keeping = Arc<Cached<Arc<dyn Store>>>;

/// Whether a command is about what the store has, not about what is in the repository.
pub fn reads_past(command: &Command) -> bool {
    matches!(
        command,
        Command::Check(_)
            | Command::Heal(_)
            | Command::Repair(_)
            | Command::Cleanup(_)
            | Command::Undelete(_)
            | Command::Key { .. }
    )
}

/// The store of the repository at a place, keeping what is read of it if that is elsewhere.
///
/// # Errors
/// When the configuration, which may say how much, is not understood.
pub fn keeping(
    context: &Context,
    store: Arc<dyn Store>,
    place: &Location,
    locked: &Locked,
) -> Result<Arc<dyn Store>> {
    let wanted = !context.reads_past && !store.capabilities().local;
    let Some(above) = context.local.cache_folder(FOLDER).filter(|_| wanted) else { return Ok(store) };
    let max = match context.cache_bytes {
        Some(max) => max,
        None => context.config()?.cache_bytes.unwrap_or(BYTES_DEFAULT),
    };
    let own = above.join(name(place, locked));
    if let Err(e) = make_folder(&own) {
        tell_once(context, &own, &e.to_string());
        return Ok(store);
    }
    let cached = Arc::new(Cached::new(store, &own, room(&above, &own, max)));
    context.kept.borrow_mut().push((own, cached.clone()));
    Ok(cached)
}

/// What is to be done when a command is over: with what turned out to be damaged, and with what could not be kept.
pub fn settle(context: &Context, code: Code) {
    let kept = context.kept.borrow();
    if code == Code::Damage || context.output.saw_damage() {
        kept.iter().for_each(|(_, cached)| cached.forget());
    }
    if let Some((folder, why)) = kept.iter().find_map(|(folder, cached)| Some((folder, cached.trouble()?))) {
        tell_once(context, folder, &why);
    }
}

fn tell_once(context: &Context, folder: &Path, why: &str) {
    if !context.told_of_kept.replace(true) {
        let what = "what is read of repositories elsewhere cannot be kept";
        context.output.warning(&format!("{what}: {}: {why}", folder.display()));
    }
}

fn name(place: &Location, locked: &Locked) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("plakar v1 far folder");
    hasher.update(&locked.replica().id.0).update(&locked.config().domain.0);
    hasher.update(place.canonical().name().as_encoded_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// How many bytes one folder may take of `max` for all. At most half of that stays to the others.
fn room(above: &Path, own: &Path, max: u64) -> u64 {
    // What is used is not old.
    if let Ok(newer) = File::options().append(true).open(own.join("newer")) {
        let _ = newer.set_modified(SystemTime::now());
    }
    let mut others = files_of_others(above, own);
    others.sort();
    let mut bytes: u64 = others.iter().map(|(_, _, len)| len).sum();
    for (_, file, len) in others {
        if bytes > max / 2 && fs::remove_file(&file).is_ok() {
            bytes -= len;
            // Only one that is empty goes.
            let _ = file.parent().map(fs::remove_dir);
        }
    }
    max.saturating_sub(bytes)
}

/// When each was used last, which it is, and how long.
fn files_of_others(above: &Path, own: &Path) -> Vec<(SystemTime, PathBuf, u64)> {
    let beneath = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    let folders = beneath(above).into_iter().filter(|folder| folder != own);
    let files = folders.flat_map(|folder| beneath(&folder));
    let known = files.filter_map(|file| {
        let now = fs::symlink_metadata(&file).ok().filter(|now| now.is_file())?;
        Some((now.modified().ok()?, file, now.len()))
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A file of so many bytes that was used last so many hours ago.
    fn file(above: &Path, name: &str, len: usize, hours: u64) {
        let file = above.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, vec![0; len]).unwrap();
        let when = SystemTime::now() - Duration::from_secs(hours * 3_600);
        File::options().append(true).open(&file).unwrap().set_modified(when).unwrap();
    }

    #[test]
    fn together_they_stay_within_the_bound_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path();
        let is_there = |name: &str| above.join(name).exists();
        file(above, "own/newer", 70, 9);
        file(above, "a/newer", 20, 2);
        file(above, "a/older", 20, 8);
        file(above, "b/newer", 30, 3);
        file(above, "c/older", 5, 7);
        assert_eq!(room(above, &above.join("own"), 200), 125, "there is room for all");
        assert!(is_there("a/older") && is_there("c/older"));
        assert_eq!(room(above, &above.join("own"), 100), 50);
        assert!(!is_there("a/older") && !is_there("c") && is_there("a/newer") && is_there("b/newer"));
        // What was used here just now is the newest when another is opened.
        assert_eq!(room(above, &above.join("a"), 140), 70);
        assert!(is_there("own/newer") && !is_there("b"));
        assert_eq!(room(above, &above.join("a"), 0), 0);
        assert!(!is_there("own") && is_there("a/newer"), "each keeps its own in its bound itself");
    }
}
