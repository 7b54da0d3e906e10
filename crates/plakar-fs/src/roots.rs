//! What was asked to be captured: paths made absolute, and the tree of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Some of the paths that were asked for cannot be captured; nothing was walked.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.missing))]
pub struct RootsError {
    /// Each of them as it was typed, and why.
    pub missing: Vec<(PathBuf, io::Error)>,
}

fn list(missing: &[(PathBuf, io::Error)]) -> String {
    missing.iter().map(|(path, e)| format!("{}: {e}", path.display())).collect::<Vec<_>>().join("; ")
}

/// A path made absolute by its letters alone: `.`, empty components and trailing slashes go, `..` takes
/// the component before it away. Links are not looked at, so `link/..` is where the link lies. A
/// relative path needs `cwd`.
pub fn absolute(path: &[u8], cwd: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let base: &[u8] = if path.first() == Some(&b'/') { b"" } else { cwd };
    for component in base.split(|&b| b == b'/').chain(path.split(|&b| b == b'/')) {
        match component {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|&b| b == b'/').unwrap_or(0)),
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Makes every path absolute. Those that are not there are errors, all of them in one.
pub(crate) fn resolve(typed: &[OsString]) -> Result<Vec<Vec<u8>>, RootsError> {
    let mut roots = Vec::new();
    let mut missing = Vec::new();
    for path in typed {
        match resolve_one(path.as_bytes()) {
            Ok(root) => roots.push(root),
            Err(e) => missing.push((PathBuf::from(path), e)),
        }
    }
    if missing.is_empty() { Ok(uncovered(roots)) } else { Err(RootsError { missing }) }
}

fn resolve_one(typed: &[u8]) -> io::Result<Vec<u8>> {
    if typed.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "an empty path"));
    }
    let root = if typed[0] == b'/' {
        absolute(typed, b"/")
    } else {
        absolute(typed, std::env::current_dir()?.into_os_string().into_vec().as_slice())
    };
    std::fs::metadata(std::ffi::OsStr::from_bytes(&root))?;
    Ok(root)
}

/// Drops every path that equals one before it or lies in another.
fn uncovered(roots: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let all: std::collections::HashSet<Vec<u8>> = roots.iter().cloned().collect();
    let mut seen = std::collections::HashSet::new();
    let covered = |root: &[u8]| {
        let mut slashes = root.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at.max(1));
        slashes.any(|at| at < root.len() && all.contains(&root[..at]))
    };
    roots.into_iter().filter(|root| !covered(root) && seen.insert(root.clone())).collect()
}

/// The directories on the way to the roots, and the roots, by name.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// To be captured with all it holds; then nothing lies beneath it here.
    pub root: bool,
    pub beneath: BTreeMap<Vec<u8>, Way>,
}

impl Way {
    /// The way to absolute paths of which none lies in another.
    pub fn to(roots: &[Vec<u8>]) -> Self {
        let mut way = Self::default();
        for root in roots {
            let mut at = &mut way;
            for name in root.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
                at = at.beneath.entry(name.to_vec()).or_default();
            }
            at.root = true;
        }
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_letters() {
        for (typed, expected) in [
            ("/", "/"),
            ("//a///b/", "/a/b"),
            (".", "/w/d"),
            ("./x/../y", "/w/d/y"),
            ("../../../..", "/"),
            ("/../a/./..", "/"),
            ("/a/..b/...", "/a/..b/..."),
        ] {
            assert_eq!(absolute(typed.as_bytes(), b"/w/d"), expected.as_bytes(), "{typed}");
        }
    }

    #[test]
    fn a_root_in_another_is_covered_and_order_stays() {
        let check = |roots: &[&str], expected: &[&str]| {
            let got = uncovered(roots.iter().map(|r| r.as_bytes().to_vec()).collect());
            assert_eq!(got, expected.iter().map(|r| r.as_bytes().to_vec()).collect::<Vec<_>>());
        };
        check(&["/b", "/a/c", "/a", "/b", "/ab"], &["/b", "/a", "/ab"]);
        check(&["/x", "/"], &["/"]);
        check(&["/", "/"], &["/"]);
    }
}
