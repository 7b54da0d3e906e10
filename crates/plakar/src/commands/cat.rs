//! `plakar cat`: files of snapshots on standard output.

use crate::args::Cat;
use crate::content::{Bytes, find_file};
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::Data;
use crate::repo::Purpose;
use crate::{refs, repo};
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::{FLAG_CHANGED, Object};

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
        let (entry, object) = find_file(&reader, reference, "cat")?;
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

/// Prints a file.
fn print(reader: &Reader, object: &Object, data: &mut Data) -> Result<()> {
    let mut bytes = Bytes::open(reader, object)?;
    loop {
        match bytes.next_piece()? {
            [] => return Ok(()),
            piece => data.bytes(piece)?,
        }
    }
}
