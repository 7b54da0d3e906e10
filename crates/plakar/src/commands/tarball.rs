//! `plakar tarball`: a tar archive of snapshots, or of parts of them.
//!
//! A header promises as many bytes as a file has. So damage ends it: what could be written after it would not be believed.

use crate::args::{Packing, Tarball};
use crate::content::Bytes;
use crate::context::{Context, interruption};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::packed::{Packer, Sink};
use crate::refs::Reference;
use crate::repo::Purpose;
use crate::tarfile::{self, Attributes};
use crate::{refs, repo};
use plakar_engine::Error;
use plakar_engine::crypto::random;
use plakar_engine::id::hex;
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::node::decode_xattrs;
use plakar_engine::tree::{
    Content, Directory, Entry, FLAG_BARE, FLAG_CHANGED, FLAG_UNREADABLE, NodeId, Xattrs, find_path,
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::json;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Read, stdout};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tar::Builder;

/// Makes the archive. What is to be put into it is found before any of it is made.
pub fn run(context: &Context, args: &Tarball) -> Result<Code> {
    if args.references.is_empty() {
        return Err(Failure::usage("need at least one snapshot ID to tarball"));
    }
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if to_stdout && stdout().is_terminal() {
        return Err(Failure::usage("tarball: an archive is not for a terminal")
            .hint("'-output FILE' writes a file, and a pipe takes what '-output -' writes"));
    }
    let packing = args.format.unwrap_or_else(|| by_name(args.output.as_deref()));
    let file = match (&args.output, to_stdout) {
        (_, true) => None,
        (Some(file), false) => Some(file.clone()),
        (None, false) => Some(PathBuf::from(default_name(packing))),
    };
    if let Some(file) = &file {
        refuse_existing(file)?;
    }
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let references = refs::resolve(&snapshots, &args.references)?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    let mut starts = Vec::new();
    for reference in &references {
        starts.push((reference, on_the_way(&reader, reference)?));
    }
    let interrupted = interruption()?;
    let temporary = file.as_deref().map(Temporary::new).transpose()?;
    let out = match &temporary {
        Some(temporary) => temporary.file.try_clone(),
        None => stdout().as_fd().try_clone_to_owned().map(File::from),
    };
    let place = file.as_deref().map_or("standard output".into(), |file| file.display().to_string());
    let out = out.map_err(|e| cannot_write(&place, &e))?;
    let stopped = Rc::new(Cell::new(false));
    let mut making = Making {
        context,
        reader: &reader,
        archive: Builder::new(Packer::new(packing, Sink::new(out, stopped.clone()))),
        place,
        interrupted,
        uuid: String::new(),
        firsts: HashMap::new(),
        entries: 0,
        bytes: 0,
        code: Code::Done,
    };
    if let Err(failure) = making.all(&starts, args.rebase) {
        stopped.set(true);
        return Err(failure);
    }
    let Making { archive, place, entries, bytes, code, .. } = making;
    let ended = archive.into_inner().and_then(Packer::finish).and_then(Sink::end);
    if let Err(e) = ended {
        stopped.set(true);
        return Err(cannot_write(&place, &e));
    }
    if let (Some(temporary), Some(file)) = (temporary, &file) {
        temporary.keep_as(file)?;
        if context.output.json {
            let mut data = Data::begin()?;
            data.json(&json!({ "file": file.to_string_lossy(), "entries": entries, "bytes": bytes }))?;
            data.end()?;
        }
    }
    let (place, size) = (format::printable(place.as_bytes()), format::size(bytes));
    context.output.summary(&format!("{place}: {entries} entries, {size} in files"));
    Ok(code)
}

/// What the name of an archive says of its packing.
fn by_name(output: Option<&Path>) -> Packing {
    let name = output.map_or(&b""[..], |path| path.as_os_str().as_bytes());
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending.as_bytes()));
    if ends(&[".tar"]) {
        Packing::Tar
    } else if ends(&[".tar.zst", ".tzst"]) {
        Packing::Zstd
    } else {
        Packing::Gzip
    }
}

fn default_name(packing: Packing) -> String {
    let ending = match packing {
        Packing::Tar => "tar",
        Packing::Gzip => "tar.gz",
        Packing::Zstd => "tar.zst",
    };
    format!("plakar-{}.{ending}", jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"))
}

fn refuse_existing(file: &Path) -> Result<()> {
    match fs::symlink_metadata(file) {
        Ok(_) => Err(Failure::failed(format!("{}: is there already", file.display()))
            .hint("an archive replaces no file; '-output -' writes to standard output")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Failure::io(file, &e)),
    }
}

fn cannot_write(place: &str, error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::nobody_reads(),
        _ => Failure::failed(format!("cannot write to {place}: {error}")),
    }
}

/// The entries that lead to what a reference names, and that one, with their paths; none for the whole snapshot.
type Way = Vec<(Vec<u8>, Entry)>;

fn on_the_way(reader: &Reader, reference: &Reference<'_>) -> Result<Way> {
    let row = reference.snapshot.row;
    let mut found = Vec::new();
    let mut path = Vec::new();
    for name in reference.path().split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        path = join(&path, name);
        let entry = find_path(reader, &row.root, &path)?.ok_or_else(|| {
            let (uuid, path) = (row.uuid_text(), reference.shown_path());
            Failure::failed(format!("{uuid}:{path}: no such path in the snapshot"))
        })?;
        found.push((path.clone(), entry));
    }
    Ok(found)
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

/// A file that is not whole yet, and goes away unless it becomes so.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    /// Beside `file`, for its owner only.
    fn new(file: &Path) -> Result<Temporary> {
        let mut path = file.as_os_str().to_owned();
        path.push(format!(".{}.tmp", hex(&random::<8>())));
        let path = PathBuf::from(path);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let made = made.map_err(|e| Failure::io(file, &e))?;
        Ok(Temporary { path, file: made })
    }

    /// It is whole, and gets its name, on the disk as well.
    fn keep_as(self, file: &Path) -> Result<()> {
        let failed = |e: io::Error| Failure::io(file, &e);
        self.file.sync_all().map_err(failed)?;
        match renameat_with(CWD, &self.path, CWD, file, RenameFlags::NOREPLACE) {
            // Not every file system has that.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                refuse_existing(file)?;
                fs::rename(&self.path, file).map_err(failed)
            }
            renamed => renamed.map_err(|e| failed(e.into())),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing is there when it was given its name.
        let _ = fs::remove_file(&self.path);
    }
}

/// The first name of a file in the archive, and what must be equal for another entry to be a name of it.
struct First {
    name: Vec<u8>,
    entry: Entry,
}

struct Making<'a> {
    context: &'a Context,
    reader: &'a Reader,
    archive: Builder<Packer>,
    place: String,
    interrupted: Arc<AtomicBool>,
    uuid: String,
    firsts: HashMap<(String, u64), First>,
    entries: u64,
    bytes: u64,
    code: Code,
}

impl Making<'_> {
    fn all(&mut self, starts: &[(&Reference<'_>, Way)], rebase: bool) -> Result<()> {
        for (reference, way) in starts {
            let row = reference.snapshot.row;
            self.uuid = row.uuid_text();
            let Some(((path, entry), above)) = way.split_last() else {
                self.beneath(&row.root.node, &[], &[])?;
                continue;
            };
            if !rebase {
                for (path, entry) in above {
                    self.entry(path, path, entry)?;
                }
            }
            let name = match entry.content {
                _ if !rebase => path.as_slice(),
                Content::Directory(_) => b".",
                _ => entry.name.as_slice(),
            };
            self.entry(path, name, entry)?;
            if let Content::Directory(subtree) = &entry.content {
                self.beneath(&subtree.node, path, if rebase { b"" } else { name })?;
            }
        }
        Ok(())
    }

    /// All that is beneath a directory, which has this path in the snapshot and this name in the archive. The stack is as high
    /// as the tree is deep.
    fn beneath(&mut self, node: &NodeId, path: &[u8], name: &[u8]) -> Result<()> {
        let reader = self.reader;
        let directory = Directory::open(reader, node).map_err(|e| self.failure(path, e))?;
        let mut stack = vec![(directory, path.to_vec(), name.to_vec())];
        while let Some((directory, path, name)) = stack.last_mut() {
            let entry = match directory.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    stack.pop();
                    continue;
                }
                Err(e) => return Err(self.failure(path, e)),
            };
            let (path, name) = (join(path, &entry.name), join(name, &entry.name));
            self.entry(&path, &name, &entry)?;
            if let Content::Directory(subtree) = &entry.content {
                let directory = Directory::open(reader, &subtree.node).map_err(|e| self.failure(&path, e))?;
                stack.push((directory, path, name));
            }
        }
        Ok(())
    }

    /// One entry, without what is beneath it.
    fn entry(&mut self, path: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        if entry.flags & FLAG_UNREADABLE != 0 {
            self.problem(path, "could not be read, or not all of it, when the snapshot was made");
            if !matches!(entry.content, Content::Directory(_)) {
                // An empty file in its place would be a lie.
                return Ok(());
            }
        } else if entry.flags & FLAG_BARE != 0 {
            self.problem(path, "its attributes could not be read when the snapshot was made");
        } else if entry.flags & FLAG_CHANGED != 0 {
            self.problem(
                path,
                "changed while the snapshot was made: its bytes may be from different moments",
            );
        }
        if let Some(why) = tarfile::refusal(&entry.content) {
            self.problem(path, why);
            return Ok(());
        }
        let group = (self.uuid.clone(), entry.link_group);
        if let Some(First { name: first, entry: known }) = self.firsts.get(&group)
            && first != name
            && (&known.content, &known.meta, &known.xattrs) == (&entry.content, &entry.meta, &entry.xattrs)
        {
            self.entries += 1;
            return tarfile::append_link(&mut self.archive, name, first, entry)
                .map_err(|e| cannot_write(&self.place, &e));
        }
        let attributes = self.attributes(path, &entry.xattrs)?;
        self.append(name, entry, &attributes).map_err(|e| match e.downcast::<Error>() {
            Ok(e) => self.failure(path, e),
            Err(e) => cannot_write(&self.place, &e),
        })?;
        if entry.link_group != 0 {
            self.firsts.entry(group).or_insert_with(|| First { name: name.to_vec(), entry: entry.clone() });
        }
        self.entries += 1;
        Ok(())
    }

    fn append(&mut self, name: &[u8], entry: &Entry, attributes: &Attributes) -> io::Result<()> {
        let Content::File(object) = &entry.content else {
            return tarfile::append(&mut self.archive, name, entry, attributes, &mut io::empty());
        };
        let bytes = Bytes::open(self.reader, object).map_err(io::Error::other)?;
        let mut bytes = Watched { bytes, interrupted: &self.interrupted }.take(object.size);
        tarfile::append(&mut self.archive, name, entry, attributes, &mut bytes)?;
        let missing = bytes.limit() > 0;
        if missing || !bytes.into_inner().bytes.next_piece().map_err(io::Error::other)?.is_empty() {
            return Err(io::Error::other(Error::damaged("a file", "is not as long as it says")));
        }
        self.bytes += object.size;
        Ok(())
    }

    fn attributes(&mut self, path: &[u8], xattrs: &Xattrs) -> Result<Attributes> {
        let all = match xattrs {
            Xattrs::None => Vec::new(),
            Xattrs::Inline(list) => list.clone(),
            Xattrs::Chunk { id, .. } => {
                let decoded = self.reader.chunk(id).and_then(|bytes| {
                    let what = || format!("extended attributes in chunk {id}");
                    decode_xattrs(&bytes).map_err(|e| Error::damaged(what(), e.0))
                });
                decoded.map_err(|e| self.failure(path, e))?
            }
        };
        let mut attributes = Vec::new();
        for (name, value) in all {
            match String::from_utf8(name) {
                Ok(name) => attributes.push((name, value)),
                Err(_) => self.problem(path, "has an attribute whose name is no text: it was left out"),
            }
        }
        Ok(attributes)
    }

    fn problem(&mut self, path: &[u8], what: &str) {
        self.context.output.problem(&[self.uuid.as_bytes(), b":/", path].concat(), what);
        self.code = Code::Problems;
    }

    fn failure(&self, path: &[u8], error: Error) -> Failure {
        let failure = Failure::from(error);
        let what = failure.what.unwrap_or_default();
        let what = format!("{}:/{}: {what}", self.uuid, String::from_utf8_lossy(path));
        Failure { what: Some(what), ..failure }
    }
}

/// Bytes that end with an error when it is interrupted.
struct Watched<'a> {
    bytes: Bytes<'a>,
    interrupted: &'a AtomicBool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(io::Error::other(Error::Interrupted)),
            false => self.bytes.read(buf),
        }
    }
}
