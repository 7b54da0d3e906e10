//! What differs, as it is told.

use crate::commands::ls::{entry_json, entry_line};
use crate::context::Context;
use crate::exit::{Code, Result};
use crate::format;
use crate::output::Data;
use plakar_engine::Error;
use plakar_engine::tree::{Content, Entry, FLAGS_PROBLEM};
use serde_json::json;

/// Tells of one difference after the other.
pub struct Changes<'a> {
    context: &'a Context,
    data: Data,
    /// What the paths of either side begin with; what is compared lies beneath.
    above: [Vec<u8>; 2],
    /// Which of the two was typed first.
    first: usize,
    any: bool,
    problems: bool,
}

/// Where what is compared stands: the older or stored one, and the other.
pub const OLD: usize = 0;
/// The other of them.
pub const NEW: usize = 1;

impl<'a> Changes<'a> {
    /// Nothing differs so far. `first` is the side that was typed first: what only the other one has was added.
    pub fn begin(context: &'a Context, above: [Vec<u8>; 2], first: usize) -> Result<Changes<'a>> {
        Ok(Changes { context, data: Data::begin()?, above, first, any: false, problems: false })
    }

    /// Only one side has this, so far beneath what is compared.
    pub fn only(&mut self, side: usize, entry: &Entry, beneath: &[u8]) -> Result<()> {
        self.any = true;
        let (sign, word) = if side == self.first { ('-', "removed") } else { ('+', "added") };
        let path = self.path(side, beneath);
        if self.context.output.json {
            return self.data.json(&json!({ "change": word, "entry": entry_json(entry, &path) }));
        }
        self.data.line(&format!("{sign} {}", entry_line(entry, &format::printable(&path))))
    }

    /// Both have it. `contents` and `attributes`: whether those differ, as far as the two are of one type.
    pub fn both(
        &mut self,
        pair: [&Entry; 2],
        beneath: &[u8],
        contents: bool,
        attributes: bool,
    ) -> Result<()> {
        let (before, after) = (pair[self.first], pair[1 - self.first]);
        let what = differences(before, after, contents, attributes);
        if what.is_empty() {
            return Ok(());
        }
        self.any = true;
        let path = self.path(self.first, beneath);
        if self.context.output.json {
            let names: Vec<_> = what.iter().map(|(name, _)| *name).collect();
            let (before, after) =
                (entry_json(before, &path), entry_json(after, &self.path(1 - self.first, beneath)));
            return self
                .data
                .json(&json!({ "change": "changed", "what": names, "before": before, "after": after }));
        }
        let told: Vec<_> = what.iter().map(|(name, how)| format!("{name}{how}")).collect();
        self.data.line(&format!("~ {}: {}", format::printable(&path), told.join(", ")))
    }

    /// What could not be compared, and why.
    pub fn problem(&mut self, beneath: &[u8], what: &str) {
        self.problems = true;
        self.context.output.problem(&self.path(NEW, beneath), what);
    }

    /// What is damaged here cannot be compared.
    ///
    /// # Errors
    /// The error, if it is about more than this.
    pub fn damaged(&mut self, beneath: &[u8], error: Error) -> Result<()> {
        if !error.is_damage() && !error.is_not_found() {
            return Err(error.into());
        }
        let path = self.path(OLD, beneath);
        self.context.output.damage(&format!("{}: {error}", String::from_utf8_lossy(&path)));
        Ok(())
    }

    /// Whether there was a difference, or something that could not be compared.
    pub fn end(self) -> Result<Code> {
        self.data.end()?;
        let code = if self.any { Code::NO } else { Code::Done };
        Ok(if self.problems { Code::Problems } else { code })
    }

    fn path(&self, side: usize, beneath: &[u8]) -> Vec<u8> {
        let path = [&self.above[side], beneath].concat();
        if path.is_empty() { b"/".to_vec() } else { path }
    }
}

/// What two entries differ in, and how.
fn differences(a: &Entry, b: &Entry, contents: bool, attributes: bool) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut differ = |name, a: String, b: String| {
        if a != b {
            found.push((name, format!(" {a} -> {b}")));
        }
    };
    differ("type", format::kind(&a.content).into(), format::kind(&b.content).into());
    let size = |entry: &Entry| match &entry.content {
        Content::File(object) => format!("{} bytes", object.size),
        _ => String::new(),
    };
    let same_type = a.content.kind() == b.content.kind();
    match (&a.content, &b.content) {
        (Content::Symlink(a), Content::Symlink(b)) => {
            differ("target", format::printable(a), format::printable(b));
        }
        (Content::CharDevice(a), Content::CharDevice(b))
        | (Content::BlockDevice(a), Content::BlockDevice(b)) => {
            differ("device", format!("{}:{}", a.major, a.minor), format!("{}:{}", b.major, b.minor));
        }
        (Content::File(_), Content::File(_)) => differ("size", size(a), size(b)),
        _ => {}
    }
    differ("mode", format!("{:04o}", a.meta.mode), format!("{:04o}", b.meta.mode));
    let owner = |entry: &Entry| {
        let meta = &entry.meta;
        let one = |name: &[u8], id: u32| match name {
            b"" => id.to_string(),
            name => format!("{}({id})", format::printable(name)),
        };
        format!("{}:{}", one(&meta.user, meta.uid), one(&meta.group, meta.gid))
    };
    differ("owner", owner(a), owner(b));
    differ("mtime", format::exact_time(a.meta.mtime), format::exact_time(b.meta.mtime));
    if contents && same_type {
        found.insert(0, ("content", String::new()));
    }
    if attributes {
        found.push(("attributes", String::new()));
    }
    // What was not captured as it was is nothing that one side has, but it is not the same either.
    if (a.flags ^ b.flags) & FLAGS_PROBLEM != 0 {
        found.push(("captured otherwise", String::new()));
    }
    found
}
