//! `plakar push`: stores files and directories as a new snapshot.

use crate::args::Push;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::location::Location;
use crate::output::{Data, Output, Progress};
use crate::repo::{self, Purpose};
use plakar_engine::Error;
use plakar_engine::index::segment::Author;
use plakar_engine::push::{Checkpoints, Observer, Progress as Pushing, PushOptions, push};
use plakar_engine::source::{Content, Event, Extras, Source};
use plakar_fs::Walk;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// The fewest seconds between checkpoints: each is a few requests.
const CHECKPOINT_SECONDS_MIN: f64 = 0.05;

/// Pushes.
pub fn run(context: &Context, args: &Push) -> Result<Code> {
    let output = &context.output;
    let checkpoints = checkpoints(args.checkpoint_every)?;
    let typed = if args.paths.is_empty() { vec![OsString::from(".")] } else { args.paths.clone() };
    // What is not there is told before a passphrase is asked for.
    let roots = walk(&typed)?.roots().to_vec();
    let place = repo::unlock(context, Purpose::Write)?;
    let identity = place.location.identity().map_err(|e| Failure::io(place.location.path(), &e))?;
    refuse_repository(&roots, &place.location)?;
    let interrupted = interruption()?;

    let (host, unlocked) = (context.hostname(), &place.unlocked);
    let options = PushOptions {
        user: context.username(),
        command: context.command_line.clone(),
        tags: args.tags.clone(),
        author: Author { replica: unlocked.replica().id, writer: context.local.writer(output) },
        now: now(),
        workers: context.workers,
        verify: !args.no_verify,
        hints: context.local.hints(unlocked.config().domain, &host, &roots, output),
        trust_mtime: args.trust_mtime,
        uid: rustix::process::geteuid().as_raw(),
        checkpoints,
        roots,
        host,
    };
    let skipped = Rc::new(RefCell::new(BTreeSet::new()));
    let mut open = || {
        let repository = unlocked.clone().open()?;
        repository.damaged().iter().for_each(|what| output.damage(what));
        Ok(repository)
    };
    let mut source = || {
        let mut walk = Walk::new(&typed).map_err(|e| Error::Refused(e.to_string()))?;
        walk.exclude_identity(identity.0, identity.1);
        walk.list_ahead(context.workers.min(2));
        Ok(Box::new(Watched { walk, skipped: skipped.clone() }) as Box<dyn Source>)
    };
    let mut observer = Telling { output, progress: output.progress(), problems: 0 };
    let result = push(&mut open, place.store.clone(), &mut source, &options, &mut observer, &interrupted);
    let problems = observer.problems;
    drop(observer);
    let pushed = result.map_err(|e| match e {
        Error::Interrupted => {
            Failure::failed("interrupted; what was stored so far is kept for the next push")
        }
        e => e.into(),
    })?;

    for path in skipped.borrow().iter() {
        output.note(&format!("left out the repository itself: {}", format::printable(path)));
    }
    let uuid = pushed.row.uuid_text();
    output.note(&format!("created snapshot {uuid}"));
    if output.json {
        let (totals, done) = (pushed.row.root.totals, pushed.progress);
        let mut data = Data::begin()?;
        data.json(&json!({
            "uuid": uuid,
            "size": totals.bytes,
            "files": totals.files,
            "directories": totals.directories,
            "errors": totals.errors,
            "problems": problems,
            "files_read": done.files_read,
            "bytes_read": done.bytes_read,
            "bytes_new": done.bytes_new,
            "bytes_stored": done.bytes_stored,
        }))?;
        data.end()?;
    }
    Ok(if problems > 0 { Code::Problems } else { Code::Done })
}

fn walk(typed: &[OsString]) -> Result<Walk> {
    Walk::new(typed).map_err(|e| {
        let missing: Vec<_> = e.missing.iter().map(|(path, e)| format!("{}: {e}", path.display())).collect();
        Failure::failed(missing.join("\nplakar: ")).hint("nothing was pushed")
    })
}

/// The repository is left out where it is met; when it is what was named, or holds that, nothing would be pushed of it.
fn refuse_repository(roots: &[Vec<u8>], repository: &Location) -> Result<()> {
    let Ok(repository) = repository.path().canonicalize() else { return Ok(()) };
    let inside = |root: &&Vec<u8>| {
        Path::new(OsStr::from_bytes(root)).canonicalize().is_ok_and(|root| root.starts_with(&repository))
    };
    match roots.iter().find(inside) {
        Some(root) => {
            let root = format::printable(root);
            Err(Failure::failed(format!("{root}: lies in the repository itself")).hint("nothing was pushed"))
        }
        None => Ok(()),
    }
}

fn checkpoints(every: Option<f64>) -> Result<Checkpoints> {
    let Some(every) = every else { return Ok(Checkpoints::default()) };
    match Duration::try_from_secs_f64(every) {
        Ok(every) if every.as_secs_f64() >= CHECKPOINT_SECONDS_MIN => {
            Ok(Checkpoints { first: every, every, at_most: every, ..Checkpoints::default() })
        }
        _ => Err(Failure::usage(format!("-checkpoint-every: {every} is too short, or no time at all"))),
    }
}

/// A walk that tells what it left out once it is over.
struct Watched {
    walk: Walk,
    skipped: Rc<RefCell<BTreeSet<Vec<u8>>>>,
}

impl Source for Watched {
    fn next(&mut self) -> Option<Event> {
        let event = self.walk.next();
        if event.is_none() {
            self.skipped.borrow_mut().extend(self.walk.skipped().iter().cloned());
        }
        event
    }

    fn path(&self) -> Vec<u8> {
        self.walk.path()
    }

    fn extras(&mut self) -> io::Result<Extras> {
        self.walk.extras()
    }

    fn open(&mut self) -> io::Result<Box<dyn Content + '_>> {
        self.walk.open()
    }
}

struct Telling<'a> {
    output: &'a Output,
    progress: Progress<'a>,
    problems: u64,
}

impl Observer for Telling<'_> {
    fn problem(&mut self, path: &[u8], what: &str) {
        self.problems += 1;
        self.output.problem(path, what);
    }

    fn progress(&mut self, done: &Pushing) {
        self.progress.show(|| {
            let (read, stored) = (format::size(done.bytes_read), format::size(done.bytes_stored));
            format!("{} items, {read} read, {stored} stored", done.items)
        });
    }
}
