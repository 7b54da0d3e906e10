//! Sizes and durations as they are typed.

use std::num::NonZeroU64;
use std::time::Duration;

/// A number of bytes: `500`, `500k`, `1.5G`, `2GiB`. Letters count in thousands, with `iB` in 1,024s.
///
/// # Errors
/// A sentence for the user.
pub fn size(typed: &str) -> Result<u64, String> {
    let what = || format!("{typed:?} is no size: write a number and B, k, M, G, T or KiB, MiB, GiB, TiB");
    let (number, unit) = split(typed).ok_or_else(what)?;
    let unit = unit.to_ascii_lowercase();
    let letters = ["", "k", "m", "g", "t"];
    let (base, letter) = match unit.strip_suffix("ib") {
        Some(letter) => (1024f64, letter),
        None => (1000f64, unit.strip_suffix('b').unwrap_or(&unit)),
    };
    let power = letters.iter().position(|known| *known == letter).filter(|power| base < 1024.0 || *power > 0);
    let bytes = number * base.powi(power.ok_or_else(what)? as i32);
    if bytes <= 2f64.powi(63) { Ok(bytes as u64) } else { Err(what()) }
}

/// The least that a connection needs to be told from one that does not answer.
const RATE_MIN: u64 = 16_000;

/// A number of bytes a second, written as [`size`].
///
/// # Errors
/// A sentence for the user.
pub fn rate(typed: &str) -> Result<NonZeroU64, String> {
    let bytes = size(typed)?;
    let enough = NonZeroU64::new(bytes).filter(|_| bytes >= RATE_MIN);
    enough.ok_or_else(|| format!("{typed} a second is too little: at least 16k are needed"))
}

/// A number of seconds: `90s`, `15m`, `12h`, `7d`, `2w`; `0` needs no unit.
///
/// # Errors
/// A sentence for the user.
pub fn seconds(typed: &str) -> Result<i64, String> {
    let what = || format!("{typed:?} is no time span: write a number and s, m, h, d or w");
    let (number, unit) = split(typed).ok_or_else(what)?;
    let scale = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        "" if number == 0.0 => 1.0,
        _ => return Err(what()),
    };
    // Longer than anybody keeps anything, and far from where numbers end.
    if number * scale <= 1e12 { Ok((number * scale) as i64) } else { Err(what()) }
}

/// Less is over before anybody has tried again, and after more nobody remembers what was begun.
const PATIENCE: (i64, i64) = (1, 7 * 86_400);

/// How long to go on trying, written as [`seconds`].
///
/// # Errors
/// A sentence for the user.
pub fn patience(typed: &str) -> Result<Duration, String> {
    let secs = seconds(typed)?;
    if secs < PATIENCE.0 || secs > PATIENCE.1 {
        return Err(format!("{typed} is not from 1s to 7d"));
    }
    Ok(Duration::from_secs(secs as u64))
}

/// A share: `5%`, from a little more than nothing to all. Returns it as a part of 1.
///
/// # Errors
/// A sentence for the user.
pub fn share(typed: &str) -> Result<f64, String> {
    let percent = split(typed).filter(|(number, unit)| *unit == "%" && *number > 0.0 && *number <= 100.0);
    percent
        .map(|(number, _)| number / 100.0)
        .ok_or_else(|| format!("{typed:?} is no share: write 5% or 100%"))
}

/// The number at the beginning, and what follows.
fn split(typed: &str) -> Option<(f64, &str)> {
    let end = typed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(typed.len());
    Some((typed[..end].parse().ok()?, typed[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (typed, bytes) in [
            ("0", 0),
            ("500", 500),
            ("500B", 500),
            ("500k", 500_000),
            ("1.5G", 1_500_000_000),
            ("2 GiB", 2 << 30),
            ("3tb", 3_000_000_000_000),
        ] {
            assert_eq!(size(typed), Ok(bytes), "{typed}");
        }
        for typed in ["", "G", "-1", "1X", "1 iB", "1e3", "1..2", "99999999T", "1Gi", "0x10", "∞"] {
            assert!(size(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn time_spans_are_read_as_they_are_written() {
        for (typed, secs) in [
            ("0", 0),
            ("90s", 90),
            ("15m", 900),
            ("12h", 43_200),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("1.5h", 5_400),
        ] {
            assert_eq!(seconds(typed), Ok(secs), "{typed}");
        }
        for typed in ["", "7", "d", "-1d", "1y", "99999999999w", "1 d d"] {
            assert!(seconds(typed).is_err() && patience(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn patience_has_bounds() {
        for (typed, secs) in [("1s", 1), ("90s", 90), ("10m", 600), ("7d", 604_800)] {
            assert_eq!(patience(typed), Ok(Duration::from_secs(secs)), "{typed}");
        }
        for typed in ["0", "0s", "0.9s", "8d", "2w"] {
            assert!(patience(typed).unwrap_err().contains("1s to 7d"), "{typed}");
        }
    }
}
