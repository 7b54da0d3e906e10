//! Two files, line by line.

use super::changes::{NEW, OLD};
use super::trees;
use crate::content::{self, Bytes};
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use plakar_engine::read::Reader;
use plakar_engine::tree::{Content, Entry, FLAG_SPARSE, FLAG_UNREADABLE, Object};
use serde_json::json;
use similar::TextDiff;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Files of more bytes are only told to differ.
const BYTES_MAX: u64 = 16 << 20;
/// So long the shortest list of changes is looked for; then one that is longer will do.
const PATIENCE: Duration = Duration::from_secs(5);

fn object<'e>(entry: &'e Entry, name: &str) -> Result<&'e Object> {
    match &entry.content {
        Content::File(_) if entry.flags & FLAG_UNREADABLE != 0 => {
            Err(Failure::failed(format!("{name}: its content could not be read when it was pushed")))
        }
        Content::File(object) => Ok(object),
        content => {
            Err(Failure::failed(format!("{name}: not a regular file but a {}", format::kind(content))))
        }
    }
}

/// Compares the contents of two stored files.
pub fn stored(context: &Context, reader: &Reader, pair: [&Entry; 2], names: [&str; 2]) -> Result<Code> {
    let objects = [object(pair[OLD], names[OLD])?, object(pair[NEW], names[NEW])?];
    let sparse = (pair[OLD].flags | pair[NEW].flags) & FLAG_SPARSE != 0;
    if !trees::differ(reader, objects, sparse)? {
        return Ok(Code::Done);
    }
    let small = objects.iter().all(|object| object.size <= BYTES_MAX);
    let texts = match small {
        true => Some([text(reader, objects[OLD])?, text(reader, objects[NEW])?]),
        false => None,
    };
    tell(context, texts, names)
}

/// Compares the content of a stored file with that of one of this machine.
pub fn live(
    context: &Context,
    reader: &Reader,
    entry: &Entry,
    name: &str,
    path: &[u8],
    first: usize,
) -> Result<Code> {
    let object = object(entry, name)?;
    let path = Path::new(OsStr::from_bytes(path));
    let cannot = |e: io::Error| Failure::io(path, &e);
    let file = File::open(path).map_err(cannot)?;
    let shown = format::printable(path.as_os_str().as_bytes());
    let mut names = [name, &shown];
    if first == NEW {
        names.swap(OLD, NEW);
    }
    let is_small = object.size <= BYTES_MAX && file.metadata().map_err(cannot)?.len() <= BYTES_MAX;
    let mut now = Vec::new();
    if is_small {
        // It may be growing.
        file.take(BYTES_MAX + 1).read_to_end(&mut now).map_err(cannot)?;
        if now.len() as u64 <= BYTES_MAX {
            let then = text(reader, object)?;
            if then == now {
                return Ok(Code::Done);
            }
            let texts = if first == NEW { [now, then] } else { [then, now] };
            return tell(context, Some(texts), names);
        }
        return tell(context, None, names);
    }
    let mut then = Bytes::open(reader, object)?;
    let mut now = BufReader::with_capacity(1 << 16, file);
    let mut buffer = Vec::new();
    loop {
        let piece = then.next_piece()?;
        if piece.is_empty() {
            let ended = now.read(&mut [0]).map_err(cannot)? == 0;
            return if ended { Ok(Code::Done) } else { tell(context, None, names) };
        }
        buffer.clear();
        now.by_ref().take(piece.len() as u64).read_to_end(&mut buffer).map_err(cannot)?;
        if buffer != piece {
            return tell(context, None, names);
        }
    }
}

fn text(reader: &Reader, object: &Object) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Bytes::open(reader, object)?.read_to_end(&mut bytes).map_err(|e| match content::failure(e) {
        Ok(failure) => failure,
        Err(e) => Failure::failed(e.to_string()),
    })?;
    Ok(bytes)
}

/// Tells how two files differ; only that they do, of such as are no text or too long for it.
fn tell(context: &Context, texts: Option<[Vec<u8>; 2]>, names: [&str; 2]) -> Result<Code> {
    let mut data = Data::begin()?;
    let texts = texts.filter(|texts| texts.iter().all(|text| is_text(text)));
    match (texts, context.output.json) {
        (texts, true) => {
            let mut value =
                json!({ "change": "changed", "what": ["content"], "before": names[0], "after": names[1] });
            if let Some(texts) = texts {
                value["diff"] = String::from_utf8_lossy(&unified(&texts, names)?).into();
            }
            data.json(&value)?;
        }
        (Some(texts), false) => data.bytes(&unified(&texts, names)?)?,
        (None, false) => data.line(&format!("Files {} and {} differ", names[0], names[1]))?,
    }
    data.end()?;
    Ok(Code::NO)
}

/// Whether somebody may want to read it: UTF-8, or else without what steers, in whatever letters.
fn is_text(bytes: &[u8]) -> bool {
    let steers = |b: &u8| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c);
    !bytes.contains(&0) && (std::str::from_utf8(bytes).is_ok() || !bytes.iter().any(steers))
}

fn unified(texts: &[Vec<u8>; 2], names: [&str; 2]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(texts[0].as_slice(), texts[1].as_slice());
    let mut unified = diff.unified_diff();
    unified
        .context_radius(3)
        .header(names[0], names[1])
        .to_writer(&mut out)
        .expect("memory takes everything");
    Ok(out)
}
