//! Runs the program while some of its system calls fail: `strace` answers instead of the kernel.

use super::tree::{skipped, within};
use super::{Ran, World, ran};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Which calls of each thread fail, and how.
#[derive(Debug, Clone)]
pub struct Injection<'a> {
    /// Names of calls, with commas between.
    pub calls: &'a str,
    /// As the C library names it.
    pub error: &'a str,
    /// As `strace` wants it: `3` is the third, `3+` all from the third on, `1+2` every other.
    pub when: String,
    /// Calls on these only; on anything when there are none.
    pub paths: &'a [PathBuf],
}

/// What came of a run, and what the calls that failed were about: `write(4</path>, …`.
#[derive(Debug)]
pub struct Injected {
    pub ran: Ran,
    pub hits: Vec<String>,
}

impl Injected {
    /// Whether something that was to be read by whoever started the program could not be told.
    pub fn silenced(&self) -> bool {
        self.hits.iter().any(|hit| hit.starts_with("write(1<") || hit.starts_with("write(2<"))
    }
}

/// A library that makes calls of the C library do only half of what they were asked for.
pub struct Halving {
    folder: tempfile::TempDir,
}

impl Halving {
    /// Compiles it; tests need a C compiler anyway, because SQLite does.
    pub fn new() -> Halving {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/halving.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(folder.path().join("halving.so"));
        assert!(cc.arg(source).status().expect("a C compiler").success());
        Halving { folder }
    }
}

/// True if a test cannot run here.
pub fn needs_strace() -> bool {
    let is_there = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    !is_there && skipped("no strace")
}

impl World {
    /// Runs plakar with these words while calls fail. It must end in time.
    pub fn run_injected(&self, words: &str, injection: &Injection) -> Injected {
        // Two of them may run at once in one world.
        let told = tempfile::NamedTempFile::new().unwrap();
        let Injection { calls, error, when, paths } = injection;
        let mut command = self.command("strace");
        // Where there is no terminal, so that nothing is asked.
        command.args(["-f", "-y", "-qq", "--seccomp-bpf", "-s", "0", "-e", "signal=none", "-o"]);
        command.arg(told.path()).args(["-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error={error}:when={when}")]);
        command.args(paths.iter().flat_map(|path| ["-P".as_ref(), path.as_os_str()]));
        command.args(["setsid", "-w", env!("CARGO_BIN_EXE_plakar")]).args(words.split_whitespace());
        let ran = ran(within(&mut command, Duration::from_secs(60)));
        Injected { ran, hits: hits(&std::fs::read_to_string(told.path()).unwrap()) }
    }

    /// Runs plakar with these words while every other read and write does half of it; also returns how many did.
    pub fn run_halved(&self, words: &str, halving: &Halving) -> (Ran, u64) {
        let told = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.command("setsid");
        command.env("LD_PRELOAD", halving.folder.path().join("halving.so"));
        command.env("HALVING_TOLD", told.path());
        command.args(["-w", env!("CARGO_BIN_EXE_plakar")]).args(words.split_whitespace());
        let ran = ran(within(&mut command, Duration::from_secs(60)));
        let text = std::fs::read_to_string(told.path()).unwrap();
        (ran, text.trim().parse().expect("the library tells how many"))
    }
}

/// The calls in a record that were answered by `strace`.
fn hits(text: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut hits = Vec::new();
    for line in text.lines() {
        let (thread, told) = line.split_once(' ').expect("a line begins with the thread");
        let told = told.trim_start();
        if let Some(first) = told.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, first);
        } else if told.ends_with("(INJECTED)") {
            let whole = if told.starts_with("<...") { begun[thread] } else { told };
            hits.push(whole.to_owned());
        }
    }
    hits
}

#[test]
fn what_strace_answered_is_found_in_its_record() {
    let text = "1  write(1<pipe:[7]>, \"\"..., 3 <unfinished ...>\n\
                2  fsync(4</r/a>) = 0\n\
                1  <... write resumed>) = -1 EIO (Input/output error) (INJECTED)\n\
                2  fsync(5</r/b>) = -1 EIO (Input/output error) (INJECTED)\n";
    let hits = hits(text);
    assert_eq!(hits.len(), 2);
    assert!(hits[0].starts_with("write(1<pipe") && hits[1].starts_with("fsync(5</r/b>)"), "{hits:?}");
}
