//! A push may be ended at any moment, politely or not: every earlier snapshot stays whole, `check` finds nothing, and the
//! next push stores at most what came after the last checkpoint. In a folder, and in an SQLite database.
//!
//! `PLAKAR_KILLS` says how many pushes are ended in each (200), `PLAKAR_KILLS_SEED` repeats a run.

mod common;

use common::World;
use common::tree::{self, Look, assert_same, finish, look};
use plakar_engine::id::ObjectHash;
use plakar_engine::pack::pack_name;
use plakar_engine::repository::{Locked, Repository};
use plakar_store::{DirStore, ReadStore};
use plakar_store_sqlite::SqliteStore;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const A_WHILE: Duration = Duration::from_secs(60);
const KEPT: &str = "plakar: interrupted; what was stored so far is kept for the next push\n";
/// Pushes that are ended in one repository.
const SERIES: u64 = 25;
/// New files of each push, and their size.
const FILES: u64 = 24;
const FILE_BYTES: usize = 200_000;

/// Random numbers that can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

#[derive(Default)]
struct Tally {
    kills: AtomicU64,
    /// Ended before anything was announced.
    early: AtomicU64,
    /// Ended after a checkpoint: the next push went on from there.
    resumed: AtomicU64,
    /// Ended after the snapshot was there.
    late: AtomicU64,
    polite: AtomicU64,
}

#[test]
fn a_push_ended_at_any_moment_loses_nothing_and_is_gone_on_with() {
    pushes_are_ended(false);
}

#[test]
fn nor_does_one_into_a_database() {
    pushes_are_ended(true);
}

fn pushes_are_ended(sqlite: bool) {
    // Again and again new files are pushed, and the push is ended by one signal or another at a random moment; then
    // everything is looked at, and the same push is made again to its end.
    let kills = variable("PLAKAR_KILLS").unwrap_or(200);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = variable("PLAKAR_KILLS_SEED").unwrap_or(clock.as_micros() as u64 % 1_000_000_000);
    println!("PLAKAR_KILLS_SEED={seed} PLAKAR_KILLS={kills}");
    let tally = Tally::default();
    let next = AtomicU64::new(0);
    let series = kills.div_ceil(SERIES);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= series {
                        return;
                    }
                    let rounds = SERIES.min(kills - number * SERIES);
                    Series::new(seed, number, sqlite).run(rounds, &tally);
                }
            });
        }
    });
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} ended: {} before a checkpoint, {} after one, {} after all; {} said what they kept",
        of(&tally.kills),
        of(&tally.early),
        of(&tally.resumed),
        of(&tally.late),
        of(&tally.polite),
    );
    assert_eq!(of(&tally.kills), kills);
    // Else it proves nothing.
    assert!(of(&tally.resumed) * 5 >= kills || kills < 50, "too few were ended between checkpoint and end");
    assert!(of(&tally.polite) * 10 >= kills || kills < 50, "too few were ended politely");
}

#[test]
fn a_pull_that_is_ended_leaves_whole_files_only() {
    let world = World::new().with("PLAKAR_PASSPHRASE", "secret");
    world.ok("create");
    for n in 0..3000 {
        world.write(&format!("tree/d{}/{n}", n % 40), tree::noise(n, 20 + n as usize * 7 % 12_000));
    }
    world.write("tree/large", tree::noise(1, 20_000_000));
    world.write("tree/larger", tree::noise(2, 30_000_000));
    world.ok("push tree");
    let before = look(&world.path("work/tree"));
    let reference = format!(":{}", world.text("work/tree"));
    let pull = |into: &str| {
        let mut command = world.command(env!("CARGO_BIN_EXE_plakar"));
        command.args(["pull", "-rebase", "-path", into, &reference]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let began = Instant::now();
    assert!(finish(pull("whole"), A_WHILE, "a pull").status.success());
    let mut takes = began.elapsed();
    assert_same(&before, &look(&world.path("work/whole")));
    let mut ended = 0;
    for n in 0..12 {
        let child = pull("out");
        std::thread::sleep(takes * n / 12);
        kill_process(Pid::from_child(&child), if n % 2 == 0 { Signal::INT } else { Signal::TERM }).unwrap();
        let output = finish(child, A_WHILE, "a pull");
        let err = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => {
                assert_eq!(err, "");
                takes = takes.mul_f64(0.8);
            }
            Some(1) => assert_eq!(err, "plakar: interrupted\n"),
            Some(code) => panic!("{code}: {err}"),
            None => assert!(!world.path("work/out").exists()),
        }
        ended += usize::from(output.status.code() == Some(1));
        if world.path("work/out").exists() {
            for (path, there) in look(&world.path("work/out")) {
                let whole = before.get(&path).is_some_and(|look| look.content == there.content);
                assert!(whole, "{path:?} is there and not whole");
            }
            fs::remove_dir_all(world.path("work/out")).unwrap();
        }
    }
    println!("{ended} of 12 pulls were ended on the way");
    assert!(ended >= 3);
}

/// Pushes into one repository.
struct Series {
    world: World,
    random: Random,
    words: Vec<String>,
    number: u64,
    /// What each snapshot holds, in order.
    held: Vec<(String, BTreeMap<PathBuf, Look>)>,
    /// What an undisturbed push is thought to take, and what it puts.
    takes: Duration,
    puts: u64,
    encrypted: bool,
    sqlite: bool,
}

/// What is announced, and what lies there.
struct Seen {
    announced: BTreeSet<ObjectHash>,
    announced_bytes: u64,
    /// By name.
    packs: BTreeMap<String, u64>,
}

impl Seen {
    fn bytes(&self) -> u64 {
        self.packs.values().sum()
    }
}

impl Series {
    fn new(seed: u64, number: u64, sqlite: bool) -> Series {
        let mut random = Random(seed ^ number.wrapping_mul(0x5851_f42d_4c95_7f2d));
        let words = (0..4096)
            .map(|_| (0..2 + random.below(8)).map(|_| char::from(b'a' + random.below(26) as u8)).collect())
            .collect();
        let encrypted = number.is_multiple_of(2);
        let mut world = World::new().with("PLAKAR_PASSPHRASE", "secret");
        if sqlite {
            let database = format!("sqlite://{}", world.text("home/store.db"));
            world.set("PLAKAR_REPOSITORY", &database);
        }
        world.ok(&format!("create -compression small{}", if encrypted { "" } else { " -no-encryption" }));
        for n in 0..20 {
            world.write(&format!("tree/old/{n}"), tree::noise(n, 3000));
        }
        let (takes, puts) = (Duration::ZERO, 0);
        Series { world, random, words, number, held: Vec::new(), takes, puts, encrypted, sqlite }
    }

    /// New files in the place of those before.
    fn write_new(&mut self) {
        let _ = fs::remove_dir_all(self.world.path("work/tree/new"));
        for n in 0..FILES {
            let mut text = String::with_capacity(FILE_BYTES + 16);
            while text.len() < FILE_BYTES {
                let word = &self.words[self.random.below(4096) as usize];
                write!(text, "{word} ").unwrap();
            }
            self.world.write(&format!("tree/new/d{}/{n}", n % 3), text);
        }
    }

    fn repository(&self) -> (Repository, Arc<dyn ReadStore>) {
        let store: Arc<dyn ReadStore> = match self.sqlite {
            true => Arc::new(SqliteStore::open(self.world.path("home/store.db")).unwrap()),
            false => Arc::new(DirStore::open(self.world.path("home/.plakar/store")).unwrap()),
        };
        let passphrase = self.encrypted.then_some(&b"secret"[..]);
        let repository = Locked::open(store.clone()).unwrap().unlock(passphrase).unwrap().open().unwrap();
        (repository, store)
    }

    fn see(&self) -> Seen {
        let (repository, store) = self.repository();
        assert_eq!(repository.damaged(), Vec::<String>::new());
        let announced: BTreeSet<_> = repository.state().view.announced_packs().collect();
        // What is announced is there.
        let announced_bytes = announced.iter().map(|pack| store.len(&pack_name(pack)).unwrap()).sum();
        let mut packs = BTreeMap::new();
        store
            .list("packs/", &mut |listed| {
                packs.insert(listed.name.to_string(), listed.len);
                Ok(())
            })
            .unwrap();
        Seen { announced, announced_bytes, packs }
    }

    fn push(&self) -> u64 {
        let out = self.world.ok("-json -cpu 1 push tree");
        let pushed: serde_json::Value = serde_json::from_str(&out).unwrap();
        pushed["bytes_stored"].as_u64().unwrap()
    }

    fn holds(&mut self) {
        let uuid = self.world.uuids().pop().unwrap();
        self.held.push((uuid, look(&self.world.path("work/tree"))));
    }

    fn run(mut self, rounds: u64, tally: &Tally) {
        // Undisturbed, to know what it takes: the first push also stores what stays the same.
        for _ in 0..2 {
            self.write_new();
            let before = self.see().bytes();
            let began = Instant::now();
            let stored = self.push();
            self.takes = began.elapsed();
            self.puts = self.see().bytes() - before;
            assert_eq!(stored, self.puts, "what a push says it stored is what it stored");
            self.holds();
        }
        for round in 0..rounds {
            self.write_new();
            let what = format!("series {}, round {round}", self.number);
            self.round(round, &what, tally);
        }
        self.compare(self.held.len());
        self.world.ok("check");
    }

    fn round(&mut self, round: u64, what: &str, tally: &Tally) {
        let listed = self.world.ok("ls");
        let before = self.see();
        let every = ["0.2", "0.1", "0.05"][self.random.below(3) as usize];
        let signal = [Signal::INT, Signal::TERM, Signal::KILL][self.random.below(3) as usize];
        // Any moment, and the later ones more often: before the first checkpoint there is little to lose.
        let moment = self.random.below(1 << 20).max(self.random.below(1 << 20));
        let after = self.takes.mul_f64(1.1 * moment as f64 / f64::from(1 << 20));
        let twice = signal != Signal::KILL && self.random.below(5) == 0;
        let what =
            format!("{what}: {signal:?} after {after:?} of {:?}, checkpoints every {every}", self.takes);

        let mut command = self.world.command(env!("CARGO_BIN_EXE_plakar"));
        command.args(["-cpu", "1", "push", "-checkpoint-every", every, "tree"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = Pid::from_child(&child);
        std::thread::sleep(after);
        // It is our child and was not waited for, so the id is still its own.
        kill_process(id, signal).unwrap();
        if twice {
            std::thread::sleep(Duration::from_millis(self.random.below(20)));
            kill_process(id, signal).unwrap();
        }
        let output = finish(child, A_WHILE, &what);
        let err = String::from_utf8(output.stderr).unwrap();
        tally.kills.fetch_add(1, Ordering::Relaxed);

        // Every earlier snapshot is there as it was, and at most the new one besides.
        let now = self.world.ok("ls");
        assert!(now.starts_with(&listed), "{what}: a snapshot is gone: {listed}{now}");
        let published = now.lines().count() - listed.lines().count();
        assert!(published <= 1, "{what}");
        let seen = self.see();
        assert!(seen.announced.is_superset(&before.announced), "{what}");
        let kept = seen.announced_bytes - before.announced_bytes;
        match output.status.code() {
            Some(0) => assert_eq!((published, err.as_str()), (1, ""), "{what}"),
            Some(1) if !twice => {
                assert_eq!((err.as_str(), published), (KEPT, 0), "{what}");
                let stored = seen.bytes() - before.bytes();
                assert_eq!(kept, stored, "{what}: not all that was stored is kept");
                tally.polite.fetch_add(1, Ordering::Relaxed);
            }
            // The second signal ends it wherever it is.
            Some(1) => assert!(["", KEPT].contains(&err.as_str()), "{what}: {err}"),
            // Before it had begun.
            None if signal != Signal::KILL => {
                assert_eq!((seen.bytes(), err.as_str()), (before.bytes(), ""), "{what}")
            }
            None => assert_eq!(err, "", "{what}"),
            code => panic!("{what}: {code:?}: {err}"),
        }
        self.world.ok("check -fast");
        if round % 10 == 9 {
            self.world.ok("check");
        }

        // Again, to the end.
        let stored = self.push();
        let put = self.see().bytes() - seen.bytes();
        assert_eq!(stored, put, "{what}: what a push says it stored is what it stored");
        // Blocks that a checkpoint closed early compress a little worse, directories are stored again with what is new in them.
        let slack = self.puts / 50 + (24 << 10);
        let due = self.puts.saturating_sub(kept);
        assert!(put <= due + slack, "{what}: {kept} of {} were kept, and {put} stored again", self.puts);
        let which = match (published, kept) {
            (1, _) => &tally.late,
            (_, 0) => &tally.early,
            _ => &tally.resumed,
        };
        which.fetch_add(1, Ordering::Relaxed);
        // The machine may have less or more to do than when the undisturbed push was timed: so that about one in seven
        // comes too late, whatever the machine does.
        self.takes = self.takes.mul_f64(if published == 1 { 0.8 } else { 1.04 });
        if published == 1 {
            let uuid = now.lines().last().unwrap()[20..58].trim().to_owned();
            self.held.push((uuid, look(&self.world.path("work/tree"))));
        }
        self.holds();
        assert_eq!(
            self.world.uuids(),
            self.held.iter().map(|(uuid, _)| uuid.clone()).collect::<Vec<_>>(),
            "{what}"
        );
        if round % 20 == 19 {
            self.compare(4);
        }
    }

    /// Pulls the first snapshot, the last, and others; as many as that.
    fn compare(&mut self, most: usize) {
        let last = self.held.len() - 1;
        let mut which = BTreeSet::from([0, last]);
        for _ in 2..most.min(6) {
            which.insert(self.random.below(last as u64) as usize);
        }
        for number in which {
            let (uuid, tree) = &self.held[number];
            let out = self.world.path("work/out");
            self.world.ok(&format!("pull -rebase -path out {uuid}:{}", self.world.text("work/tree")));
            assert_same(tree, &look(&out));
            fs::remove_dir_all(out).unwrap();
        }
    }
}
