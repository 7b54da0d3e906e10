//! Copying a list of objects: each is read once, proven, and put to every destination that lacks it, on several threads.
//!
//! An object whose bytes are wrong is read a second time, and so is one that cannot be read, because a cable may have
//! been at fault; what stays wrong is copied as it is, because each block and page in it is proven on its own when it
//! is read, and what is whole in it is still of use. The copy notes its name, so that the next run looks at it again.
//!
//! Not here: what to copy, and in which order (`run`).

use super::budget::Budget;
use super::object::{Kind, note_of};
use crate::error::{Error, Result};
use crate::repository::records::RECORD_BYTES_MAX;
use plakar_store::{ErrorKind, Name, ReadStore, Store};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Bytes that are held at once; one object that is longer may be held alone.
const IN_FLIGHT_BYTES: u64 = 64 << 20;
/// A thread keeps its memory for the next object unless the last was longer than this.
const KEPT_BYTES_MAX: usize = 32 << 20;

/// One object to be copied.
pub struct Job {
    pub name: Name,
    pub kind: Kind,
    /// Its length as listed.
    pub len: u64,
    /// Where it is to go: the number of a destination, and what that has under this name.
    pub to: Vec<(usize, There)>,
}

/// What a destination has under the name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// Bytes of another length, or such as were damaged when they were copied.
    Other,
}

/// When what is there already gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Always: nobody relies on them yet.
    Always,
    /// When the source's are right and these are not.
    Damaged,
}

/// What happened.
pub enum Event {
    /// An object was seen to; so many bytes were read.
    Done { bytes: u64 },
    /// A destination has the object now, in so many bytes; or keeps the one it had.
    Delivered { to: usize, name: Name, listed: u64, len: u64, put: bool },
    /// Damage, in a sentence without the name of the object, and whom it concerns.
    Damaged { name: Name, what: String, to: Vec<usize> },
    /// An object could not be read and was left out.
    Unread { name: Name, error: Error },
    /// A destination failed; it gets nothing more.
    Failed { to: usize, error: Error },
}

struct Shared<'a> {
    source: &'a dyn ReadStore,
    /// `None`: it failed before.
    stores: Vec<Option<&'a dyn Store>>,
    alive: Vec<AtomicBool>,
    jobs: Mutex<std::vec::IntoIter<Job>>,
    replace: Replace,
    budget: Budget,
    stop: AtomicBool,
    interrupted: &'a AtomicBool,
}

/// Why a thread ended early.
enum End {
    /// The source is no longer there.
    Source(Error),
    /// Nobody listens any more.
    Unheard,
}

/// Copies `jobs`, in their order when there is one worker. `event` is told on the calling thread.
///
/// # Errors
/// [`Error::Interrupted`]; when something could not be read and the source's `config` cannot be either, that
/// error: a cut connection is not damage. What was put by then stays.
pub fn copy(
    source: &dyn ReadStore,
    stores: Vec<Option<&dyn Store>>,
    jobs: Vec<Job>,
    replace: Replace,
    workers: usize,
    interrupted: &AtomicBool,
    event: &mut dyn FnMut(Event),
) -> Result<()> {
    let workers = workers.clamp(1, jobs.len().max(1));
    let shared = Shared {
        source,
        alive: stores.iter().map(|store| AtomicBool::new(store.is_some())).collect(),
        stores,
        jobs: Mutex::new(jobs.into_iter()),
        replace,
        budget: Budget::new(IN_FLIGHT_BYTES),
        stop: AtomicBool::new(false),
        interrupted,
    };
    let (sender, receiver) = sync_channel(64);
    let fatal = std::thread::scope(|scope| {
        for _ in 0..workers {
            let (shared, sender) = (&shared, sender.clone());
            scope.spawn(move || {
                if let Err(End::Source(e)) = shared.work(&sender) {
                    shared.stop.store(true, Relaxed);
                    let _ = sender.send(Err(e));
                }
            });
        }
        drop(sender);
        let mut fatal = None;
        for happened in receiver {
            match happened {
                Ok(happened) => event(happened),
                Err(e) => drop(fatal.get_or_insert(e)),
            }
        }
        fatal
    });
    match fatal {
        Some(e) => Err(e),
        None if interrupted.load(Relaxed) => Err(Error::Interrupted),
        None => Ok(()),
    }
}

/// What came of reading an object.
enum Read {
    Whole,
    Damaged(&'static str),
    Failed(Error),
}

impl Shared<'_> {
    fn work(&self, sender: &SyncSender<Result<Event>>) -> Result<(), End> {
        let tell = |event| sender.send(Ok(event)).map_err(|_| End::Unheard);
        // One object after another lies here: memory that was never touched costs as much as the copying.
        let mut bytes = Vec::new();
        while !self.stop.load(Relaxed) && !self.interrupted.load(Relaxed) {
            let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(mut job) = job else { break };
            job.to.retain(|(to, _)| self.alive[*to].load(Relaxed));
            if job.to.is_empty() {
                continue;
            }
            let _share = self.budget.take(job.len);
            let wrong = match self.read(&job, &mut bytes) {
                Read::Whole => None,
                Read::Damaged(wrong) => Some(wrong),
                Read::Failed(error) => {
                    self.probe()?;
                    tell(Event::Unread { name: job.name, error })?;
                    continue;
                }
            };
            if let Some(wrong) = wrong {
                let to = job.to.iter().map(|(to, _)| *to).collect();
                // Where a whole one may be, nothing is said of copying: that shows when it is compared.
                let copied =
                    self.replace == Replace::Always || job.to.iter().any(|to| to.1 == There::Nothing);
                let what = if copied { format!("{wrong}; copied as it is") } else { wrong.to_owned() };
                tell(Event::Damaged { name: job.name.clone(), what, to })?;
            }
            for (to, there) in &job.to {
                // Alive means that there is a store.
                let Some(store) = self.stores[*to] else { continue };
                match self.deliver(store, &job, *there, &bytes, wrong.is_some()) {
                    Ok(Delivery { len, put, damaged }) => {
                        if let Some(what) = damaged {
                            tell(Event::Damaged { name: job.name.clone(), what, to: vec![*to] })?;
                        }
                        if let Some(len) = len {
                            let name = job.name.clone();
                            tell(Event::Delivered { to: *to, name, listed: job.len, len, put })?;
                        }
                    }
                    Err(error) => {
                        if self.alive[*to].swap(false, Relaxed) {
                            tell(Event::Failed { to: *to, error })?;
                        }
                    }
                }
            }
            tell(Event::Done { bytes: bytes.len() as u64 })?;
            if bytes.len() > KEPT_BYTES_MAX {
                bytes = Vec::new();
            }
        }
        Ok(())
    }

    fn read(&self, job: &Job, bytes: &mut Vec<u8>) -> Read {
        let mut once = || match self.source.get_into(&job.name, job.kind.bytes_max(), bytes) {
            Ok(()) => match job.kind.refute(&job.name, bytes) {
                None => Read::Whole,
                Some(wrong) => Read::Damaged(wrong),
            },
            Err(e) => Read::Failed(e.into()),
        };
        match once() {
            Read::Whole => Read::Whole,
            Read::Failed(_) | Read::Damaged(_) => once(),
        }
    }

    /// Makes sure that the source is still there.
    fn probe(&self) -> Result<(), End> {
        let config = crate::repository::name("config");
        match self.source.get(&config, RECORD_BYTES_MAX) {
            Ok(_) => Ok(()),
            Err(e) => Err(End::Source(e.into())),
        }
    }

    fn deliver(
        &self,
        store: &dyn Store,
        job: &Job,
        there: There,
        bytes: &[u8],
        source_is_damaged: bool,
    ) -> Result<Delivery> {
        let mut damaged = None;
        if there == There::Other {
            if self.replace == Replace::Damaged {
                let kept = match store.get(&job.name, job.kind.bytes_max()) {
                    Ok(own) if job.kind.refute(&job.name, &own).is_none() => {
                        forget_damage(store, &job.name)?;
                        return Ok(Delivery { len: Some(own.len() as u64), put: false, damaged: None });
                    }
                    Ok(own) if own == bytes => {
                        return Ok(Delivery { len: Some(own.len() as u64), put: false, damaged: None });
                    }
                    Ok(own) => Some(own.len() as u64),
                    Err(_) => None,
                };
                let here = store.location();
                if source_is_damaged {
                    let what = format!("is damaged at {here} as well, in another way; left there as it is");
                    return Ok(Delivery { len: kept, put: false, damaged: Some(what) });
                }
                damaged = Some(format!("was damaged at {here}; put there anew"));
            }
            store.delete(&job.name)?;
        }
        let note = note_of(&job.name).filter(|_| source_is_damaged);
        // Before what it is about: an object with the right length is not looked at again without it.
        let noted = note.map_or(Ok(()), |note| store.put(&note, &[]).and_then(|()| store.barrier()));
        match noted.and_then(|()| store.put(&job.name, &[bytes])) {
            Ok(()) if there == There::Other && !source_is_damaged => {
                forget_damage(store, &job.name)?;
                Ok(Delivery { len: Some(bytes.len() as u64), put: true, damaged })
            }
            Ok(()) => Ok(Delivery { len: Some(bytes.len() as u64), put: true, damaged }),
            // A store may well refuse bytes that are not what their name says.
            Err(e) if source_is_damaged && is_refusal(e.kind()) => {
                let what = format!("is damaged, and {} does not take it: {e}; left out", store.location());
                Ok(Delivery { len: None, put: false, damaged: Some(what) })
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// An object of a copy is whole: the note that it is not is taken away, if there is one.
fn forget_damage(store: &dyn Store, name: &Name) -> Result<()> {
    if let Some(note) = note_of(name) {
        store.barrier()?;
        store.delete(&note)?;
    }
    Ok(())
}

/// What came of putting an object.
struct Delivery {
    /// How long it is at the destination; `None` when it is not there, or not known to be.
    len: Option<u64>,
    /// Whether it was put, rather than kept.
    put: bool,
    damaged: Option<String>,
}

fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::Foreign | ErrorKind::Exists)
}
