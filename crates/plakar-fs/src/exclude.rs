//! What a walk leaves out, by patterns as in `.gitignore`.
//!
//! | pattern | leaves out |
//! |---|---|
//! | `*.o` | whatever is called so, wherever it is |
//! | `cache/` | directories that are called so, with all that is in them |
//! | `/home/*/tmp` | what lies there, from the root of the file system |
//! | `src/*.o` | what lies so beneath any directory |
//! | `!keep.o` | nothing: what an earlier pattern would leave out stays, unless that is true of a directory above it |
//!
//! `*` and `?` do not match a slash, `**` does; the last pattern that matches counts. A backslash takes the meaning from
//! what follows. Patterns and paths are bytes, upper case is not lower case.
//!
//! What [`Besides`] says needs a look into the directory: [`crate::leaving`].

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Patterns, made ready for paths, and what is left out besides.
#[derive(Debug, Clone, Default)]
pub struct Excludes(Vec<Group>);

/// What counts beneath some paths only.
#[derive(Debug, Clone)]
struct Group {
    /// Absolute; none are all.
    beneath: Vec<Vec<u8>>,
    patterns: Gitignore,
    besides: Besides,
}

/// What is left out for what it is or holds, whatever it is called. None of it counts for a root: that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Besides {
    /// What is in a directory that holds something of one of these names ([`Besides::is_marker`]), but for that itself, if it
    /// is no directory: so that what is restored is known by it again.
    pub if_present: Vec<String>,
    /// What is in a directory whose CACHEDIR.TAG says that it is a cache, but for that file.
    pub caches: bool,
    /// Files of more bytes.
    pub max_size: Option<u64>,
    /// What is in directories of other file systems than that of their root; they themselves stay.
    pub one_file_system: bool,
    /// What `.gitignore` files name that are met on the way.
    pub gitignore: bool,
}

impl Besides {
    /// Whether something can be called so.
    pub fn is_marker(name: &str) -> bool {
        !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
    }
}

impl Excludes {
    /// Adds patterns, of which later ones count before earlier ones. They count beneath these absolute paths; everywhere if
    /// there are none. What one group leaves out no other keeps.
    ///
    /// # Errors
    /// That of the first that is none, in a sentence for the user.
    pub fn add<'p>(
        &mut self,
        beneath: Vec<Vec<u8>>,
        patterns: impl IntoIterator<Item = &'p str>,
    ) -> Result<(), String> {
        let mut builder = GitignoreBuilder::new("/");
        // Else somebody's files are gone from their backups on a machine that was set up in another way.
        builder.case_insensitive(false).map_err(|e| e.to_string())?;
        for pattern in patterns {
            let line = anywhere(pattern).ok_or_else(|| format!("{pattern:?} is no pattern"))?;
            builder.add_line(None, &line).map_err(|e| format!("{pattern:?} is no pattern: {e}"))?;
        }
        let patterns = builder.build().map_err(|e| e.to_string())?;
        if !patterns.is_empty() {
            self.0.push(Group { beneath, patterns, besides: Besides::default() });
        }
        Ok(())
    }

    /// Adds what counts beneath these absolute paths; everywhere if there are none.
    pub fn add_besides(&mut self, beneath: Vec<Vec<u8>>, besides: Besides) {
        if besides != Besides::default() {
            self.0.push(Group { beneath, patterns: Gitignore::empty(), besides });
        }
    }

    /// What counts for the directory at this absolute path itself: that is, for whatever is in it.
    pub(crate) fn about<'e>(&'e self, path: &[u8]) -> impl Iterator<Item = &'e Besides> {
        self.0.iter().filter(|group| group.counts_at(path)).map(|group| &group.besides)
    }

    /// What counts for the entries of the directory at this absolute path, each by itself.
    pub(crate) fn within<'e>(&'e self, path: &[u8]) -> impl Iterator<Item = &'e Besides> {
        let counts = |group: &&Group| group.counts_at(path) || group.beneath.iter().any(|one| is(one, path));
        self.0.iter().filter(counts).map(|group| &group.besides)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what lies at this absolute path is left out, if nothing above it is.
    pub fn leaves_out(&self, path: &[u8], is_directory: bool) -> bool {
        let shown = Path::new(OsStr::from_bytes(path));
        self.0.iter().any(|group| {
            group.counts_at(path) && matches!(group.patterns.matched(shown, is_directory), Match::Ignore(_))
        })
    }
}

impl Group {
    fn counts_at(&self, path: &[u8]) -> bool {
        let is_beneath = |above: &Vec<u8>| match path.strip_prefix(&above[..]) {
            Some(rest) => above.ends_with(b"/") || rest.starts_with(b"/"),
            None => false,
        };
        self.beneath.is_empty() || self.beneath.iter().any(is_beneath)
    }
}

/// Whether both are the same path; that of `/` is empty in a listing.
fn is(one: &[u8], path: &[u8]) -> bool {
    one.strip_suffix(b"/").unwrap_or(one) == path
}

/// The pattern as `.gitignore` has it, where one with a slash in it would mean a path from the root on. `None` for what
/// would be passed over there: nothing, spaces, what begins with `#`, NUL, more than a line.
fn anywhere(pattern: &str) -> Option<String> {
    let (not, body) = match pattern.strip_prefix('!') {
        Some(body) => ("!", body),
        None => ("", pattern),
    };
    let none = body.trim_matches(' ').trim_matches('/').is_empty() || pattern.starts_with('#');
    if none || pattern.contains(['\0', '\n']) {
        return None;
    }
    let inner = body.trim_end_matches('/').contains('/');
    let from_root = body.starts_with('/') || body.starts_with("**/");
    Some(format!("{not}{}{body}", if inner && !from_root { "**/" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(beneath: &[&str], patterns: &[&str]) -> Excludes {
        let mut excludes = Excludes::default();
        let beneath = beneath.iter().map(|path| path.as_bytes().to_vec()).collect();
        excludes.add(beneath, patterns.iter().copied()).unwrap();
        excludes
    }

    fn left_out(patterns: &[&str], path: &str) -> bool {
        excludes(&[], patterns).leaves_out(path.trim_end_matches('/').as_bytes(), path.ends_with('/'))
    }

    #[test]
    fn patterns_mean_what_the_table_says() {
        for (patterns, out, stays) in [
            (&["*.o"][..], &["/a.o", "/x/y/a.o", "/a.o/"][..], &["/a.oo", "/o", "/a.O"][..]),
            (&["cache/"], &["/cache/", "/x/cache/"], &["/cache", "/xcache/", "/cache.d/"]),
            (
                &["/home/*/tmp"],
                &["/home/me/tmp", "/home/me/tmp/"],
                &["/home/tmp", "/home/a/b/tmp", "/x/home/a/tmp"],
            ),
            (&["src/*.o"], &["/src/a.o", "/x/y/src/b.o"], &["/src/x/a.o", "/a.o", "/xsrc/a.o"]),
            (&["**/a/**/b"], &["/a/b", "/x/a/y/z/b"], &["/ab", "/a/bb"]),
            (&["*.o", "!keep.o"], &["/a.o", "/x/b.o"], &["/keep.o", "/x/keep.o"]),
            (&["!keep.o", "*.o"], &["/keep.o"], &[]),
            (&["/*", "!/home/"], &["/etc/", "/x"], &["/home/", "/home/x"]),
            (&["a?c", "[xy]z"], &["/abc", "/d/xz", "/yz"], &["/ac", "/abbc", "/zz"]),
            (&["\\#x", "\\!y", "a\\*"], &["/#x", "/!y", "/a*"], &["/x", "/y", "/ab"]),
            (&["with space", "{a,b}.c", "a["], &["/with space", "/a.c", "/a["], &["/with", "/c.c"]),
        ] {
            out.iter().for_each(|path| assert!(left_out(patterns, path), "{patterns:?} {path}"));
            stays.iter().for_each(|path| assert!(!left_out(patterns, path), "{patterns:?} {path}"));
        }
        let latin = excludes(&[], &["*.o"]);
        assert!(latin.leaves_out(b"/\xff/\xfe.o", false) && !latin.leaves_out(b"/\xff", false));
        assert!(excludes(&[], &[]).is_empty() && !latin.is_empty());
    }

    #[test]
    fn some_count_beneath_some_paths_only() {
        let mut some = excludes(&["/home/me", "/srv"], &["*.o", "!keep.o"]);
        some.add(Vec::new(), ["*.tmp"]).unwrap();
        for (path, out) in [
            ("/home/me/a.o", true),
            ("/home/me/keep.o", false),
            ("/home/men/a.o", false),
            ("/srv/x/y.o", true),
            ("/etc/a.o", false),
            ("/etc/a.tmp", true),
            ("/home/me/a.tmp", true),
        ] {
            assert_eq!(some.leaves_out(path.as_bytes(), false), out, "{path}");
        }
        assert!(excludes(&["/"], &["*.o"]).leaves_out(b"/x/a.o", false));
    }

    #[test]
    fn what_would_be_passed_over_is_refused() {
        for bad in ["", " ", "/", "!", "!/", "# a comment", "a\nb", "a\0b", "[z-a]", "{a"] {
            let refused = Excludes::default().add(Vec::new(), ["*.o", bad]).unwrap_err();
            assert!(refused.contains("is no pattern"), "{refused}");
        }
    }
}
