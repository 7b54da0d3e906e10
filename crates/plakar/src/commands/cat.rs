//! `plakar cat`: files of snapshots on standard output.

use crate::args::Cat;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::Data;
use crate::refs::Reference;
use crate::repo::Purpose;
use crate::{format, refs, repo};
use plakar_engine::Error;
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::{Body, Chunks, Content, Entry, FLAG_CHANGED, FLAG_UNREADABLE, Object, find_path};

/// Prints files, one after the other. All are found before the first is printed. No link is followed.
pub fn run(context: &Context, args: &Cat) -> Result<Code> {
    if args.references.is_empty() {
        return Err(Failure::usage("cat: at least one parameter is required"));
    }
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let references = refs::resolve(&snapshots, &args.references)?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    let mut code = Code::Done;
    let mut files = Vec::new();
    for reference in &references {
        let (entry, object) = find(&reader, reference)?;
        if entry.flags & FLAG_CHANGED != 0 {
            let what = "changed while it was pushed: its bytes may be from different moments";
            context.output.problem(reference.shown_path().as_bytes(), what);
            code = Code::Problems;
        }
        files.push(object);
    }
    let mut data = Data::begin()?;
    for object in &files {
        if let Err(failure) = print(&reader, object, &mut data) {
            // The bytes before the damage are right: they are not kept back.
            data.end()?;
            return Err(failure);
        }
    }
    data.end()?;
    Ok(code)
}

fn find(reader: &Reader, reference: &Reference<'_>) -> Result<(Entry, Object)> {
    let row = reference.snapshot.row;
    if reference.path().is_empty() {
        return Err(Failure::usage(format!("cat: missing filename for snapshot {}", row.uuid_text())));
    }
    let cannot =
        |why: &str| Failure::failed(format!("cat: could not open file '{}': {why}", reference.shown_path()));
    let entry = find_path(reader, &row.root, reference.path())?
        .ok_or_else(|| cannot("no such path in the snapshot"))?;
    match &entry.content {
        Content::File(_) if entry.flags & FLAG_UNREADABLE != 0 => {
            Err(cannot("its content could not be read when it was pushed"))
        }
        Content::File(object) => {
            let object = object.clone();
            Ok((entry, object))
        }
        content => Err(cannot(&format!("not a regular file but a {}", format::kind(content)))),
    }
}

/// Prints a file. Every chunk is proven before any of it is printed.
fn print(reader: &Reader, object: &Object, data: &mut Data) -> Result<()> {
    if let Body::Inline(bytes) = &object.body {
        return data.bytes(bytes);
    }
    let mut chunks = Chunks::open(reader, object)?;
    while let Some(row) = chunks.next_row()? {
        let bytes = reader.chunk(&row.id)?;
        if bytes.len() != row.len as usize {
            return Err(Error::damaged(format!("chunk {}", row.id), "is not as long as its file says").into());
        }
        for _ in 0..row.repeat {
            data.bytes(&bytes)?;
        }
    }
    Ok(())
}
