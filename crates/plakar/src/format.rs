//! Sizes, times, modes and names as they are shown.

use jiff::Timestamp;
use plakar_engine::tree::{Content, Entry, Time};
use std::fmt::Write;

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// A size in units of 1000: below 10 of a unit with one decimal, else with none.
///
/// It is rounded to one decimal first and, if that is not shown, then to an even whole number: what tools have
/// printed that scripts know.
pub fn size(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scale = 1u64;
    while bytes / scale >= 1000 {
        unit += 1;
        scale *= 1000;
    }
    let value = (bytes as f64 / scale as f64 * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{:.0} {}", value.round_ties_even(), UNITS[unit])
    }
}

/// A size, and its bytes.
pub fn size_and_bytes(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", size(bytes))
}

/// A moment, to the second.
pub fn time(secs: i64) -> String {
    match Timestamp::from_second(secs) {
        Ok(time) => time.to_string(),
        // A time that no calendar has.
        Err(_) => format!("@{secs}"),
    }
}

/// The day of a moment.
pub fn date(secs: i64) -> String {
    let time = time(secs);
    time.split_once('T').map_or(time.as_str(), |(date, _)| date).to_owned()
}

/// A moment, to the nanosecond.
pub fn exact_time(time: Time) -> String {
    match Timestamp::new(time.secs, time.nanos.min(999_999_999) as i32) {
        Ok(time) => time.to_string(),
        Err(_) => format!("@{}.{:09}", time.secs, time.nanos),
    }
}

/// Type and mode of an entry: letters for the type and for setuid (`u`), setgid (`g`) and sticky (`t`), or `-`; then
/// nine letters of permissions.
pub fn mode(entry: &Entry) -> String {
    let mode = entry.meta.mode;
    let mut text = String::new();
    let (before, after) = match entry.content {
        Content::File(_) => ("", ""),
        Content::Directory(_) => ("d", ""),
        Content::Symlink(_) => ("L", ""),
        Content::Fifo => ("p", ""),
        Content::Socket => ("S", ""),
        Content::CharDevice(_) => ("D", "c"),
        Content::BlockDevice(_) => ("D", ""),
    };
    text.push_str(before);
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    text.push_str(after);
    if mode & 0o1000 != 0 {
        text.push('t');
    }
    if text.is_empty() {
        text.push('-');
    }
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if mode & (0o400 >> at) != 0 { letter } else { '-' });
    }
    text
}

/// What an entry's type is called in JSON.
pub fn kind(content: &Content) -> &'static str {
    match content {
        Content::File(_) => "file",
        Content::Directory(_) => "directory",
        Content::Symlink(_) => "symlink",
        Content::Fifo => "fifo",
        Content::Socket => "socket",
        Content::CharDevice(_) => "char-device",
        Content::BlockDevice(_) => "block-device",
    }
}

/// Bytes as text on one line: what would steer a terminal, or is not UTF-8, as `\xNN`.
pub fn printable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if steers(c) {
                let mut buf = [0; 4];
                c.encode_utf8(&mut buf).bytes().for_each(|b| hex(&mut out, b));
            } else {
                out.push(c);
            }
        }
        chunk.invalid().iter().for_each(|&b| hex(&mut out, b));
    }
    out
}

/// As [`printable`], but lines stay lines: for messages.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(|line| printable(line.as_bytes())).collect::<Vec<_>>().join("\n")
}

fn hex(out: &mut String, byte: u8) {
    let _ = write!(out, "\\x{byte:02x}");
}

/// Control characters, and those that turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use plakar_engine::tree::{Device, Meta, Object, Xattrs};

    #[test]
    fn sizes_round_as_scripts_know_them() {
        for (bytes, expected) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (255, "255 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1049, "1.0 kB"),
            (1050, "1.1 kB"),
            (3_100, "3.1 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (10_500, "10 kB"),
            (11_500, "12 kB"),
            (10_549, "10 kB"),
            (10_551, "11 kB"),
            (121_000, "121 kB"),
            (999_999, "1000 kB"),
            (1_000_000, "1.0 MB"),
            (8_093_264, "8.1 MB"),
            (12_999_999, "13 MB"),
            (1_000_000_000 - 1, "1000 MB"),
            (1_000_000_000_000_000_000, "1.0 EB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
        assert_eq!(size_and_bytes(8_093_264), "8.1 MB (8093264 bytes)");
    }

    #[test]
    fn times_are_utc_and_never_fail() {
        assert_eq!(time(1_646_519_458), "2022-03-05T22:30:58Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59Z");
        assert_eq!(time(i64::MAX), "@9223372036854775807");
        assert_eq!((date(1_646_519_458), date(i64::MIN)), ("2022-03-05".into(), format!("@{}", i64::MIN)));
        assert_eq!(exact_time(Time { secs: 0, nanos: 5_000_000 }), "1970-01-01T00:00:00.005Z");
        assert_eq!(exact_time(Time { secs: i64::MIN, nanos: 1 }), "@-9223372036854775808.000000001");
    }

    #[test]
    fn modes_are_written_with_letters() {
        let file = || Content::File(Object { size: 0, body: plakar_engine::tree::Body::Inline(vec![]) });
        for (mode_bits, content, expected) in [
            (0o755, file(), "-rwxr-xr-x"),
            (0o000, file(), "----------"),
            (0o4755, file(), "urwxr-xr-x"),
            (0o6711, file(), "ugrwx--x--x"),
            (0o777, Content::Symlink(b"x".to_vec()), "Lrwxrwxrwx"),
            (0o644, Content::Fifo, "prw-r--r--"),
            (0o1644, Content::Socket, "Strw-r--r--"),
            (0o620, Content::CharDevice(Device::default()), "Dcrw--w----"),
            (0o660, Content::BlockDevice(Device::default()), "Drw-rw----"),
        ] {
            let meta = Meta { mode: mode_bits, ..Meta::default() };
            let entry = Entry { name: vec![], meta, xattrs: Xattrs::None, link_group: 0, flags: 0, content };
            assert_eq!(mode(&entry), expected);
        }
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            printable("a é\t\x1b[2J\u{9b}\u{202e}".as_bytes()),
            "a é\\x09\\x1b[2J\\xc2\\x9b\\xe2\\x80\\xae"
        );
        assert_eq!(printable(b"\xff/\xe2\x82x"), "\\xff/\\xe2\\x82x");
        assert_eq!(printable_lines("a\nb\r"), "a\nb\\x0d");
    }
}
