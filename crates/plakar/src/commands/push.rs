//! `plakar push`: stores files and directories as a new snapshot.

use crate::args::Push;
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::{Data, Output, Progress};
use crate::own::Own;
use crate::renamed::Renamed;
use crate::repo::{self, Purpose};
use crate::sources::Chosen;
use crate::streamed::Stream;
use crate::tags;
use plakar_engine::Error;
use plakar_engine::index::segment::Author;
use plakar_engine::push::{
    Checkpoints, Observer, Outcome, Progress as Pushing, PushOptions, plan, push, push_if_changed,
};
use plakar_engine::repository::Unlocked;
use plakar_engine::source::Source;
use plakar_fs::{Besides, Excludes, Walk, absolute};
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The fewest seconds between checkpoints: each is a few requests.
const CHECKPOINT_SECONDS_MIN: f64 = 0.05;

/// The most paths out of files: a snapshot tells all of them wherever it is listed.
const LISTED_MAX: usize = 10_000;

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
    if args.paths.is_empty() && args.files_from.is_empty() {
        chosen.paths.push(".".into());
    }
    listed(args, &mut chosen.paths)?;
    let all = [&args.tags[..], &chosen.tags].concat();
    let tags = tags::several(&all).map_err(Failure::usage)?;
    let excludes = Arc::new(excludes(args, &chosen)?);
    let what = What { typed: &chosen.paths, stream: None, excludes, tags };
    if args.dry_run {
        // Without what is to be run around a push: there is none.
        return show_plan(context, args, what);
    }
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

/// Adds the paths that files name.
fn listed(args: &Push, paths: &mut Vec<OsString>) -> Result<()> {
    for file in &args.files_from {
        let read = match file.as_os_str() == "-" {
            true => {
                let mut bytes = Vec::new();
                io::stdin().read_to_end(&mut bytes).map(|_| bytes)
            }
            false => fs::read(file),
        };
        let bytes = read.map_err(|e| Failure::io(file, &e))?;
        let end = if args.null { 0 } else { b'\n' };
        let lines = bytes.split(|byte| *byte == end).filter(|line| !line.is_empty());
        paths.extend(lines.map(|line| OsString::from_vec(line.to_vec())));
    }
    if paths.is_empty() {
        return Err(Failure::failed("-files-from: no path is named").hint("nothing was pushed"));
    }
    if !args.files_from.is_empty() && paths.len() > LISTED_MAX {
        let what = format!("-files-from: {} paths: a snapshot is of at most {LISTED_MAX}", paths.len());
        return Err(Failure::failed(what).hint("name directories, and what is left out of them"));
    }
    Ok(())
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
    let roots = renamed(args, roots)?;
    let interrupted = interruption()?;

    let unlocked = &place.unlocked;
    let options = options(context, args, unlocked, roots, tags, checkpoints);
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
        let walk = Walk::new(typed).map_err(|e| Error::Refused(e.to_string()))?;
        Ok(walked(context, args, walk, &own, &excludes, &skipped))
    };
    let mut observer = Telling { output, progress: output.progress(), problems: 0 };
    let (open, source) = (&mut open, &mut source);
    let store = place.store.clone();
    let result = match args.skip_unchanged {
        true => push_if_changed(open, store, source, &options, &mut observer, &interrupted),
        false => push(open, store, source, &options, &mut observer, &interrupted).map(Outcome::Published),
    };
    let problems = observer.problems;
    drop(observer);
    let outcome = result.map_err(|e| match e {
        Error::Interrupted => {
            Failure::failed("interrupted; what was stored so far is kept for the next push")
        }
        e => e.into(),
    })?;

    for path in skipped.borrow().iter() {
        output.note(&format!("left out the repository itself: {}", format::printable(path)));
    }
    let pushed = match outcome {
        Outcome::Published(pushed) => pushed,
        Outcome::Unchanged(row) => {
            let uuid = row.uuid_text();
            let mut data = Data::begin()?;
            match output.json {
                true => data.json(&json!({ "unchanged": uuid, "problems": problems }))?,
                false => data.line(&format!("unchanged since {uuid}: no snapshot was made"))?,
            }
            data.end()?;
            return Ok(if problems > 0 { Code::Problems } else { Code::Done });
        }
    };
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

fn options(
    context: &Context,
    args: &Push,
    unlocked: &Unlocked,
    roots: Vec<Vec<u8>>,
    tags: Vec<String>,
    checkpoints: Checkpoints,
) -> PushOptions {
    let (host, output) = (context.hostname(), &context.output);
    PushOptions {
        user: context.username(),
        command: context.command_line.clone(),
        tags,
        author: Author { replica: unlocked.replica().id, writer: context.local.writer(output) },
        now: now(),
        workers: context.workers,
        verify: !args.no_verify,
        hints: context.local.hints(unlocked.config().domain, &host, &roots, output),
        trust_mtime: args.trust_mtime,
        force: args.force,
        uid: rustix::process::geteuid().as_raw(),
        checkpoints,
        roots,
        host,
    }
}

/// The roots as they are recorded.
fn renamed(args: &Push, roots: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    let Some(path) = &args.recorded_as else { return Ok(roots) };
    if !path.as_bytes().starts_with(b"/") {
        return Err(Failure::usage(format!(
            "-as: {}: a path that begins with '/' is needed",
            path.display()
        )));
    }
    let [root] = &roots[..] else {
        return Err(Failure::usage(format!(
            "-as: there are {} paths, and one can have this name",
            roots.len()
        )));
    };
    let path = absolute(path.as_bytes(), b"/");
    if path == b"/" && !fs::metadata(OsStr::from_bytes(root)).is_ok_and(|root| root.is_dir()) {
        return Err(Failure::usage("-as: only a directory can be '/'"));
    }
    Ok(vec![path])
}

/// What a walk meets, as it is to be pushed.
fn walked(
    context: &Context,
    args: &Push,
    mut walk: Walk,
    own: &Own,
    excludes: &Arc<Excludes>,
    skipped: &Rc<RefCell<BTreeSet<Vec<u8>>>>,
) -> Box<dyn Source> {
    walk.list_ahead(context.workers.min(2));
    walk.exclude(excludes.clone());
    if args.ignore_ctime {
        walk.ignore_ctime();
    }
    let root = walk.roots().first().cloned();
    let others = own.leave_out(walk, skipped.clone());
    match (&args.recorded_as, root) {
        (Some(path), Some(root)) => {
            Box::new(Renamed::new(others, root, &absolute(path.as_bytes(), b"/"), now()))
        }
        _ => Box::new(others),
    }
}

/// Says what a push would read.
fn show_plan(context: &Context, args: &Push, what: What) -> Result<Code> {
    let output = &context.output;
    let roots = walk(what.typed)?.roots().to_vec();
    let place = repo::unlock(context, Purpose::Read)?;
    let own = Own::of(&place.location)?;
    own.refuse(&roots)?;
    let roots = renamed(args, roots)?;
    let repository = place.open(context)?;
    let interrupted = interruption()?;
    let options = options(context, args, &place.unlocked, roots, what.tags, Checkpoints::default());
    let mut source = walked(context, args, walk(what.typed)?, &own, &what.excludes, &Rc::default());
    let mut observer = Telling { output, progress: output.progress(), problems: 0 };
    let mut each = |path: &[u8], new: bool| {
        let how = if new { "new" } else { "changed" };
        output.note(&format!("{how}: {}", format::printable(path)));
    };
    let planned = plan(&repository, &mut *source, &options, &mut observer, &mut each, &interrupted)?;
    let problems = observer.problems;
    drop(observer);
    let mut data = Data::begin()?;
    match output.json {
        true => data.json(&json!({
            "items": planned.items,
            "new": planned.new,
            "changed": planned.changed,
            "files_to_read": planned.files_to_read,
            "bytes_to_read": planned.bytes_to_read,
            "problems": problems,
        }))?,
        false => data.line(&format!(
            "would read {} files, {}; {} new, {} changed, of {} items",
            planned.files_to_read,
            format::size(planned.bytes_to_read),
            planned.new,
            planned.changed,
            planned.items
        ))?,
    }
    data.end()?;
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
