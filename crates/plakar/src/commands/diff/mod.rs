//! `plakar diff`: what differs between snapshots, files of them, and what is on this machine now.

mod changes;
mod live;
mod text;
mod trees;

use self::changes::{Changes, NEW, OLD};
use self::live::Stored;
use crate::args::Diff;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::refs::{self, Reference};
use crate::repo::{self, Purpose};
use plakar_engine::log::state::Snapshot;
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::{Content, Entry, FLAG_ANCESTOR, find_path};
use plakar_fs::absolute;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Compares two things, or the same paths of two snapshots.
pub fn run(context: &Context, args: &Diff) -> Result<Code> {
    let [first, second, paths @ ..] = &args.words[..] else {
        let failure =
            Failure::usage("diff: two things are needed, of which at least one is a snapshot or in one");
        return Err(failure.hint(
            "'plakar diff SNAPSHOT[:PATH] SNAPSHOT[:PATH]'; PATH is on this machine if it begins with / or .",
        ));
    };
    let mut pairs = vec![[first.clone(), second.clone()]];
    if !paths.is_empty() {
        pairs.clear();
        for path in paths {
            let within = |snapshot: &OsString| match is_here(snapshot) || refs::split(snapshot).1.is_some() {
                true => Err(Failure::usage("diff: paths follow two whole snapshots")),
                false => Ok([snapshot.as_os_str(), OsStr::new(":"), path.as_os_str()]
                    .into_iter()
                    .collect::<OsString>()),
            };
            pairs.push([within(first)?, within(second)?]);
        }
    }
    if pairs.iter().any(|[a, b]| is_here(a) && is_here(b)) {
        return Err(Failure::usage("diff: both are on this machine").hint("diff(1) compares those"));
    }
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    // All are found before the first is compared.
    let found: Vec<_> =
        pairs.iter().map(|pair| Pair::find(&reader, &snapshots, pair)).collect::<Result<_>>()?;
    let mut code = Code::Done;
    for pair in found {
        code = code.max(pair.compare(context, &reader)?);
    }
    Ok(code)
}

/// Whether a word is a path on this machine: no name of a snapshot begins so.
fn is_here(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    bytes.starts_with(b"/")
        || bytes.starts_with(b"./")
        || bytes.starts_with(b"../")
        || bytes == b"."
        || bytes == b".."
}

/// Something in a snapshot.
struct There<'a> {
    snapshot: Snapshot<'a>,
    path: Vec<u8>,
    /// None of the root.
    entry: Option<Entry>,
}

impl<'a> There<'a> {
    fn find(reader: &Reader, reference: &Reference<'a>, path: Vec<u8>) -> Result<There<'a>> {
        let row = reference.snapshot.row;
        let entry = match &path[..] {
            b"" => None,
            path => Some(find_path(reader, &row.root, path)?.ok_or_else(|| {
                let (uuid, path) = (row.uuid_text(), format::printable(path));
                Failure::failed(format!("{uuid}:/{path}: no such path in the snapshot"))
            })?),
        };
        Ok(There { snapshot: reference.snapshot, path, entry })
    }

    fn node(&self) -> Option<plakar_engine::tree::NodeId> {
        match &self.entry {
            None => Some(self.snapshot.row.root.node),
            Some(entry) => trees::node(entry),
        }
    }

    fn is_file(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| matches!(entry.content, Content::File(_)))
    }

    fn name(&self) -> String {
        format!("{}:/{}", self.snapshot.row.uuid_text(), format::printable(&self.path))
    }

    /// What all paths beneath begin with.
    fn above(&self) -> Vec<u8> {
        if self.path.is_empty() { Vec::new() } else { [b"/", self.path.as_slice()].concat() }
    }
}

/// What is compared with something in a snapshot.
enum Other<'a> {
    There(Box<There<'a>>),
    /// An absolute path on this machine.
    Here(Vec<u8>),
}

struct Pair<'a> {
    old: There<'a>,
    new: Other<'a>,
    /// Which of them was typed first.
    first: usize,
}

impl<'a> Pair<'a> {
    fn find(reader: &Reader, snapshots: &[Snapshot<'a>], words: &[OsString; 2]) -> Result<Pair<'a>> {
        let resolve = |word: &OsString| {
            Ok::<_, Failure>(refs::resolve(snapshots, std::slice::from_ref(word))?.remove(0))
        };
        let first = if is_here(&words[0]) { NEW } else { OLD };
        let reference = resolve(&words[first])?;
        if !is_here(&words[1 - first]) {
            let other = resolve(&words[1])?;
            let old = There::find(reader, &reference, reference.path().to_vec())?;
            let new = Other::There(Box::new(There::find(reader, &other, other.path().to_vec())?));
            return Ok(Pair { old, new, first });
        }
        let cwd =
            std::env::current_dir().map_err(|e| Failure::failed(format!("the current directory: {e}")))?;
        let here = absolute(words[1 - first].as_bytes(), cwd.as_os_str().as_bytes());
        // What was pushed from there, unless another path is named.
        let path = reference.path.clone().unwrap_or_else(|| here[1..].to_vec());
        Ok(Pair { old: There::find(reader, &reference, path)?, new: Other::Here(here), first })
    }

    fn compare(&self, context: &Context, reader: &Reader) -> Result<Code> {
        match &self.new {
            Other::There(new) if self.old.is_file() && new.is_file() => {
                let (Some(a), Some(b)) = (&self.old.entry, &new.entry) else {
                    unreachable!("files have entries")
                };
                text::stored(context, reader, [a, b], [&self.old.name(), &new.name()])
            }
            Other::There(new) => {
                let above = [self.old.above(), new.above()];
                let mut changes = Changes::begin(context, above, self.first)?;
                if let (Some(a), Some(b)) = (&self.old.entry, &new.entry) {
                    trees::both(&mut changes, reader, [a, b], b"")?;
                }
                trees::compare(&mut changes, reader, [self.old.node(), new.node()], b"")?;
                changes.end()
            }
            Other::Here(path) => {
                let now = std::fs::metadata(OsStr::from_bytes(path));
                let now = now.map_err(|e| Failure::io(Path::new(OsStr::from_bytes(path)), &e))?;
                let is_file = now.is_file();
                if let (true, true, Some(entry)) = (self.old.is_file(), is_file, &self.old.entry) {
                    return text::live(context, reader, entry, &self.old.name(), path, self.first);
                }
                let above = if path == b"/" { Vec::new() } else { path.clone() };
                let mut changes = Changes::begin(context, [self.old.above(), above], self.first)?;
                for part in self.parts(reader)? {
                    let path = match path.as_slice() {
                        b"/" if !part.beneath.is_empty() => part.beneath.clone(),
                        path => [path, &part.beneath].concat(),
                    };
                    let there = std::fs::symlink_metadata(OsStr::from_bytes(&path));
                    match (&part.stored.entry, there) {
                        (Some(entry), Err(e))
                            if !part.beneath.is_empty() && e.kind() == ErrorKind::NotFound =>
                        {
                            changes.only(OLD, entry, &part.beneath)?;
                            trees::compare(&mut changes, reader, [part.stored.node, None], &part.beneath)?;
                        }
                        _ => live::compare(&mut changes, reader, part.stored, &path, &part.beneath)?,
                    }
                }
                changes.end()
            }
        }
    }

    /// What was pushed of the stored side: itself, or what lies beneath, where only that was pushed.
    fn parts(&self, reader: &Reader) -> Result<Vec<Part>> {
        let (row, above) = (self.old.snapshot.row, self.old.above());
        let is_beneath =
            |root: &[u8]| root.strip_prefix(above.as_slice()).is_some_and(|rest| rest.starts_with(b"/"));
        let roots =
            row.roots.iter().map(|root| root.0.as_slice()).filter(|root| *root != b"/" && is_beneath(root));
        let roots: Vec<_> = roots.collect();
        let is_partial = match &self.old.entry {
            None => !row.roots.iter().any(|root| root.0 == b"/"),
            Some(entry) => entry.flags & FLAG_ANCESTOR != 0,
        };
        if !is_partial || roots.is_empty() {
            let stored = Stored { entry: self.old.entry.clone(), node: self.old.node() };
            return Ok(vec![Part { stored, beneath: Vec::new() }]);
        }
        let mut parts = Vec::new();
        for root in roots {
            // What is not in the snapshot could not be read when it was pushed.
            if let Some(entry) = find_path(reader, &row.root, root)? {
                let stored = Stored { node: trees::node(&entry), entry: Some(entry) };
                parts.push(Part { stored, beneath: root[above.len()..].to_vec() });
            }
        }
        Ok(parts)
    }
}

/// Something that was pushed, so far beneath what is compared.
struct Part {
    stored: Stored,
    beneath: Vec<u8>,
}
