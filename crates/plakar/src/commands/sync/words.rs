//! What was typed after `sync`.

use crate::exit::{Failure, Result};
use std::ffi::OsString;

/// Which way snapshots go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From this repository to peers.
    To,
    /// From peers to this one.
    From,
    /// Both ways, until all have the same.
    With,
}

/// `[SNAPSHOT...] DIRECTION PEER...`, or peers alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Words<'a> {
    /// Only these; all, if none is named.
    pub snapshots: &'a [OsString],
    /// Which way.
    pub direction: Direction,
    /// Repositories; at least one.
    pub peers: &'a [OsString],
}

impl<'a> Words<'a> {
    /// The first word that is a direction is it; without one all words are destinations.
    pub fn parse(words: &'a [OsString]) -> Result<Words<'a>> {
        let direction = |word: &OsString| match word.to_str() {
            Some("to") => Some(Direction::To),
            Some("from") => Some(Direction::From),
            Some("with") => Some(Direction::With),
            _ => None,
        };
        let found = words.iter().enumerate().find_map(|(at, word)| Some((at, direction(word)?)));
        let (snapshots, direction, peers) = match found {
            Some((at, direction)) => (&words[..at], direction, &words[at + 1..]),
            None => (&words[..0], Direction::To, words),
        };
        if peers.is_empty() {
            let what = match found {
                Some((at, _)) => format!("sync: missing repository after '{}'", words[at].to_string_lossy()),
                None => "sync: missing repository to sync with".into(),
            };
            return Err(Failure::usage(what).hint("'plakar sync [[SNAPSHOT...] to|from|with] REPOSITORY...'"));
        }
        Ok(Words { snapshots, direction, peers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: Option<(&str, Direction, &str)>) {
        let words = |text: &str| text.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        let typed = words(typed);
        let parsed = Words::parse(&typed).ok().map(|w| (w.snapshots.to_vec(), w.direction, w.peers.to_vec()));
        assert_eq!(parsed, expected.map(|(a, direction, b)| (words(a), direction, words(b))), "{typed:?}");
    }

    #[test]
    fn the_first_bare_word_that_is_one_is_the_direction() {
        use Direction::{From, To, With};
        check("", None);
        check("to", None);
        check("a b with", None);
        check("x", Some(("", To, "x")));
        check("x y", Some(("", To, "x y")));
        check("to x", Some(("", To, "x")));
        check("from x y", Some(("", From, "x y")));
        check("3a 3b with x", Some(("3a 3b", With, "x")));
        check("3a to to from", Some(("3a", To, "to from")));
        check("./to", Some(("", To, "./to")));
    }
}
