//! What a process asked of the kernel about one folder, as `strace` tells it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// Calls that change files or make them durable. A call in this list that the reader below does not know fails the test.
const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,write,writev,pwrite64,pwritev,pwritev2,\
truncate,ftruncate,fallocate,copy_file_range,sendfile,splice,link,linkat,symlink,symlinkat,rename,renameat,renameat2,\
unlink,unlinkat,rmdir,fsync,fdatasync,sync,syncfs,sync_file_range,chmod,fchmod,fchmodat";

/// A call that succeeded.
#[derive(Debug)]
pub struct Call {
    /// Lines of the record at which it began and ended: other threads' may lie between them.
    pub began: usize,
    pub ended: usize,
    pub what: What,
}

/// What it did; all paths are absolute.
#[derive(Debug)]
pub enum What {
    /// A file was opened that is made when it is not there.
    Create(String),
    Folder(String),
    /// At the end of what was written to it before.
    Write(String, Vec<u8>),
    Link(String, String),
    Rename(String, String),
    Remove(String),
    /// A file or a folder.
    Flush(String),
    FlushAll,
}

/// Runs a program and returns what it did below `folder`, and everything it printed if it failed.
pub fn record(command: &Command, folder: &Path) -> Result<Vec<Call>, String> {
    let told = tempfile::NamedTempFile::new().unwrap();
    let mut traced = Command::new("strace");
    traced.args(["-f", "-y", "-s", "16777216", "-e", "signal=none", "-e", &format!("trace={CALLS}"), "-o"]);
    traced.arg(told.path()).arg(command.get_program()).args(command.get_args());
    traced.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    let output = traced.output().map_err(|e| format!("strace: {e}"))?;
    let text = std::fs::read_to_string(told.path()).unwrap();
    if !output.status.success() {
        return Err(format!("{output:?}"));
    }
    Ok(read(&text, folder.to_str().unwrap()))
}

fn read(text: &str, folder: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (line, told) in text.lines().enumerate() {
        let (thread, told) = told.split_once(' ').expect("a line begins with the thread");
        let told = told.trim_start();
        if let Some(first) = told.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (line, first));
        } else if let Some(rest) = told.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>").expect("a call that goes on");
            let (began, first) = begun.remove(thread).expect("it began");
            calls.extend(call(&format!("{first}{rest}"), folder).map(|what| Call {
                began,
                ended: line,
                what,
            }));
        } else if !told.starts_with("+++") {
            calls.extend(call(told, folder).map(|what| Call { began: line, ended: line, what }));
        }
    }
    calls
}

/// One call in one line; none if it failed, or is about something outside of `folder`, or only reads.
fn call(told: &str, folder: &str) -> Option<What> {
    let (name, rest) = told.split_once('(').unwrap_or_else(|| panic!("not a call: {told}"));
    let (arguments, answer) = arguments(rest);
    if answer.starts_with("-1") || answer.starts_with('?') {
        return None;
    }
    let at = |first: usize| path(&arguments[first], &arguments[first + 1]);
    let of = |handle: usize| inside(&arguments[handle]);
    let what = match name {
        "openat" if arguments[2].contains("O_CREAT") => What::Create(at(0)),
        "openat" | "open" if !told.contains("O_CREAT") && !told.contains("O_TRUNC") => return None,
        "mkdirat" => What::Folder(at(0)),
        "mkdir" => What::Folder(unescape(&arguments[0])?),
        "write" => {
            let mut bytes = bytes(&arguments[1]);
            bytes.truncate(answer.parse().expect("a count"));
            What::Write(of(0), bytes)
        }
        "linkat" => What::Link(at(0), at(2)),
        "renameat" | "renameat2" => What::Rename(at(0), at(2)),
        "unlinkat" => What::Remove(at(0)),
        "unlink" => What::Remove(unescape(&arguments[0])?),
        "fsync" | "fdatasync" => What::Flush(of(0)),
        "sync" | "syncfs" => What::FlushAll,
        // Rights are not what is looked at here.
        "chmod" | "fchmod" | "fchmodat" => return None,
        _ if told.contains(folder) => panic!("it is not known what this does: {told}"),
        _ => return None,
    };
    let concerned = match &what {
        What::Create(path) | What::Folder(path) | What::Write(path, _) | What::Remove(path) => path,
        What::Link(_, path) | What::Rename(_, path) | What::Flush(path) => path,
        What::FlushAll => return Some(what),
    };
    concerned.starts_with(folder).then_some(what)
}

/// The arguments of a call, and what it answered.
fn arguments(rest: &str) -> (Vec<String>, &str) {
    let (mut arguments, mut one, mut quoted, mut chars) =
        (Vec::new(), String::new(), false, rest.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' if quoted => {
                one.push(char);
                one.push(chars.next().expect("something is escaped").1);
                continue;
            }
            '"' => quoted = !quoted,
            ',' if !quoted => {
                arguments.push(std::mem::take(&mut one).trim().to_owned());
                continue;
            }
            ')' if !quoted => {
                arguments.push(one.trim().to_owned());
                let answer = rest[at + 1..].trim_start().strip_prefix("= ").expect("an answer");
                return (arguments, answer.split([' ', '<']).next().expect("there is always a first"));
            }
            _ => {}
        }
        one.push(char);
    }
    panic!("a call without an end: {rest}")
}

/// The path that a handle is open on: `7</path>`.
fn inside(handle: &str) -> String {
    let path = handle.split_once('<').and_then(|(_, path)| path.strip_suffix('>'));
    path.unwrap_or_else(|| panic!("not a handle with a path: {handle}")).to_owned()
}

/// A path below the one that a handle is open on.
fn path(handle: &str, name: &str) -> String {
    let name = String::from_utf8(bytes(name)).expect("names are text");
    if name.starts_with('/') { name } else { format!("{}/{name}", inside(handle)) }
}

fn unescape(quoted: &str) -> Option<String> {
    String::from_utf8(bytes(quoted)).ok()
}

/// A string as C writes it.
fn bytes(quoted: &str) -> Vec<u8> {
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.unwrap_or_else(|| panic!("a string that was cut: {:.80}", quoted)).as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(inner.len()), 0);
    while at < inner.len() {
        let byte = inner[at];
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escaped = inner[at];
        at += 1;
        out.push(match escaped {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 11,
            b'f' => 12,
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                for _ in 0..2 {
                    match inner.get(at) {
                        Some(digit @ b'0'..=b'7') => {
                            value = value * 8 + u32::from(digit - b'0');
                            at += 1;
                        }
                        _ => break,
                    }
                }
                u8::try_from(value).expect("an octal byte")
            }
            other => other,
        });
    }
    out
}

#[test]
fn what_is_recorded_is_read_back() {
    let text = r#"10 openat(3</r>, ".tmp-1", O_WRONLY|O_CREAT|O_EXCL, 0400) = 4</r/.tmp-1>
10 write(4</r/.tmp-1>, "a\0\0012\n\"),\377\\", 11 <unfinished ...>
11 openat(AT_FDCWD</w>, "/r/x", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)
10 <... write resumed>) = 9
10 fsync(4</r/.tmp-1>) = 0
10 linkat(3</r>, ".tmp-1", 3</r>, "b", 0) = 0
10 fsync(5</elsewhere>) = 0
10 unlinkat(3</r>, ".tmp-1", 0) = 0
10 +++ exited with 0 +++
"#;
    let calls = read(text, "/r");
    let [create, write, flush, link, remove] = &calls[..] else { panic!("{calls:?}") };
    assert!(matches!(&create.what, What::Create(path) if path == "/r/.tmp-1"));
    assert!(
        matches!(&write.what, What::Write(path, bytes) if path == "/r/.tmp-1" && bytes == b"a\0\x012\n\"),\xff")
    );
    assert_eq!((write.began, write.ended), (1, 3));
    assert!(matches!(&flush.what, What::Flush(path) if path == "/r/.tmp-1"));
    assert!(matches!(&link.what, What::Link(from, to) if from == "/r/.tmp-1" && to == "/r/b"));
    assert!(matches!(&remove.what, What::Remove(path) if path == "/r/.tmp-1"));
}
