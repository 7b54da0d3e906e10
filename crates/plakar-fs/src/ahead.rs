//! Directories listed ahead of the walk, by threads.
//!
//! The walk meets directories in tree order. A queue holds, in that order, what is known of those it has
//! not met yet: *jobs* (a directory that is being listed or has been) and *groups* (the subdirectories of
//! a listed directory from some point on, that nobody has taken up). A thread takes the first directory
//! of the first group and puts a job in front of that group; when the job is done, the subdirectories it
//! found become a group right behind it. The walk takes from the front: either the job for the directory
//! it has come to, or, if nobody took that one up, its turn in the group, and then lists it itself.
//!
//! 1. The front of the queue is always the next directory in tree order.
//! 2. A thread's failure is not believed: the walk tries again itself, and reports what it saw.
//! 3. Handles and entries held by jobs are bounded; a group holds neither (its handle is a weak one).

use crate::lister::{Buffer, Directory, Listing, Opened, Rules, open_directory};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

/// Directories listed ahead at most; each holds a handle. Fewer if the process may hold few.
const DIRECTORIES_MAX: usize = 96;
/// Entries listed ahead at most, but for what is being listed when this is reached.
const ENTRIES_MAX: usize = 64 << 10;
/// How far into the queue a thread looks for something to do.
const LOOK_MAX: usize = 2 * DIRECTORIES_MAX;

/// The threads and their queue; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Ahead {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something to do, or to stop.
    work: Condvar,
    /// The job the walk waits for is done.
    done: Condvar,
    rules: Rules,
    directories_max: usize,
}

#[derive(Debug, Default)]
struct Queue {
    slots: VecDeque<Slot>,
    directories: usize,
    entries: usize,
    next_job: u64,
    /// Threads that wait for work.
    idle: usize,
    walk_waits: bool,
    stop: bool,
}

#[derive(Debug)]
enum Slot {
    Running(u64),
    Done(Option<Opened>),
    Group(Group),
}

/// The subdirectories of a listed directory from the `next` on.
#[derive(Debug)]
struct Group {
    handle: Weak<OwnedFd>,
    listing: Arc<Listing>,
    next: usize,
}

impl Ahead {
    /// Starts up to `threads` threads that may hold `handles` handles; with no thread, everything is left
    /// to the walk.
    pub fn new(rules: Rules, threads: usize, handles: usize) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            rules,
            directories_max: handles.min(DIRECTORIES_MAX),
        });
        let start = |_| {
            let shared = shared.clone();
            std::thread::Builder::new().name("lister".into()).spawn(move || shared.run()).ok()
        };
        let threads = (0..threads).filter_map(start).collect();
        Self { shared, threads }
    }

    pub fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// The walk has come to the next directory of the frontmost group, a subdirectory of `parent` (whose
    /// handle may be another than before). `None`: nobody has listed it, the walk must.
    pub fn take(&self, parent: Option<&Arc<OwnedFd>>) -> Option<Opened> {
        if self.threads.is_empty() {
            return None;
        }
        let mut queue = self.shared.lock();
        while let Some(Slot::Running(_)) = queue.slots.front() {
            queue.walk_waits = true;
            queue = self.shared.done.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.walk_waits = false;
        }
        match queue.slots.front_mut() {
            Some(Slot::Group(group)) => {
                if let Some(handle) = parent.filter(|_| group.handle.strong_count() == 0) {
                    group.handle = Arc::downgrade(handle);
                }
                group.next += 1;
                if group.next == group.listing.directories.len() {
                    queue.slots.pop_front();
                }
                None
            }
            Some(Slot::Done(_)) => {
                let Some(Slot::Done(opened)) = queue.slots.pop_front() else {
                    unreachable!("it was at the front")
                };
                queue.directories -= 1;
                if let Some(Opened::Listed(directory)) = &opened {
                    queue.entries -= directory.listing.entries.len();
                }
                self.shared.wake(&queue);
                opened
            }
            Some(Slot::Running(_)) | None => unreachable!("a directory that is met is at the front"),
        }
    }

    /// The walk has listed a directory itself and is about to enter it.
    pub fn entered(&self, directory: &Directory) {
        if self.threads.is_empty() {
            return;
        }
        if let Some(group) = Group::of(directory) {
            let mut queue = self.shared.lock();
            queue.slots.push_front(Slot::Group(group));
            self.shared.wake(&queue);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Group {
    fn of(directory: &Directory) -> Option<Self> {
        if directory.listing.directories.is_empty() {
            return None;
        }
        Some(Self { handle: Arc::downgrade(&directory.handle), listing: directory.listing.clone(), next: 0 })
    }
}

impl Queue {
    fn room(&self, directories_max: usize, share: usize) -> bool {
        self.directories < directories_max / share && self.entries < ENTRIES_MAX / share
    }

    /// Takes up the first directory that nobody has and that can be opened.
    fn pick(&mut self, directories_max: usize) -> Option<(u64, Arc<OwnedFd>, Arc<Listing>, usize)> {
        if !self.room(directories_max, 1) {
            return None;
        }
        for at in 0..self.slots.len().min(LOOK_MAX) {
            let Slot::Group(group) = &mut self.slots[at] else { continue };
            let Some(handle) = group.handle.upgrade() else { continue };
            let (listing, entry) = (group.listing.clone(), group.listing.directories[group.next]);
            group.next += 1;
            let job = self.next_job;
            self.next_job += 1;
            self.directories += 1;
            if group.next == listing.directories.len() {
                self.slots[at] = Slot::Running(job);
            } else {
                self.slots.insert(at, Slot::Running(job));
            }
            return Some((job, handle, listing, entry));
        }
        None
    }

    fn finish(&mut self, job: u64, opened: Option<Opened>) {
        let is_job = |slot: &Slot| matches!(slot, Slot::Running(j) if *j == job);
        let at = self.slots.iter().position(is_job).expect("a running job stays in the queue");
        let mut group = None;
        if let Some(Opened::Listed(directory)) = &opened {
            self.entries += directory.listing.entries.len();
            group = Group::of(directory);
        }
        self.slots[at] = Slot::Done(opened);
        if let Some(group) = group {
            self.slots.insert(at + 1, Slot::Group(group));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock, short of running out of memory.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes threads once there is room for a good deal of work: waking costs more than listing a small
    /// directory.
    fn wake(&self, queue: &Queue) {
        if queue.idle > 0 && queue.room(self.directories_max, 2) && !queue.slots.is_empty() {
            self.work.notify_all();
        }
    }

    fn run(&self) {
        let mut buffer = Buffer::new();
        let mut queue = self.lock();
        while !queue.stop {
            let Some((job, handle, listing, at)) = queue.pick(self.directories_max) else {
                queue.idle += 1;
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
                continue;
            };
            drop(queue);
            let entry = &listing.entries[at];
            let (name, rules) = (listing.name(entry), &self.rules);
            let here = rules.here(&listing.here, name);
            let list = || open_directory(&handle, name, here, &entry.stat, false, rules, &mut buffer);
            // The walk would wait forever for a job whose thread is gone.
            let opened = catch_unwind(AssertUnwindSafe(list)).ok().and_then(Result::ok);
            drop(handle);
            queue = self.lock();
            queue.finish(job, opened);
            self.wake(&queue);
            if queue.walk_waits && !matches!(queue.slots.front(), Some(Slot::Running(_))) {
                self.done.notify_one();
            }
        }
    }
}
