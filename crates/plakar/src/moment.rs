//! Days and times as they are typed: `2026-11-22`, `2026-11-22T10:00`, `2026-11-22T10:00:05Z`.
//!
//! They are of UTC, as `ls` prints them, so what it prints can be typed. Each stands for a while: a day, a minute, or a
//! second.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A day, a minute or a second, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Its first second.
    pub first: i64,
    /// The second after its last.
    pub after: i64,
}

/// What a day begins with. Nothing else that is typed looks like it: where these letters of an ID are, it has no dashes.
const DAY: &[u8] = b"dddd-dd-dd";
const MINUTE: &[u8] = b"dddd-dd-ddTdd:dd";
const SECOND: &[u8] = b"dddd-dd-ddTdd:dd:dd";

/// Whether somebody meant a day, or a time of one.
pub fn is_meant(text: &[u8]) -> bool {
    fits(text, DAY)
}

/// How many bytes at the beginning are a time of a day, colons among them: as many as can be; 0 if there is none.
///
/// What could be seconds is seconds, and not a path: unless it goes on with what no time has.
pub fn time_len(text: &[u8]) -> usize {
    let ends = |at: usize| matches!(text.get(at), None | Some(b':' | b'~' | b'Z'));
    let len = match (fits(text, SECOND) && ends(SECOND.len()), fits(text, MINUTE)) {
        (true, _) => SECOND.len(),
        (false, true) => MINUTE.len(),
        (false, false) => return 0,
    };
    len + usize::from(text.get(len) == Some(&b'Z'))
}

fn fits(text: &[u8], pattern: &[u8]) -> bool {
    let one = |(letter, expected): (&u8, &u8)| match expected {
        b'd' => letter.is_ascii_digit(),
        _ => letter == expected,
    };
    text.len() >= pattern.len() && text.iter().zip(pattern).all(one)
}

/// Reads a day or a time.
///
/// # Errors
/// A sentence for the user.
pub fn parse(typed: &str) -> Result<Moment, String> {
    let what =
        || format!("{typed:?} is no time: write 2026-11-22, 2026-11-22T10:00 or 2026-11-22T10:00:05, of UTC");
    let text = typed.as_bytes();
    let bare = if text.len() == time_len(text) { typed.trim_end_matches('Z') } else { typed };
    let (begin, len) = match bare.len() {
        n if n == DAY.len() && is_meant(text) => (format!("{bare}T00:00:00"), 86_400),
        n if n == MINUTE.len() && time_len(text) > 0 => (format!("{bare}:00"), 60),
        n if n == SECOND.len() && time_len(text) > 0 => (bare.to_owned(), 1),
        _ => return Err(what()),
    };
    let begin: DateTime = begin.parse().map_err(|_| what())?;
    let first = TimeZone::UTC.to_timestamp(begin).map_err(|_| what())?.as_second();
    Ok(Moment { first, after: first + len })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (typed, first, len) in [
            ("1970-01-01", 0, 86_400),
            ("2022-03-05", 1_646_438_400, 86_400),
            ("2022-03-05T22:30", 1_646_519_400, 60),
            ("2022-03-05T22:30Z", 1_646_519_400, 60),
            ("2022-03-05T22:30:58", 1_646_519_458, 1),
            ("2022-03-05T22:30:58Z", 1_646_519_458, 1),
            ("1969-12-31T23:59:59Z", -1, 1),
            ("9999-12-30", 253_402_128_000, 86_400),
        ] {
            assert_eq!(parse(typed), Ok(Moment { first, after: first + len }), "{typed}");
        }
        for typed in [
            "",
            "2022",
            "2022-03",
            "2022-13-01",
            "2022-02-30",
            "2022-3-5",
            "22-03-05",
            "2022-03-05T",
            "2022-03-05T22",
            "2022-03-05T25:00",
            "2022-03-05T22:61",
            "2022-03-05 22:30",
            "2022-03-05Z",
            "2022-03-05T22:30ZZ",
            "2022-03-05T22:30:5",
            "2022-03-05T22:30:58+01:00",
            "yesterday",
            "2022-03-05\u{663}",
        ] {
            assert!(parse(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn a_time_is_as_long_as_it_can_be() {
        for (typed, len) in [
            ("2022-03-05", 0),
            ("2022-03-05:/etc", 0),
            ("2022-03-05T22:30", 16),
            ("2022-03-05T22:30:/etc", 16),
            ("2022-03-05T22:30:etc", 16),
            ("2022-03-05T22:30:58", 19),
            ("2022-03-05T22:30:58:/etc", 19),
            ("2022-03-05T22:30:58Z:58", 20),
            ("2022-03-05T22:30:58~1", 19),
            ("2022-03-05T22:30Z:58", 17),
            ("2022-03-05T22:30:58a", 16),
            ("2022-03-05T22:30:/58", 16),
            ("3a57:/2022-03-05T22:30", 0),
        ] {
            assert_eq!(time_len(typed.as_bytes()), len, "{typed}");
        }
    }
}
