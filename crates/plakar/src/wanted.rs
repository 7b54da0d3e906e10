//! What a `find` looks for.

use crate::args::{EntryType, Find};
use crate::exit::{Failure, Result};
use crate::format;
use crate::moment::Moment;
use globset::{GlobBuilder, GlobMatcher};
use plakar_engine::tree::{Content, Entry, Kind};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Patterns of which one must fit, and conditions that must all be met.
pub struct Wanted {
    names: Vec<Pattern>,
    /// Of whole paths, which begin with a slash.
    paths: Vec<Pattern>,
    kinds: Vec<Kind>,
    larger: Option<u64>,
    smaller: Option<u64>,
    newer: Option<Moment>,
    older: Option<Moment>,
}

struct Pattern {
    /// Exactly these bytes, when nothing in them has a meaning.
    typed: Vec<u8>,
    glob: Option<GlobMatcher>,
}

/// What means something in a pattern.
const MEANING: &[u8] = b"*?[{\\";

fn has_meaning(bytes: &[u8]) -> bool {
    bytes.iter().any(|b| MEANING.contains(b))
}

impl Wanted {
    /// What the flags and the words say, and the words that are snapshots: all but the last, which is a pattern, unless flags
    /// have said what is wanted.
    ///
    /// # Errors
    /// When nothing is looked for, or a pattern is none.
    pub fn of(args: &Find) -> Result<(Wanted, &[OsString])> {
        let mut wanted = Wanted {
            names: args.names.iter().map(|typed| Pattern::new(typed.as_bytes())).collect::<Result<_>>()?,
            paths: args.paths.iter().map(|typed| Pattern::of_path(typed)).collect::<Result<_>>()?,
            kinds: args.types.iter().map(|kind| kind.kind()).collect(),
            larger: args.larger,
            smaller: args.smaller,
            newer: args.newer,
            older: args.older,
        };
        let conditions = wanted.kinds.len()
            + [wanted.larger.is_some(), wanted.smaller.is_some()].iter().filter(|is| **is).count()
            + [wanted.newer.is_some(), wanted.older.is_some()].iter().filter(|is| **is).count();
        if !wanted.names.is_empty() || !wanted.paths.is_empty() {
            return Ok((wanted, &args.words));
        }
        match args.words.split_last() {
            Some((typed, _)) if typed.is_empty() => {
                Err(Failure::usage("find: an empty pattern fits nothing"))
            }
            Some((typed, words)) => {
                match typed.as_bytes().contains(&b'/') {
                    true => wanted.paths.push(Pattern::of_path(typed)?),
                    false => wanted.names.push(Pattern::new(typed.as_bytes())?),
                }
                Ok((wanted, words))
            }
            None if conditions > 0 => Ok((wanted, &[])),
            None => Err(Failure::usage("find: what is to be found?")
                .hint("'plakar find NAME', or one of its flags: see 'plakar help find'")),
        }
    }

    /// Whether an entry with this path is wanted.
    pub fn is(&self, entry: &Entry, path: &[u8]) -> bool {
        let size = match &entry.content {
            Content::File(object) => Some(object.size),
            _ => None,
        };
        let secs = entry.meta.mtime.secs;
        (self.kinds.is_empty() || self.kinds.contains(&entry.content.kind()))
            && self.larger.is_none_or(|least| size.is_some_and(|size| size > least))
            && self.smaller.is_none_or(|most| size.is_some_and(|size| size < most))
            && self.newer.is_none_or(|moment| secs >= moment.after)
            && self.older.is_none_or(|moment| secs < moment.first)
            && (self.names.is_empty() && self.paths.is_empty()
                || self.names.iter().any(|pattern| pattern.fits(&entry.name))
                || self.paths.iter().any(|pattern| pattern.fits(path)))
    }

    /// Whether it matters where something is.
    pub fn minds_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Whether something beneath this directory may be wanted.
    pub fn may_be_beneath(&self, path: &[u8]) -> bool {
        !self.names.is_empty() || self.paths.is_empty() || self.paths.iter().any(|p| p.may_be_beneath(path))
    }
}

impl Pattern {
    fn new(typed: &[u8]) -> Result<Pattern> {
        if !has_meaning(typed) {
            return Ok(Pattern { typed: typed.to_vec(), glob: None });
        }
        let none = |why: &str| {
            let shown = format::printable(typed);
            Failure::usage(format!("find: {shown}: is no pattern: {why}"))
                .hint("'*', '?', '[...]' and '{a,b}' mean something; a backslash takes that away")
        };
        let text = std::str::from_utf8(typed).map_err(|_| none("it is not UTF-8"))?;
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|e| none(&e.kind().to_string()))?;
        Ok(Pattern { typed: typed.to_vec(), glob: Some(glob.compile_matcher()) })
    }

    /// Of whole paths: one slash between components, one before all.
    fn of_path(typed: &OsStr) -> Result<Pattern> {
        let parts: Vec<_> = components(typed.as_bytes()).collect();
        Pattern::new(&[b"/", parts.join(&b'/').as_slice()].concat())
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(OsStr::from_bytes(bytes)),
            None => bytes == self.typed,
        }
    }

    /// Whether a path that begins with this one may fit: as far as components mean themselves only, they must be the same.
    fn may_be_beneath(&self, path: &[u8]) -> bool {
        // A brace may hold a slash, and then the beginning of it is no component.
        let mut own = components(&self.typed);
        for part in components(path) {
            match own.next() {
                Some(component) if has_meaning(component) => return true,
                Some(component) if component == part => {}
                _ => return false,
            }
        }
        own.next().is_some()
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty())
}

impl EntryType {
    fn kind(self) -> Kind {
        match self {
            EntryType::F => Kind::File,
            EntryType::D => Kind::Directory,
            EntryType::L => Kind::Symlink,
            EntryType::P => Kind::Fifo,
            EntryType::S => Kind::Socket,
            EntryType::C => Kind::CharDevice,
            EntryType::B => Kind::BlockDevice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        for (pattern, fitting, others) in [
            ("passwd", &["passwd"][..], &["passwd2", "Passwd", ""][..]),
            ("*.rs", &["a.rs", ".rs", "\u{e9}.rs"], &["a.rs.bak"]),
            ("a?c", &["abc"], &["ac", "abbc"]),
            ("[ab]*", &["a", "bz"], &["c"]),
            ("{a,b}.c", &["a.c", "b.c"], &["c.c"]),
            ("a\\*", &["a*"], &["ab"]),
        ] {
            let made = Pattern::new(pattern.as_bytes()).unwrap_or_else(|_| panic!("{pattern}"));
            assert!(fitting.iter().all(|name| made.fits(name.as_bytes())), "{pattern}");
            assert!(!others.iter().any(|name| made.fits(name.as_bytes())), "{pattern}");
        }
        assert!(Pattern::new(b"\xff.c").unwrap_or_else(|_| panic!()).fits(b"\xff.c"));
        assert!(Pattern::new(b"*.c").unwrap_or_else(|_| panic!()).fits(b"\xff.c"));
        for pattern in [&b"[a"[..], b"{a", b"\xff*"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern:?}");
        }
    }

    #[test]
    fn a_pattern_of_paths_says_where_it_may_fit() {
        for (pattern, fitting, led_to, others) in [
            ("/etc/passwd", &["/etc/passwd"][..], &["", "/etc"][..], &["/usr", "/etc/passwd", "/etc/x"][..]),
            ("etc//passwd/", &["/etc/passwd"], &["", "/etc"], &["/e"]),
            ("/home/*/.ssh", &["/home/ann/.ssh"], &["", "/home", "/home/ann"], &["/etc", "/homes"]),
            ("/a/**/z", &["/a/z", "/a/b/c/z"], &["/a/b/c"], &["/b"]),
            ("/{a,b/c}/d", &["/a/d", "/b/c/d"], &["/b", "/b/c", "/a"], &[]),
        ] {
            let made = Pattern::of_path(OsStr::new(pattern)).unwrap_or_else(|_| panic!("{pattern}"));
            assert!(fitting.iter().all(|path| made.fits(path.as_bytes())), "{pattern}");
            assert!(led_to.iter().all(|path| made.may_be_beneath(path.as_bytes())), "{pattern}");
            assert!(!others.iter().any(|path| made.may_be_beneath(path.as_bytes())), "{pattern}");
        }
    }
}
