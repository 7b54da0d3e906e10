//! Every command that reads or writes repositories, while system calls of it fail: a disk that cannot read, cannot write,
//! is full or cannot flush, calls that are interrupted, and calls that do less than was asked.
//!
//! Whatever fails, nothing panics or hangs; a command that says it did what was asked has done it, another says why not and
//! where, with the codes in its row; and afterwards everything that was there is whole, and the same command goes through.
//! In folders and in databases. Needs `strace`, and for calls that do less a C compiler.

#[path = "../common/mod.rs"]
mod common;
mod scene;

use common::copies::files;
use common::inject::{Halving, Injected, Injection, needs_strace};
use scene::{PLACES, Scene, Seen};
use std::collections::BTreeSet;

/// What is wrong with the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// No object can be read, from some call on.
    Read,
    /// One write fails.
    Write,
    Full,
    Flush,
}

const FAULTS: [Fault; 4] = [Fault::Read, Fault::Write, Fault::Full, Fault::Flush];

impl Fault {
    fn calls(self) -> &'static str {
        match self {
            Fault::Read => "read,pread64,getdents64",
            Fault::Write | Fault::Full => "write,pwrite64",
            Fault::Flush => "fsync,fdatasync,syncfs",
        }
    }

    /// Which call of a thread is the first to fail: the first, then some later one, until there are not so many.
    fn turns(self) -> &'static [usize] {
        match self {
            Fault::Read | Fault::Flush => &[1, 2, 5, 10, 20, 40],
            // What comes of both is much the same: each has its own turns.
            Fault::Write => &[1, 2, 3, 8, 20],
            Fault::Full => &[1, 3, 5, 14],
        }
    }

    fn error(self) -> &'static str {
        if self == Fault::Full { "ENOSPC" } else { "EIO" }
    }
}

/// Words that run a command, in which `ID`, `OLD` and `GONE` are snapshots and others repositories, and the codes that it may
/// end with for each of [`FAULTS`], in folders and in databases. A dash: nothing of it can fail so.
///
/// 0 is for what a command does without: hints, notes on this machine, a flush that is made up for; of a database the copying
/// of its log when it is closed. SQLite takes what cannot be read for damage: 4.
struct Row {
    words: &'static str,
    folder: &'static str,
    database: &'static str,
}

const fn row(words: &'static str, folder: &'static str, database: &'static str) -> Row {
    Row { words, folder, database }
}

impl Row {
    fn codes(&self, fault: Fault, sqlite: bool) -> BTreeSet<i32> {
        let codes = if sqlite { self.database } else { self.folder };
        let codes = codes.split(" | ").nth(fault as usize).expect("codes for each fault");
        codes.split(' ').filter(|code| *code != "-").map(|code| code.parse().unwrap()).collect()
    }
}

const ROWS: [Row; 19] = [
    row("ls", "1 | 1 | 1 | -", "1 4 | 1 | 1 | -"),
    row("info", "1 | 1 | 1 | -", "1 4 | 1 | 1 | -"),
    row("cat ID:DATA/2", "1 | 1 | 1 | -", "1 4 | 1 | 1 | -"),
    row("pull -rebase -path out ID:DATA", "1 | 3 | 3 | -", "1 4 | 1 3 | 1 3 | -"),
    row("check", "1 | 0 | 0 | -", "1 4 | 1 | 1 | -"),
    row("status OTHER", "1 | 1 | 1 | -", "1 4 | 1 | 1 | -"),
    row("create NEW", "- | 0 1 | 0 1 | 1", "- | 0 1 | 0 1 | 0 1"),
    row("push data", "1 | 0 1 | 0 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("rm OLD", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("undelete GONE", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("cleanup", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("clone NEW", "1 | 0 1 | 0 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("clone -update BEHIND", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("sync to OTHER", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("sync from OTHER", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("heal from OTHER", "1 | 0 1 | 0 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("repair", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("key add -label more -new-keyfile key", "1 | 1 | 1 | 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
    row("adopt", "0 1 | 0 1 | 0 1 | 0 1", "0 1 4 | 0 1 | 0 1 | 0 1"),
];

/// A command, with what it is to come to.
struct Deed<'a> {
    scene: &'a Scene,
    row: &'a Row,
    before: Seen,
    wanted: Seen,
    out: Vec<u8>,
}

impl<'a> Deed<'a> {
    /// As it goes when nothing fails.
    fn new(scene: &'a Scene, row: &'a Row) -> Deed<'a> {
        scene.restore(row.words);
        let before = scene.look();
        let ran = scene.run(row.words);
        assert_eq!(ran.code, 0, "{}: {ran:?}", row.words);
        scene.check(&PLACES);
        Deed { scene, row, before, wanted: scene.look(), out: ran.bytes }
    }

    /// Runs it while calls fail, and looks what is left; `None` when no call failed.
    fn try_with(&self, injection: &Injection, case: &str) -> Option<i32> {
        let Deed { scene, row, .. } = self;
        scene.restore(row.words);
        let injected = scene.world.run_injected(&scene.words(row.words), injection);
        let (Injected { ran, hits }, now) = (&injected, scene.look());
        let case = format!("{case}: {injected:?}");
        assert!(!ran.err.contains("panicked") && ran.code != 101, "{case}");
        if ran.code == 0 {
            assert!(now.is_like(&self.wanted), "it did not do what it was to: {case}: {now:?}");
            // A check that was not the last to see each pack has nothing to say.
            assert!(ran.err.is_empty() || ran.err.starts_with("plakar: "), "{case}");
            assert!(self.is_made_anew() || ran.bytes.len() == self.out.len(), "{case}");
            assert!(!row.words.starts_with("cleanup") || now.packs == self.wanted.packs, "{case}");
            scene.check(self.written());
        } else {
            assert!(injected.silenced() || tells_why(&ran.err, injection), "{case}");
            self.nothing_is_lost(&now, &case);
            if !now.is_like(&self.wanted) {
                self.goes_through(&case);
            }
        }
        (!hits.is_empty()).then_some(ran.code)
    }

    /// Whether what it prints is not the same each time.
    fn is_made_anew(&self) -> bool {
        ["push", "rm", "undelete", "key"].contains(&self.row.words.split(' ').next().unwrap())
    }

    fn nothing_is_lost(&self, now: &Seen, case: &str) {
        let going = if self.row.words.starts_with("rm ") { self.scene.old.as_str() } else { "" };
        for (place, snapshots) in &self.before.snapshots {
            if self.row.words == "adopt" && *place == "repo" && !now.snapshots.contains_key(place) {
                // It has no id at all until it is adopted again.
                continue;
            }
            let there = now.snapshots.get(place).unwrap_or_else(|| panic!("{place} is gone: {case}"));
            for uuid in snapshots.iter().filter(|uuid| *uuid != going) {
                assert!(there.contains(uuid), "{uuid} of {place} is gone: {case}");
            }
        }
        if !["heal", "repair"].iter().any(|mends| self.row.words.starts_with(mends)) {
            self.scene.check(self.written());
        }
    }

    /// The repository that it writes to.
    fn written(&self) -> &'static [&'static str] {
        let words = self.row.words;
        match words.split(' ').next().unwrap() {
            "ls" | "info" | "cat" | "pull" | "check" | "status" => &[],
            _ if words.ends_with("NEW") => &["new"],
            _ if words.ends_with("BEHIND") => &["behind"],
            _ if words.starts_with("sync to") => &["other"],
            _ => &["repo"],
        }
    }

    /// The same again, and nothing fails.
    fn goes_through(&self, case: &str) {
        if self.row.words.starts_with("create ") {
            // As the user is told.
            self.scene.world.shell("rm -rf new*").succeeded();
        }
        let again = self.scene.run(self.row.words);
        assert_eq!(again.code, 0, "again: {again:?}, after {case}");
        let now = self.scene.look();
        assert!(now.is_like(&self.wanted), "again: {now:?}, after {case}");
        self.scene.check(self.written());
    }
}

/// Whether what was said names the error and what it was about.
fn tells_why(err: &str, injection: &Injection) -> bool {
    let texts: &[_] = match injection.error {
        "ENOSPC" => &["No space left on device", "database or disk is full", "no room for the -shm file"],
        // SQLite takes sectors that cannot be read for damage, and a file that cannot grow for a full disk.
        _ => {
            &["Input/output error", "disk I/O error", "disk image is malformed", "no room for the -shm file"]
        }
    };
    err.lines().any(|line| {
        let about =
            line.strip_prefix("plakar: ").filter(|about| texts.iter().any(|text| about.contains(text)));
        // A path; or what a restore calls one, relative to its target.
        about.is_some_and(|about| {
            about.contains('/') || about.contains("standard output") || about.contains(": cannot be ")
        })
    })
}

/// Runs every command while calls fail, and compares the codes with the rows, for folders or databases.
fn whatever_fails(sqlite: bool) {
    if needs_strace() {
        return;
    }
    let scene = Scene::new(sqlite);
    let (objects, mut wrong, mut runs) = (scene.objects(), Vec::new(), 0);
    for row in &ROWS {
        let deed = Deed::new(&scene, row);
        for fault in FAULTS {
            let mut seen = BTreeSet::new();
            for turn in fault.turns() {
                let ways = match fault {
                    // All writes would be those that tell what is wrong, too.
                    Fault::Write | Fault::Full => vec![format!("{turn}")],
                    _ if *turn > 1 => vec![format!("{turn}+")],
                    _ => vec![format!("{turn}"), format!("{turn}+")],
                };
                let mut hit = false;
                for when in ways {
                    let paths = if fault == Fault::Read { &objects[..] } else { &[] };
                    let case = format!("{}, {fault:?} {when}, database {sqlite}", row.words);
                    let injection = Injection { calls: fault.calls(), error: fault.error(), when, paths };
                    let code = deed.try_with(&injection, &case);
                    let never_durable = fault == Fault::Flush && injection.when == "1+";
                    assert!(
                        !never_durable || code.is_none_or(|code| code != 0),
                        "{case}: nothing was flushed"
                    );
                    (hit, runs) = (hit | code.is_some(), runs + 1);
                    seen.extend(code);
                }
                if !hit {
                    break;
                }
            }
            let allowed = row.codes(fault, sqlite);
            // Threads share the calls otherwise each time; but where something must not be survived, something is not.
            let is_right = seen.is_subset(&allowed)
                && seen.is_empty() == allowed.is_empty()
                && (allowed.iter().all(|code| *code == 0) || seen.iter().any(|code| *code != 0));
            if !is_right {
                wrong.push(format!("{}, {fault:?}: {seen:?}, not {allowed:?}", row.words));
            }
        }
    }
    println!("{runs} runs, database {sqlite}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whatever_call_fails_in_a_folder_is_told_and_harms_nothing() {
    whatever_fails(false);
}

#[test]
fn whatever_call_fails_in_a_database_is_told_and_harms_nothing() {
    whatever_fails(true);
}

/// Calls that may be interrupted by a signal and are to be made again: those that look at objects or what is pushed, for what
/// starts a program does not make its own again; and those that change something.
const LOOKING: &str = "openat,read,pread64,getdents64";
const CHANGING: &str = "write,pwrite64,fsync,fdatasync,renameat2,linkat,unlinkat,mkdirat,ftruncate";
/// SQLite makes these again; a flush that was interrupted is a failed one to it.
const CHANGING_DATABASES: &str = "write,pwrite64,ftruncate";

#[test]
fn every_other_call_may_be_interrupted() {
    if needs_strace() {
        return;
    }
    for sqlite in [false, true] {
        let scene = Scene::new(sqlite);
        let mut paths = scene.objects();
        paths.extend(files(&scene.world.path("work/data")));
        for row in &ROWS {
            let deed = Deed::new(&scene, row);
            let changing = if sqlite { CHANGING_DATABASES } else { CHANGING };
            for (calls, paths) in [(LOOKING, &paths[..]), (changing, &[])] {
                let injection = Injection { calls, error: "EINTR", when: "1+2".into(), paths };
                let case = format!("{}, {calls}, database {sqlite}", row.words);
                let code = deed.try_with(&injection, &case);
                assert!(code.is_none_or(|code| code == 0), "{case}: {code:?}");
                assert!(
                    code.is_some() || row.words.starts_with("create") && calls == LOOKING,
                    "{case}: nothing was interrupted"
                );
            }
        }
    }
}

#[test]
fn every_other_call_may_do_only_half() {
    let halving = Halving::new();
    for sqlite in [false, true] {
        let scene = Scene::new(sqlite);
        for row in &ROWS {
            let deed = Deed::new(&scene, row);
            scene.restore(row.words);
            let (ran, halved) = scene.world.run_halved(&scene.words(row.words), &halving);
            let case = format!("{}, database {sqlite}: {halved} calls, {ran:?}", row.words);
            assert!(ran.code == 0 && halved > 2, "{case}");
            assert!(deed.is_made_anew() || ran.bytes == deed.out, "{case}");
            assert!(scene.look().is_like(&deed.wanted), "{case}");
            scene.check(&PLACES);
        }
    }
}
