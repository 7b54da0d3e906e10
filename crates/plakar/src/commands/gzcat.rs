//! `plakar gzcat`: what is in compressed files of snapshots, on standard output.

use crate::args::Gzcat;
use crate::content::{self, Bytes, find_file};
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::Data;
use crate::repo::Purpose;
use crate::{refs, repo};
use flate2::read::MultiGzDecoder;
use plakar_engine::read::{CACHE_BYTES_DEFAULT, Reader};
use plakar_engine::tree::{FLAG_CHANGED, Object};
use std::io::Read;

/// Prints what is in files, one after the other. All are found before the first is printed. No link is followed.
pub fn run(context: &Context, args: &Gzcat) -> Result<Code> {
    if args.references.is_empty() {
        return Err(Failure::usage("gzcat: at least one parameter is required"));
    }
    let repository = repo::unlock(context, Purpose::Read)?.open(context)?;
    let snapshots = repository.state().snapshots();
    let references = refs::resolve(&snapshots, &args.references)?;
    let reader = Reader::new(&repository, CACHE_BYTES_DEFAULT);
    let mut code = Code::Done;
    let mut files = Vec::new();
    for reference in &references {
        let (entry, object) = find_file(&reader, reference, "gzcat")?;
        let name = format!("{}:{}", reference.snapshot.row.uuid_text(), reference.shown_path());
        if entry.flags & FLAG_CHANGED != 0 {
            let what = "changed while it was pushed: its bytes may be from different moments";
            context.output.problem(name.as_bytes(), what);
            code = Code::Problems;
        }
        files.push((name, object));
    }
    let mut data = Data::begin()?;
    for (name, object) in &files {
        if let Err(failure) = print(&reader, name, object, &mut data) {
            // The bytes before it are right: they are not kept back.
            data.end()?;
            return Err(failure);
        }
    }
    data.end()?;
    Ok(code)
}

/// Prints what is in a file, in all its members. Bounded, however much that is.
fn print(reader: &Reader, name: &str, object: &Object, data: &mut Data) -> Result<()> {
    let mut bytes = MultiGzDecoder::new(Bytes::open(reader, object)?);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => data.bytes(&buffer[..n])?,
            Err(e) => {
                return Err(match content::failure(e) {
                    Ok(failure) => failure,
                    Err(e) => {
                        Failure::failed(format!("gzcat: {name}: is not what gzip writes, or ends early: {e}"))
                    }
                });
            }
        }
    }
}
