//! `plakar ls`: the snapshots, or what is in them.

use crate::args::Ls;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::{Data, hex_unless_text};
use crate::repo::Purpose;
use crate::{refs, repo};
use plakar_engine::log::state::Snapshot;
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::{Content, Directory, Entry, NodeId, find_path};
use serde_json::{Value, json};

/// Lists.
pub fn run(context: &Context, args: &Ls) -> Result<Code> {
    if args.recursive && args.references.is_empty() {
        return Err(Failure::usage("need at least one snapshot ID to ls -recursive"));
    }
    if !args.tags.is_empty() && !args.references.is_empty() {
        return Err(Failure::usage("ls: -tag is about snapshots: leave out SNAPSHOT, or the tag"));
    }
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let mut snapshots = repository.state().snapshots();
    snapshots.retain(|snapshot| args.tags.iter().all(|tag| snapshot.row.tags.contains(tag)));
    let mut data = Data::begin()?;
    if args.references.is_empty() {
        for snapshot in &snapshots {
            match context.output.json {
                true => data.json(&snapshot_json(snapshot))?,
                false => data.line(&snapshot_line(snapshot))?,
            }
        }
        data.end()?;
        return Ok(Code::Done);
    }
    let references = refs::resolve(&snapshots, &args.references)?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    for reference in &references {
        let root = reference.snapshot.row.root;
        let uuid = reference.snapshot.row.uuid_text();
        let mut listing =
            Listing { context, reader: &reader, data: &mut data, uuid: &uuid, recursive: args.recursive };
        if reference.path().is_empty() {
            listing.directory(&root.node, Vec::new())?;
            continue;
        }
        let entry = find_path(&reader, &root, reference.path())?.ok_or_else(|| {
            Failure::failed(format!("{uuid}:{}: no such path in the snapshot", reference.shown_path()))
        })?;
        let path = [b"/", reference.path()].concat();
        match &entry.content {
            Content::Directory(subtree) => listing.directory(&subtree.node, path)?,
            _ => listing.entry(&entry, &path)?,
        }
    }
    data.end()?;
    Ok(Code::Done)
}

/// A snapshot on a line.
pub fn snapshot_line(snapshot: &Snapshot<'_>) -> String {
    let row = snapshot.row;
    let roots: Vec<_> = row.roots.iter().map(|root| format::printable(&root.0)).collect();
    format!(
        "{}{:>38}{:>10} {}",
        format::time(row.created.secs),
        row.uuid_text(),
        format::size(row.root.totals.bytes),
        roots.join(", ")
    )
}

/// A snapshot in JSON; `info` prints the same.
pub fn snapshot_json(snapshot: &Snapshot<'_>) -> Value {
    let row = snapshot.row;
    let totals = row.root.totals;
    let roots: Vec<_> = row.roots.iter().map(|root| String::from_utf8_lossy(&root.0)).collect();
    let mut value = json!({
        "uuid": row.uuid_text(),
        "time": format::exact_time(row.created),
        "size": totals.bytes,
        "files": totals.files,
        "directories": totals.directories,
        "errors": totals.errors,
        "roots": roots,
        "tags": row.tags,
        "host": row.host,
        "user": row.user,
        "command": row.command,
        "took_ms": row.took_ms,
        "tool": row.tool,
    });
    if row.roots.iter().any(|root| std::str::from_utf8(&root.0).is_err()) {
        value["roots_hex"] = row.roots.iter().map(|root| plakar_engine::id::hex(&root.0)).collect();
    }
    value
}

struct Listing<'a> {
    context: &'a Context,
    reader: &'a Reader,
    data: &'a mut Data,
    uuid: &'a str,
    recursive: bool,
}

impl Listing<'_> {
    /// Lists a directory, and with `recursive` everything beneath it, each directory before what it holds. What is
    /// damaged is told about; the rest is listed.
    ///
    /// The stack is as high as the tree is deep and holds a page of each directory on the way.
    fn directory(&mut self, node: &NodeId, path: Vec<u8>) -> Result<()> {
        let reader = self.reader;
        let mut stack = Vec::new();
        match Directory::open(reader, node) {
            Ok(directory) => stack.push((directory, path)),
            Err(e) => self.damaged(&path, e)?,
        }
        while let Some((directory, path)) = stack.last_mut() {
            let entry = match directory.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    stack.pop();
                    continue;
                }
                Err(e) => {
                    // What follows in this directory cannot be found.
                    let (_, path) = stack.pop().expect("it was there");
                    self.damaged(&path, e)?;
                    continue;
                }
            };
            let path = [path.as_slice(), b"/", &entry.name].concat();
            self.entry(&entry, &path)?;
            if let (true, Content::Directory(subtree)) = (self.recursive, &entry.content) {
                match Directory::open(reader, &subtree.node) {
                    Ok(directory) => stack.push((directory, path)),
                    Err(e) => self.damaged(&path, e)?,
                }
            }
        }
        Ok(())
    }

    fn damaged(&self, path: &[u8], error: plakar_engine::Error) -> Result<()> {
        if !error.is_damage() && !error.is_not_found() {
            return Err(error.into());
        }
        let path = if path.is_empty() { "/".into() } else { String::from_utf8_lossy(path) };
        self.context.output.damage(&format!("{}:{path}: {error}", self.uuid));
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, path: &[u8]) -> Result<()> {
        if self.context.output.json {
            return self.data.json(&entry_json(entry, path));
        }
        let name = if self.recursive { path } else { &entry.name };
        self.data.line(&entry_line(entry, &format::printable(name)))
    }
}

/// An entry on a line, with what it is called.
pub fn entry_line(entry: &Entry, shown: &str) -> String {
    let owner = |name: &[u8], id: u32| match name {
        b"" => id.to_string(),
        name => format::printable(name),
    };
    let meta = &entry.meta;
    format!(
        "{} {} {:>8} {:>8} {:>8} {shown}",
        format::time(meta.mtime.secs),
        format::mode(entry),
        owner(&meta.user, meta.uid),
        owner(&meta.group, meta.gid),
        format::size(size(entry)),
    )
}

/// A directory is as large as what is beneath it.
fn size(entry: &Entry) -> u64 {
    match &entry.content {
        Content::File(object) => object.size,
        Content::Directory(subtree) => subtree.totals.bytes,
        Content::Symlink(target) => target.len() as u64,
        _ => 0,
    }
}

/// An entry in JSON.
pub fn entry_json(entry: &Entry, path: &[u8]) -> Value {
    let meta = &entry.meta;
    let mut value = json!({
        "path": String::from_utf8_lossy(path),
        "type": format::kind(&entry.content),
        "mode": format!("{:04o}", meta.mode),
        "uid": meta.uid,
        "gid": meta.gid,
        "user": String::from_utf8_lossy(&meta.user),
        "group": String::from_utf8_lossy(&meta.group),
        "size": size(entry),
        "mtime": format::exact_time(meta.mtime),
    });
    if let Some(hex) = hex_unless_text(path) {
        value["path_hex"] = hex.into();
    }
    if let Content::Symlink(target) = &entry.content {
        value["target"] = String::from_utf8_lossy(target).into();
        if let Some(hex) = hex_unless_text(target) {
            value["target_hex"] = hex.into();
        }
    }
    if let Content::CharDevice(device) | Content::BlockDevice(device) = &entry.content {
        value["device"] = json!([device.major, device.minor]);
    }
    value
}
