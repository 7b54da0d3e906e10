//! `plakar checksum`: hashes of files of snapshots, as `sha256sum` and `b3sum` print them.
//!
//! Lines are those that `sha256sum -c` reads, with its escapes, so that a restored tree can be proven by a program that is not
//! plakar.

use crate::args::{Algorithm, Checksum};
use crate::content::Bytes;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::{Data, hex_unless_text};
use crate::repo::Purpose;
use crate::{refs, repo};
use plakar_engine::Error;
use plakar_engine::id::hex;
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::{
    Content, Directory, Entry, FLAG_CHANGED, FLAG_UNREADABLE, NodeId, Object, find_path,
};
use serde_json::json;
use std::io::{IsTerminal, stdout};

/// Prints a line for each file, in the order in which they were named, and beneath directories by name.
pub fn run(context: &Context, args: &Checksum) -> Result<Code> {
    if args.references.is_empty() {
        return Err(Failure::usage("checksum: at least one parameter is required"));
    }
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let references = refs::resolve(&snapshots, &args.references)?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    let mut starts = Vec::new();
    for reference in &references {
        let row = reference.snapshot.row;
        let entry = match reference.path() {
            b"" => None,
            path => Some(find_path(&reader, &row.root, path)?.ok_or_else(|| {
                let (uuid, path) = (row.uuid_text(), reference.shown_path());
                Failure::failed(format!("{uuid}:{path}: no such path in the snapshot"))
            })?),
        };
        starts.push((reference, entry));
    }
    let mut sums = Sums {
        context,
        reader: &reader,
        data: Data::begin()?,
        algorithm: args.algorithm,
        shown: stdout().is_terminal(),
        uuid: String::new(),
        code: Code::Done,
    };
    for (reference, entry) in starts {
        sums.uuid = reference.snapshot.row.uuid_text();
        let path = reference.path();
        // What a restore makes: with -rebase, what PATH names is right in the directory.
        let base = match path.iter().rposition(|&b| b == b'/') {
            Some(at) => &path[at + 1..],
            None => path,
        };
        match entry {
            None => sums.beneath(&reference.snapshot.row.root.node, Vec::new())?,
            Some(Entry { content: Content::Directory(subtree), flags, .. }) => {
                if flags & FLAG_UNREADABLE != 0 {
                    sums.problem(path, "not all of it could be read when it was pushed");
                }
                sums.beneath(&subtree.node, if args.rebase { Vec::new() } else { path.to_vec() })?;
            }
            Some(Entry { content: Content::File(object), flags, .. }) => {
                sums.file(&object, flags, if args.rebase { base } else { path })?;
            }
            Some(entry) => {
                let (uuid, kind) = (&sums.uuid, format::kind(&entry.content));
                let what = format!("{uuid}:{}: not a file or directory but a {kind}", reference.shown_path());
                return Err(Failure::failed(what));
            }
        }
    }
    sums.data.end()?;
    Ok(sums.code)
}

struct Sums<'a> {
    context: &'a Context,
    reader: &'a Reader,
    data: Data,
    algorithm: Algorithm,
    /// Somebody reads it at a terminal.
    shown: bool,
    uuid: String,
    code: Code,
}

impl Sums<'_> {
    /// All regular files beneath a directory. The stack is as high as the tree is deep.
    fn beneath(&mut self, node: &NodeId, path: Vec<u8>) -> Result<()> {
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
            let path = match path.as_slice() {
                b"" => entry.name.clone(),
                above => [above, b"/", &entry.name].concat(),
            };
            match &entry.content {
                Content::File(object) => self.file(object, entry.flags, &path)?,
                Content::Directory(subtree) => {
                    if entry.flags & FLAG_UNREADABLE != 0 {
                        self.problem(&path, "not all of it could be read when it was pushed");
                    }
                    match Directory::open(reader, &subtree.node) {
                        Ok(directory) => stack.push((directory, path)),
                        Err(e) => self.damaged(&path, e)?,
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, object: &Object, flags: u8, path: &[u8]) -> Result<()> {
        if flags & FLAG_UNREADABLE != 0 {
            self.problem(path, "has no checksum: its content could not be read when it was pushed");
            return Ok(());
        }
        if flags & FLAG_CHANGED != 0 {
            self.problem(path, "changed while it was pushed: its bytes may be from different moments");
        }
        let sum = match self.sum(object) {
            Ok(sum) => sum,
            Err(e) => return self.damaged(path, e),
        };
        if self.context.output.json {
            let name = self.algorithm.name();
            let mut value =
                json!({ "snapshot": self.uuid, "path": String::from_utf8_lossy(path), name: sum });
            if let Some(hex) = hex_unless_text(path) {
                value["path_hex"] = hex.into();
            }
            return self.data.json(&value);
        }
        if self.shown {
            return self.data.line(&format!("{sum}  {}", format::printable(path)));
        }
        let (mark, name) = escaped(path);
        self.data.bytes(mark.as_bytes())?;
        self.data.bytes(format!("{sum}  ").as_bytes())?;
        self.data.bytes(&name)?;
        self.data.bytes(b"\n")
    }

    /// The checksum of a file, of its bytes as they are read now.
    fn sum(&self, object: &Object) -> Result<String, Error> {
        let mut bytes = Bytes::open(self.reader, object)?;
        let mut each = |update: &mut dyn FnMut(&[u8])| loop {
            match bytes.next_piece()? {
                [] => return Ok::<_, Error>(()),
                piece => update(piece),
            }
        };
        match self.algorithm {
            Algorithm::Sha256 => {
                let mut hasher = ring::digest::Context::new(&ring::digest::SHA256);
                each(&mut |piece| hasher.update(piece))?;
                Ok(hex(hasher.finish().as_ref()))
            }
            Algorithm::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                each(&mut |piece| {
                    hasher.update(piece);
                })?;
                Ok(hasher.finalize().to_hex().to_string())
            }
        }
    }

    fn problem(&mut self, path: &[u8], what: &str) {
        let name = [self.uuid.as_bytes(), b":/", path].concat();
        self.context.output.problem(&name, what);
        self.code = Code::Problems;
    }

    fn damaged(&self, path: &[u8], error: Error) -> Result<()> {
        if !error.is_damage() && !error.is_not_found() {
            return Err(error.into());
        }
        self.context.output.damage(&format!("{}:/{}: {error}", self.uuid, String::from_utf8_lossy(path)));
        Ok(())
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Blake3 => "blake3",
        }
    }
}

/// A name as `sha256sum` writes it, and what stands before the line if that is not the name itself.
fn escaped(name: &[u8]) -> (&'static str, Vec<u8>) {
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            byte => out.push(byte),
        }
    }
    (if out.len() > name.len() { "\\" } else { "" }, out)
}
