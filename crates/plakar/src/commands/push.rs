//! `plakar push`: stores files and directories as a new snapshot.

use crate::args::Push;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::{Data, Output, Progress};
use crate::own::Own;
use crate::repo::{self, Purpose};
use crate::sources::Chosen;
use crate::streamed::Stream;
use crate::tags;
use plakar_engine::Error;
use plakar_engine::index::segment::Author;
use plakar_engine::push::{Checkpoints, Observer, Progress as Pushing, PushOptions, push};
use plakar_engine::source::Source;
use plakar_fs::{Besides, Excludes, Walk};
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The fewest seconds between checkpoints: each is a few requests.
const CHECKPOINT_SECONDS_MIN: f64 = 0.05;

/// Pushes.
pub fn run(context: &Context, args: &Push) -> Result<Code> {
    let checkpoints = checkpoints(args.checkpoint_every)?;
    if let Some(name) = &args.stdin {
        let stream = stream(name, args)?;
        let tags = tags::several(&args.tags).map_err(Failure::usage)?;
        let what = What { typed: &[], stream: Some(stream), excludes: Arc::default(), tags };
        return push_what(context, args, what, checkpoints);
    }
    let mut chosen = Chosen::find(context, &args.paths)?;
    if args.paths.is_empty() {
        chosen.paths.push(".".into());
    }
    let all = [&args.tags[..], &chosen.tags].concat();
    let tags = tags::several(&all).map_err(Failure::usage)?;
    let excludes = Arc::new(excludes(args, &chosen)?);
    let what = What { typed: &chosen.paths, stream: None, excludes, tags };
    chosen.around(context, || push_what(context, args, what, checkpoints))
}

/// What is pushed.
struct What<'a> {
    typed: &'a [OsString],
    /// Instead of paths.
    stream: Option<Stream>,
    excludes: Arc<Excludes>,
    tags: Vec<String>,
}

/// What is pushed as it comes.
fn stream(name: &OsStr, args: &Push) -> Result<Stream> {
    match (args.command, args.paths.is_empty()) {
        (false, false) => Err(Failure::usage("-stdin: nothing else can be pushed together with it")
            .hint("a command that prints the file: '-stdin NAME -command -- COMMAND...'")),
        (true, true) => Err(Failure::usage("-command: no command: '-stdin NAME -command -- COMMAND...'")),
        _ => Stream::new(name, &args.paths),
    }
}

/// What is left out: by the sources beneath their own paths, by what was typed everywhere.
fn excludes(args: &Push, chosen: &Chosen) -> Result<Excludes> {
    let mut lines = Vec::new();
    for file in &args.exclude_from {
        let text = fs::read(file).map_err(|e| Failure::io(file, &e))?;
        let text = String::from_utf8(text)
            .map_err(|_| Failure::usage(format!("-exclude-from: {}: not UTF-8", file.display())))?;
        let is_pattern = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
        lines.extend(text.lines().filter(is_pattern).map(str::to_owned));
    }
    let all = lines.iter().chain(&args.excludes).map(String::as_str);
    let mut excludes = chosen.excludes.clone();
    excludes.add(Vec::new(), all).map_err(|why| Failure::usage(format!("-exclude: {why}")))?;
    let besides = Besides {
        if_present: args.exclude_if_present.clone(),
        caches: args.exclude_caches,
        max_size: args.max_size,
        one_file_system: args.one_file_system,
        gitignore: args.gitignore,
    };
    excludes.add_besides(Vec::new(), besides);
    Ok(excludes)
}

fn push_what(context: &Context, args: &Push, what: What, checkpoints: Checkpoints) -> Result<Code> {
    let What { typed, stream, excludes, tags } = what;
    let output = &context.output;
    // What is not there is told before a passphrase is asked for.
    let roots = match &stream {
        Some(stream) => vec![stream.path.clone()],
        None => walk(typed)?.roots().to_vec(),
    };
    let place = repo::unlock(context, Purpose::Write)?;
    let own = Own::of(&place.location)?;
    if stream.is_none() {
        own.refuse(&roots)?;
    }
    let interrupted = interruption()?;

    let (host, unlocked) = (context.hostname(), &place.unlocked);
    let options = PushOptions {
        user: context.username(),
        command: context.command_line.clone(),
        tags,
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
        repo::mind_rollback(context, &place.location, &repository);
        Ok(repository)
    };
    let mut streamed = false;
    let mut source = || {
        if let Some(stream) = &stream {
            if std::mem::replace(&mut streamed, true) {
                // Another client's cleanup took away what this push relied on.
                return Err(Error::Refused("what came cannot be had a second time; push it again".into()));
            }
            let opened = stream.open(options.now, interrupted.clone());
            return Ok(Box::new(opened.map_err(|e| Error::Refused(e.to_string()))?) as Box<dyn Source>);
        }
        let mut walk = Walk::new(typed).map_err(|e| Error::Refused(e.to_string()))?;
        walk.list_ahead(context.workers.min(2));
        walk.exclude(excludes.clone());
        Ok(Box::new(own.leave_out(walk, skipped.clone())) as Box<dyn Source>)
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
    let made = pushed.row.created.secs;
    context.local.published(&place.location, unlocked.replica().id, pushed.session, made, output);
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

fn checkpoints(every: Option<f64>) -> Result<Checkpoints> {
    let Some(every) = every else { return Ok(Checkpoints::default()) };
    match Duration::try_from_secs_f64(every) {
        Ok(every) if every.as_secs_f64() >= CHECKPOINT_SECONDS_MIN => {
            Ok(Checkpoints { first: every, every, at_most: every, ..Checkpoints::default() })
        }
        _ => Err(Failure::usage(format!("-checkpoint-every: {every} is too short, or no time at all"))),
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
