//! Servers that lie, that speak something else, and that never end: each is an error, in time, and costs no memory.

mod common;

use common::between::{answer, packet, status};
use common::*;
use plakar_store::{Bandwidth, ErrorKind, Patience, Range, ReadStore, Result, Store};
use plakar_store_sftp::{Connect, Pipes, SftpStore};
use std::io::{self, Write, pipe};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Does not wait long for liars.
const PATIENCE: Patience = Patience { idle: Duration::from_secs(1), retries: Duration::from_millis(250) };

/// What is said to a request.
type Lying = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

/// A server that says what it is told to say: first of all these bytes, and then, to each request, whatever is made of it.
struct Liar {
    hello: Vec<u8>,
    say: Arc<Lying>,
}

impl Connect for Liar {
    fn connect(&self) -> io::Result<Pipes> {
        let ((read, mut to_client), (mut from_client, write)) = (pipe()?, pipe()?);
        let (hello, say) = (self.hello.clone(), self.say.clone());
        thread::spawn(move || {
            let mut next = hello;
            while to_client.write_all(&next).is_ok() {
                let Some(packet) = packet(&mut from_client) else { return };
                next = match packet[0] {
                    1 => Vec::new(),
                    _ => say(&packet),
                };
            }
        });
        Ok(Pipes { read: read.into(), write: write.into(), child: None })
    }

    fn peer(&self) -> String {
        "a liar".into()
    }
}

const HELLO: &[u8] = b"\0\0\0\x05\x02\0\0\0\x03";

fn reach(hello: &[u8], say: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Result<SftpStore> {
    let liar = Liar { hello: hello.to_vec(), say: Arc::new(say) };
    SftpStore::open(Box::new(liar), b"/srv", "sftp://liar".into(), &Bandwidth::default(), PATIENCE)
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// Attributes with a length and a mode.
fn attributes(size: u64, mode: u32) -> Vec<u8> {
    [&5u32.to_be_bytes()[..], &size.to_be_bytes(), &mode.to_be_bytes()].concat()
}

const FILE: u32 = 0o100_400;
const FOLDER: u32 = 0o040_700;

fn told(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind][..], rest].concat()
}

fn entry(entry: &str, is: &[u8]) -> Vec<u8> {
    [&string(entry.as_bytes())[..], &string(b"-r"), is].concat()
}

/// What an honest server would say of one file of 1000 bytes by every name, in folders without end.
fn honest(packet: &[u8]) -> Vec<u8> {
    match packet[0] {
        // lstat; stat; realpath; open and opendir; read; readdir
        7 => told(105, &attributes(1000, FILE)),
        17 => told(105, &attributes(0, FOLDER)),
        16 => told(104, &[&1u32.to_be_bytes()[..], &entry("/srv", &[0; 4])].concat()),
        3 | 11 => told(102, &string(b"handle")),
        5 => told(103, &string(&[7; 1000])),
        12 => status(1, ""),
        _ => status(0, ""),
    }
}

/// All that can be asked, each of which must end, and in time.
fn ask_all(store: &SftpStore) -> Vec<Result<()>> {
    let object = name("packs/ab/x");
    let range = Range { name: object.clone(), offset: 0, len: 1000 };
    let began = Instant::now();
    let answers = vec![
        store.get(&object, usize::MAX).map(drop),
        store.get_ranges(&[range.clone(), range]).remove(1).map(drop),
        store.len(&object).map(drop),
        store.list("", &mut |_| Ok(())),
        store.put(&object, &[&[1; 300_000]]),
        store.delete(&object),
        store.barrier(),
        store.sweep_temporaries(Duration::ZERO).map(drop),
        store.is_as_good_as_empty().map(drop),
    ];
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    answers
}

/// Not a liar: one that answers nothing about a folder before it was asked twice, so that whoever waits for the first answer
/// waits for ever. The names come then, and with them that there are no more.
#[test]
fn the_end_of_a_folder_is_asked_for_together_with_its_names() {
    for full in [1, 2] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ids = asked.clone();
        let store = reach(HELLO, move |packet| {
            if packet[0] != 12 {
                return to_packet(packet, honest(packet));
            }
            let mut ids = ids.lock().unwrap();
            ids.push(<[u8; 4]>::try_from(&packet[1..5]).unwrap());
            if ids.len() % 2 == 1 {
                return Vec::new();
            }
            let names = |n: usize| {
                let entry = entry(&format!("x{n}"), &attributes(1000, FILE));
                told(104, &[&1u32.to_be_bytes()[..], &entry].concat())
            };
            let said = |n: usize| if n < full { names(n) } else { status(1, "") };
            let from = ids.len() - 2;
            [answer(ids[from], &said(from)), answer(ids[from + 1], &said(from + 1))].concat()
        });
        let listed = names(&store.unwrap(), "log/");
        assert_eq!(listed, (0..full).map(|n| format!("log/x{n}")).collect::<Vec<_>>());
        let asked = asked.lock().unwrap().len();
        assert_eq!(asked, if full == 1 { 2 } else { 6 }, "nothing is asked that may be answered already");
    }
}

#[test]
fn what_is_no_server_of_sftp_is_told() {
    let cases: [(&str, &[u8], &str); 9] = [
        ("a banner", b"Welcome to this machine!\n", "a shell there has something to say"),
        ("nothing at all", b"", "it does not answer"),
        ("no length", b"\0\0\0\0", "does not speak SFTP"),
        ("a huge packet", b"\xff\xff\xff\xff\x02\0\0\0\x03", "does not speak SFTP"),
        ("half a packet", b"\0\0\0\x05\x02\0", "it does not answer"),
        ("another version", b"\0\0\0\x05\x02\0\0\0\x06", "version 6"),
        ("an older version", b"\0\0\0\x05\x02\0\0\0\x02", "version 2"),
        ("another packet", b"\0\0\0\x05\x65\0\0\0\x03", "does not speak SFTP"),
        ("an extension cut short", b"\0\0\0\x09\x02\0\0\0\x03\0\0\0\x09", "does not speak SFTP"),
    ];
    for (case, hello, what) in cases {
        let began = Instant::now();
        let told = fails(ErrorKind::Io, reach(hello, |packet| to_packet(packet, honest(packet))).map(drop));
        assert!(told.contains(what) && told.starts_with("sftp://liar"), "{case}: {told}");
        assert!(began.elapsed() < Duration::from_secs(10), "{case}");
    }
}

#[test]
fn an_honest_server_is_believed() {
    let store = reach(HELLO, |packet| to_packet(packet, honest(packet))).unwrap();
    assert!(store.weakness().is_some(), "it has no extensions");
    let answers = ask_all(&store);
    let failed: Vec<usize> = (0..answers.len()).filter(|at| answers[*at].is_err()).collect();
    // Only the put meets a file of another length.
    assert_eq!(failed, [4], "{answers:?}");
    fails(ErrorKind::Exists, store.put(&name("config"), &[b"x"]));
}

#[test]
fn whatever_is_answered_ends_as_an_error() {
    type Lie = fn(&[u8]) -> Vec<u8>;
    // What is said instead, and to which requests.
    let lies: [(&str, &[u8], Lie); 17] = [
        ("a wrong number of the request", &[3, 5, 7, 11, 12, 13], |_| Vec::new()),
        ("an unknown kind", &[3, 5, 7, 11, 12, 13], |_| told(99, b"")),
        ("a status cut short", &[3, 5, 7, 11, 12, 13], |_| told(101, b"\0")),
        ("success without anything", &[3, 5, 7, 11, 12], |_| status(0, "")),
        ("an end of everything", &[3, 7, 11, 13], |_| status(1, "")),
        ("more bytes than asked for", &[5], |_| told(103, &string(&[7; 2000]))),
        ("no bytes", &[5], |_| told(103, &string(b""))),
        ("a string longer than its packet", &[3, 5, 11], |_| told(103, &u32::MAX.to_be_bytes())),
        ("a handle that is too long", &[3, 11], |_| told(102, &string(&[b'h'; 300]))),
        ("more names than there are", &[12], |_| told(104, &u32::MAX.to_be_bytes())),
        ("a file without a length", &[7], |_| told(105, &0u32.to_be_bytes())),
        ("a length of nonsense, and an end", &[7], |_| told(105, &attributes(1 << 62, FILE))),
        ("handles", &[3, 5, 7, 11, 12, 13], |_| told(102, &string(b"h"))),
        ("attributes", &[3, 5, 11, 12, 13], |_| told(105, &attributes(1000, FILE))),
        ("names", &[3, 5, 7, 11, 13], |_| {
            told(104, &[&1u32.to_be_bytes()[..], &entry("x", &[0; 4])].concat())
        }),
        ("what only extensions answer", &[3, 5, 7, 11, 12, 13], |_| told(201, b"x")),
        ("an error of its own", &[3, 5, 7, 11, 12, 13], |_| status(4_000_000_000, "\u{1b}[2J")),
    ];
    for (case, to, lie) in lies {
        let store = reach(HELLO, move |packet| {
            let is_first = packet[0] == 3 && packet.windows(5).any(|five| five == b"/srv\0");
            match to.contains(&packet[0]) && !is_first {
                true if case.starts_with("a wrong number") => return answer([9; 4], &status(0, "")),
                true => {}
                // The handle of a file of such a length reads to its end at once.
                false if case.contains("and an end") && packet[0] == 5 => {
                    return to_packet(packet, status(1, ""));
                }
                false => return to_packet(packet, honest(packet)),
            }
            to_packet(packet, lie(packet))
        })
        .unwrap();
        let answers = ask_all(&store);
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        println!("{case}: {failed} of {} fail", answers.len());
        assert!(failed >= 2, "{case}: {answers:?}");
    }
}

fn to_packet(packet: &[u8], said: Vec<u8>) -> Vec<u8> {
    answer(packet[1..5].try_into().unwrap(), &said)
}

#[test]
fn a_folder_without_end_is_left() {
    let store = reach(HELLO, |packet| {
        let many =
            || (0..1000).flat_map(|n| entry(&format!("{n:x}"), &attributes(1, FILE))).collect::<Vec<u8>>();
        let said = match packet[0] {
            12 => told(104, &[&1000u32.to_be_bytes()[..], &many()].concat()),
            _ => honest(packet),
        };
        to_packet(packet, said)
    })
    .unwrap();
    let told = fails(ErrorKind::Io, store.list("", &mut |_| panic!("it is not told in part")));
    assert!(told.contains("has no end"), "{told}");
}

#[test]
fn bytes_that_never_come_are_not_waited_for() {
    // It answers no more, from the third request on; what it says on and on is no answer either.
    let count = std::sync::atomic::AtomicU32::new(0);
    let store = reach(HELLO, move |packet| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0..4 => to_packet(packet, honest(packet)),
        _ => Vec::new(),
    })
    .unwrap();
    let began = Instant::now();
    let told = fails(ErrorKind::Io, store.get(&name("x"), 10));
    assert!(told.contains("does not answer"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
