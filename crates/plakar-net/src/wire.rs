//! What both sides write and read: names of headers, kinds of errors, lines of listings, ranges.

use plakar_store::{Error, ErrorKind, Listed, Name, Range};

/// The version of the protocol, in every path.
pub const VERSION: &str = "v1";
/// What went wrong, by the name of its kind. An answer without it is not this protocol's.
pub const ERROR: &str = "plakar-error";
/// The BLAKE3 of a body, in hexadecimal.
pub const BLAKE3: &str = "plakar-blake3";
/// The length of an object, in bytes.
pub const LENGTH: &str = "plakar-length";
/// In the answer to a hello: whether the store promises to list all that was put.
pub const STRONG_LIST: &str = "plakar-strong-list";
/// In the answer to a hello: what the client may do.
pub const ROLE: &str = "plakar-role";

/// The longest object.
pub const OBJECT_MAX: u64 = 256 << 20;
/// The most ranges of one request,
pub const RANGES_MAX: usize = 4096;
/// and the most bytes that they ask for together, unless it is one range.
pub const RANGES_BYTES_MAX: u64 = 64 << 20;
/// The slowest that anybody may send a body, in bytes a second.
pub const RATE_MIN: u64 = 4096;
/// The longest text of an error.
pub const TEXT_MAX: usize = 4096;
/// Longer than any line of a listing or of ranges.
pub const LINE_MAX: usize = 300;

const KINDS: [(ErrorKind, &str, u16); 9] = [
    (ErrorKind::NotFound, "not-found", 404),
    (ErrorKind::Exists, "exists", 409),
    (ErrorKind::Short, "short", 416),
    (ErrorKind::TooLarge, "too-large", 413),
    (ErrorKind::Full, "full", 507),
    (ErrorKind::Denied, "denied", 403),
    (ErrorKind::Foreign, "foreign", 404),
    (ErrorKind::Damaged, "damaged", 500),
    (ErrorKind::Io, "io", 500),
];

fn known(kind: ErrorKind) -> usize {
    KINDS.iter().position(|(one, ..)| *one == kind).expect("all are there")
}

/// What a kind of error is called.
pub fn kind_name(kind: ErrorKind) -> &'static str {
    KINDS[known(kind)].1
}

/// The status of an answer that tells of an error.
pub fn kind_status(kind: ErrorKind) -> u16 {
    KINDS[known(kind)].2
}

/// The kind that is called so.
pub fn kind_named(text: &str) -> Option<ErrorKind> {
    KINDS.iter().find(|(_, name, _)| *name == text).map(|(kind, ..)| *kind)
}

/// The text of an error, no longer than it may be, on one line.
pub fn text_of(error: &Error) -> String {
    let mut text = error.to_string().replace(['\n', '\r'], " ");
    let mut end = TEXT_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The hash that a name ends in, if it does: `packs/ab/HASH`, `log/TIME-HASH`.
pub fn hash_in(name: &Name) -> Option<[u8; 32]> {
    let last = name.last();
    let at = last.len().checked_sub(64)?;
    let (before, hex) = last.split_at_checked(at)?;
    if !before.is_empty() && !before.ends_with('-') {
        return None;
    }
    blake3::Hash::from_hex(hex).ok().map(|hash| *hash.as_bytes())
}

/// Whether some name may begin so.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= LINE_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'/')
}

/// A line of a listing.
pub fn write_listed(listed: &Listed, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{} {} {}\n", listed.len, listed.received_ms, listed.name).as_bytes());
}

/// The last line of a listing: how many there were.
pub fn write_end(count: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("end {count}\n").as_bytes());
}

/// The most folders whose state is asked for at once.
pub const FOLDERS_MAX: usize = 16;

/// The most objects of all of them.
pub const STATE_MAX: usize = plakar_store::AT_ONE_MOMENT_MAX;

/// A folder whose state is asked for, and what is known of it: the digest of its objects up to a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Folder {
    /// What the names begin with.
    pub prefix: String,
    /// What is known.
    pub known: Option<(blake3::Hash, Name)>,
}

impl Folder {
    /// A folder of which these objects are known, sorted by name.
    pub fn of(prefix: &str, known: &[Listed]) -> Folder {
        let known = known.last().map(|last| (digest(known), last.name.clone()));
        Folder { prefix: prefix.to_owned(), known }
    }

    /// How many of these objects, sorted by name, are those that are known, and none more.
    pub fn knows(&self, listed: &[Listed]) -> Option<usize> {
        let (known, last) = self.known.as_ref()?;
        let until = listed.partition_point(|one| one.name <= *last);
        (digest(&listed[..until]) == *known).then_some(until)
    }
}

/// The BLAKE3 of the lines of a listing, without its last.
fn digest(listed: &[Listed]) -> blake3::Hash {
    let (mut hasher, mut line) = (blake3::Hasher::new(), Vec::new());
    for one in listed {
        line.clear();
        write_listed(one, &mut line);
        hasher.update(&line);
    }
    hasher.finalize()
}

/// The body of a request for the state of folders.
pub fn write_folders(folders: &[Folder]) -> Vec<u8> {
    let line = |folder: &Folder| match &folder.known {
        Some((digest, last)) => format!("{} {digest} {last}\n", folder.prefix),
        None => format!("{}\n", folder.prefix),
    };
    folders.iter().map(line).collect::<String>().into_bytes()
}

/// Reads the body of a request for the state of folders; nothing unless all of it is what it must be.
pub fn read_folders(body: &[u8]) -> Option<Vec<Folder>> {
    let text = str::from_utf8(body).ok()?;
    let mut folders = Vec::new();
    for line in text.split_terminator('\n') {
        let words: Vec<_> = line.split(' ').collect();
        let known = match words[1..] {
            [] => None,
            [digest, last] => Some((blake3::Hash::from_hex(digest).ok()?, Name::new(last)?)),
            _ => return None,
        };
        if words[0].is_empty() || !is_prefix(words[0]) || folders.len() == FOLDERS_MAX {
            return None;
        }
        folders.push(Folder { prefix: words[0].to_owned(), known });
    }
    (text.is_empty() || text.ends_with('\n')).then_some(folders)
}

/// Before a listing of a folder: it is all there is,
pub const ALL: &[u8] = b"all";
/// or what follows on what is known.
pub const AFTER: &[u8] = b"after";

/// What a line of a listing says.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// There is this object.
    Listed(Listed),
    /// There were so many.
    End(u64),
}

/// Reads a line of a listing, without its end.
pub fn read_line(line: &[u8]) -> Option<Line> {
    let line = str::from_utf8(line).ok()?;
    if let Some(count) = line.strip_prefix("end ") {
        return count.parse().ok().map(Line::End);
    }
    let mut words = line.split(' ');
    let (len, received_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let name = Name::new(words.next()?)?;
    words.next().is_none().then_some(Line::Listed(Listed { name, len, received_ms }))
}

/// The body of a request for ranges.
pub fn write_ranges(ranges: &[Range]) -> Vec<u8> {
    let line = |range: &Range| format!("{} {} {}\n", range.offset, range.len, range.name);
    ranges.iter().map(line).collect::<String>().into_bytes()
}

/// Reads the body of a request for ranges; nothing unless all of it is what it must be.
pub fn read_ranges(body: &[u8]) -> Option<Vec<Range>> {
    let text = str::from_utf8(body).ok()?;
    let mut ranges = Vec::new();
    for line in text.split_terminator('\n') {
        let mut words = line.split(' ');
        let (offset, len) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let name = Name::new(words.next()?)?;
        if words.next().is_some() || ranges.len() == RANGES_MAX {
            return None;
        }
        ranges.push(Range { name, offset, len });
    }
    let bytes = ranges.iter().try_fold(0u64, |sum, range| sum.checked_add(range.len as u64))?;
    let fits = bytes <= RANGES_BYTES_MAX || (ranges.len() == 1 && bytes <= OBJECT_MAX);
    (fits && (text.is_empty() || text.ends_with('\n'))).then_some(ranges)
}

/// Before the bytes of a range.
pub const HERE: u8 = 0;

/// Instead of the bytes of a range: the number of the kind, the length of the text, the text.
pub fn write_range_error(error: &Error, out: &mut Vec<u8>) {
    let text = text_of(error);
    out.push(known(error.kind()) as u8 + 1);
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The kind of error that has this number.
pub fn kind_numbered(number: u8) -> Option<ErrorKind> {
    KINDS.get(usize::from(number).checked_sub(1)?).map(|(kind, ..)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn lines_come_back() {
        let listed = Listed { name: name("packs/ab/00"), len: u64::MAX, received_ms: -1 };
        let mut out = Vec::new();
        write_listed(&listed, &mut out);
        write_end(7, &mut out);
        let lines: Vec<_> = out.split(|b| *b == b'\n').map(read_line).collect();
        assert_eq!(lines, [Some(Line::Listed(listed)), Some(Line::End(7)), None]);
        for bad in ["", "1 2", "1 2 a b", "1 2 A", "-1 2 a", "1  a", "end", "end x", "end 1 2"] {
            assert_eq!(read_line(bad.as_bytes()), None, "{bad}");
        }
        let longest = format!("{} {} {}", u64::MAX, i64::MIN, "a".repeat(200));
        assert!(read_line(longest.as_bytes()).is_some() && longest.len() < LINE_MAX);
    }

    #[test]
    fn what_is_known_of_a_folder_is_known_if_nothing_else_is_before_its_end() {
        let listed = |text: &str| Listed { name: name(text), len: 1, received_ms: 2 };
        let all = ["a/1", "a/3", "a/5"].map(listed);
        let folder = Folder::of("a/", &all[..2]);
        assert_eq!(folder.knows(&all), Some(2));
        assert_eq!(folder.knows(&all[..2]), Some(2));
        assert_eq!(folder.knows(&all[..1]), None, "one is gone");
        assert_eq!(folder.knows(&["a/1", "a/2", "a/3"].map(listed)), None, "one came before");
        let later = Listed { received_ms: 3, ..listed("a/3") };
        assert_eq!(folder.knows(&[listed("a/1"), later]), None);
        assert_eq!(Folder::of("a/", &[]).knows(&all), None);
        for bad in ["log/", " \n", "log/ x log/a\n", "LOG/\n", "\n", &"a/\n".repeat(17)] {
            assert_eq!(read_folders(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(read_folders(b""), Some(Vec::new()));
        assert_eq!(read_folders("a/\n".repeat(16).as_bytes()).unwrap().len(), 16);
    }

    #[test]
    fn ranges_come_back() {
        let range = |offset, len| Range { name: name("log/a"), offset, len };
        let ranges = vec![range(0, 1), range(u64::MAX, 64 << 10)];
        assert_eq!(read_ranges(&write_ranges(&ranges)), Some(ranges));
        assert_eq!(read_ranges(b""), Some(Vec::new()));
        let large = |len| read_ranges(format!("0 {len} a\n").as_bytes());
        assert!(large(OBJECT_MAX).is_some() && large(OBJECT_MAX + 1).is_none());
        let many = |n| read_ranges(&b"0 1 a\n".repeat(n));
        assert!(many(RANGES_MAX).is_some() && many(RANGES_MAX + 1).is_none());
        let sum = format!("0 {} a\n", RANGES_BYTES_MAX / 2).repeat(3);
        for bad in
            ["0 1 a", "0 1\n", "0 1 a b\n", "0 -1 a\n", "\n", &sum, "0 18446744073709551615 a\n0 1 a\n"]
        {
            assert_eq!(read_ranges(bad.as_bytes()), None, "{bad}");
        }
    }

    fn text_of_description() -> &'static str {
        include_str!("../../../docs/protocol.md")
    }

    /// What stands in the protocol's description behind the fence that begins so.
    fn example(fence: &str) -> &'static str {
        let text = text_of_description();
        let after = text.split_once(&format!("```{fence}\n")).expect("it is there").1;
        after.split_once("```").expect("it ends").0
    }

    #[test]
    fn the_examples_of_the_description_are_what_is_written() {
        let range = |offset, len, text| Range { name: name(text), offset, len };
        let ranges = [range(0, 4, "config"), range(4096, 2, "packs/ab/0123"), range(7, 3, "log/a")];
        assert_eq!(example("text ranges").as_bytes(), write_ranges(&ranges));
        let mut listing = Vec::new();
        for (len, received_ms, text) in
            [(1234, 1_646_519_458_000, "log/20220305t223058z-00"), (0, -1, "config")]
        {
            write_listed(&Listed { name: name(text), len, received_ms }, &mut listing);
        }
        write_end(2, &mut listing);
        assert_eq!(example("text list").as_bytes(), listing);

        let known =
            [Listed { name: name("log/20220305t223058z-00"), len: 1234, received_ms: 1_646_519_458_000 }];
        let folders = [Folder::of("admin/", &[]), Folder::of("log/", &known)];
        let digest = blake3::hash(b"1234 1646519458000 log/20220305t223058z-00\n").to_string();
        let asked = example("text state").replace("DIGEST", &digest);
        assert_eq!(asked.as_bytes(), write_folders(&folders));
        assert_eq!(read_folders(asked.as_bytes()).as_deref(), Some(&folders[..]));
        assert!(text_of_description().contains(&format!("at most {FOLDERS_MAX}")));
        assert!(text_of_description().contains("Over 1,000,000 objects") && STATE_MAX == 1_000_000);
        let mut answer = [ALL, b"\n"].concat();
        let admin =
            Listed { name: name("admin/20220305t223059z-00"), len: 31, received_ms: 1_646_519_459_000 };
        write_listed(&admin, &mut answer);
        write_end(1, &mut answer);
        answer.extend([AFTER, b"\n"].concat());
        write_end(0, &mut answer);
        assert_eq!(example("text state answer").as_bytes(), answer);

        let digits = example("hex ranges").lines().map(|line| line.split('#').next().unwrap());
        let digits: String = digits.collect::<String>().split_whitespace().collect();
        let mut answer = vec![HERE, 1, 2, 3, 4];
        let error = Error::io("", std::io::Error::other("no!"));
        let mut refused = Vec::new();
        write_range_error(&error, &mut refused);
        // The kind and the text differ, the shape does not.
        answer.extend([1, 3, 0]);
        answer.extend(b"no!");
        assert_eq!(refused, [&[9, 5, 0][..], b": no!"].concat());
        answer.extend([HERE, 5, 6, 7]);
        let expected: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, expected);
    }

    #[test]
    fn the_tables_of_the_description_are_those_of_the_code() {
        let text = text_of_description();
        for (number, (_, name, status)) in KINDS.iter().enumerate() {
            assert!(text.contains(&format!("| {} | `{name}` | {status} |", number + 1)), "{name}");
        }
        for limit in ["4,096 lines", "67,108,864 bytes", "at most 268,435,456", "4,096 bytes for people"] {
            assert!(text.contains(limit), "{limit}");
        }
        assert_eq!(
            (RANGES_MAX, RANGES_BYTES_MAX, OBJECT_MAX, TEXT_MAX),
            (4096, 67_108_864, 268_435_456, 4096)
        );
    }

    /// Whatever the bytes are, they are read or refused, and what is read is written as it was.
    #[test]
    fn whatever_arrives_is_read_or_refused() {
        let mut state = 1u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let (mut read, mut refused) = (0, 0);
        for _ in 0..200_000 {
            let pieces = [
                "0",
                "12",
                " ",
                " ",
                "\n",
                "end ",
                "-",
                "log/a",
                "a",
                "..",
                "\u{e9}",
                "18446744073709551616",
            ];
            let text: String = (0..draw(9)).map(|_| pieces[draw(pieces.len())]).collect();
            match read_line(text.as_bytes()) {
                Some(Line::Listed(listed)) => {
                    let mut again = Vec::new();
                    write_listed(&listed, &mut again);
                    assert!(read_line(&again[..again.len() - 1]) == Some(Line::Listed(listed)));
                    read += 1;
                }
                Some(Line::End(_)) => read += 1,
                None => refused += 1,
            }
            if let Some(ranges) = read_ranges(text.as_bytes()) {
                assert_eq!(read_ranges(&write_ranges(&ranges)), Some(ranges));
            }
        }
        assert!(read > 100 && refused > 100_000, "{read}, {refused}");
    }

    #[test]
    fn a_hash_ends_a_name() {
        let hash = blake3::hash(b"x");
        for good in [format!("packs/ab/{hash}"), format!("log/20220305t223058z-{hash}"), hash.to_string()] {
            assert_eq!(hash_in(&name(&good)), Some(*hash.as_bytes()), "{good}");
        }
        let bad = ["config".to_owned(), format!("packs/a{hash}"), format!("packs/{}", "g".repeat(64))];
        for bad in bad {
            assert_eq!(hash_in(&name(&bad)), None, "{bad}");
        }
    }

    #[test]
    fn every_kind_has_a_name_and_a_number() {
        for (number, (kind, name, status)) in KINDS.iter().enumerate() {
            assert_eq!(kind_named(name), Some(*kind));
            assert_eq!(kind_numbered(number as u8 + 1), Some(*kind));
            assert_eq!((kind_name(*kind), kind_status(*kind)), (*name, *status));
        }
        assert_eq!((kind_numbered(HERE), kind_numbered(10), kind_named("")), (None, None, None));
    }
}
