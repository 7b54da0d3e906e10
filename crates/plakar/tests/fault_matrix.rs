//! Every command of the program, where a part of its repository is gone, empty, or not allowed to be read: what it ends with
//! stands in a table with a row for each command. What fails says so in a sentence, and with the part put back what was
//! there comes back.
//!
//! In a row, for each [`Fault`] the exit codes for each of [`PARTS`].

mod common;

use common::copies::{files, json};
use common::{Ran, World, tree};
use std::fs;
use std::path::PathBuf;

/// What happens to everything in a part of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Gone,
    Empty,
    /// Its owner may not read it.
    Denied,
}

const FAULTS: [Fault; 3] = [Fault::Gone, Fault::Empty, Fault::Denied];
const PARTS: [&str; 8] = ["replica", "config", "keys", "keyring", "log", "admin", "index", "packs"];

/// Words that run a command, in which `ID`, `OLD` and `GONE` are snapshots, and what it ends with.
struct Row {
    words: &'static str,
    codes: &'static str,
}

const fn row(words: &'static str, codes: &'static str) -> Row {
    Row { words, codes }
}

/// What only reads.
const READING: &[Row] = &[
    row("create", "1 1 1 1 1 1 1 1 | 1 1 1 1 1 1 1 1 | 1 1 1 1 1 1 1 1"),
    row("ls", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("ls ID:", "4 10 4 4 1 0 4 4 | 4 4 4 4 1 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("pull -path out ID:DATA/f", "4 10 4 4 1 0 4 4 | 4 4 4 4 1 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("tarball -output - ID:DATA/f", "4 10 4 4 1 0 4 4 | 4 4 4 4 1 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("cat ID:DATA/f", "4 10 4 4 1 0 4 4 | 4 4 4 4 1 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("gzcat ID:DATA/f.gz", "4 10 4 4 1 0 4 4 | 4 4 4 4 1 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("checksum ID:DATA/f", "4 10 4 4 1 0 4 4 | 4 4 4 4 1 4 4 4 | 1 1 1 1 1 1 1 1"),
    // What fails ends with 2: 1 says that there is nothing.
    // Once it has begun, the code is the program's: damage elsewhere is told in words alone.
    row("exec ID:DATA/run", "4 10 4 4 1 0 0 4 | 4 4 4 4 1 0 0 4 | 1 1 1 1 1 1 1 1"),
    row("find ID f", "4 10 4 4 2 0 4 4 | 4 4 4 4 2 4 4 4 | 2 2 2 2 2 2 2 2"),
    row("diff ID ./data", "4 10 4 4 2 0 4 4 | 4 4 4 4 2 4 4 4 | 2 2 2 2 2 2 2 2"),
    row("info", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("info ID", "4 10 4 4 1 0 4 0 | 4 4 4 4 1 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("check", "4 10 4 4 4 4 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 4"),
    row("check -fast", "4 10 4 4 4 4 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 4"),
    row("check -sample 100%", "4 10 4 4 4 4 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 4"),
    row("cleanup -dry-run", "4 10 4 4 4 4 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("sync -dry-run with other", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("repair -dry-run", "4 10 4 4 0 4 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("status other", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("key ls", "4 10 4 4 0 0 0 0 | 4 4 4 4 0 0 0 0 | 1 1 1 1 0 0 0 0"),
    row("config check", "0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0"),
    // Whoever has access to it stands elsewhere.
    row("server token ls", "0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0"),
    // It gives access to bytes, whatever they are, and here nobody asks for any.
    row("stdio", "0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0"),
    row("schedule", "1 1 1 1 1 1 1 1 | 1 1 1 1 1 1 1 1 | 1 1 1 1 1 1 1 1"),
    row("completion bash", "0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0"),
    row("man pages", "0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0"),
    row("version", "0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0"),
    row("help", "0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0"),
];

/// What writes.
const WRITING: &[Row] = &[
    row("push data", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("rm OLD", "4 10 4 4 0 1 4 0 | 4 4 4 4 4 1 4 0 | 1 1 1 1 1 1 1 0"),
    row("keep 1", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("prune -keep-last 1 -min-age 0d", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("undelete GONE", "4 10 4 4 0 1 4 4 | 4 4 4 4 4 1 4 4 | 1 1 1 1 1 1 1 4"),
    row("cleanup", "4 10 4 4 4 4 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 1"),
    row("clone new", "4 10 4 4 0 0 0 0 | 4 4 4 4 4 4 4 4 | 1 1 4 4 4 4 4 4"),
    row("clone -update behind", "4 10 4 4 0 0 0 0 | 4 4 4 4 4 4 4 4 | 1 1 0 0 4 4 4 4"),
    row("sync to other", "4 10 4 4 0 0 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 4"),
    row("sync from other", "4 10 4 4 0 0 4 0 | 4 4 4 4 4 4 4 0 | 1 1 1 1 1 1 1 0"),
    row("heal from other", "4 10 4 4 0 0 4 4 | 4 4 4 4 4 4 4 4 | 1 1 1 1 1 1 1 4"),
    row("repair", "4 10 4 4 0 0 0 4 | 4 4 4 4 4 4 0 4 | 1 1 1 1 1 1 1 1"),
    row("adopt", "0 10 0 0 0 0 0 0 | 0 0 0 0 0 0 0 0 | 1 1 0 0 0 0 0 0"),
    row("key add -label more -new-keyfile key", "4 10 4 4 0 0 0 0 | 4 4 4 4 0 0 0 0 | 1 1 1 1 0 0 0 0"),
];

/// A repository with something in every part, and its neighbours.
struct Scene {
    world: World,
    id: String,
    old: String,
    gone: String,
}

impl Scene {
    fn new() -> Scene {
        let world = World::of_user().with("PLAKAR_PASSPHRASE", "secret");
        // So many that the segment which lists them is an object of its own.
        for n in 0..2_300u32 {
            world.write(&format!("many/{n}"), blake3::hash(&n.to_le_bytes()).to_hex().repeat(2));
        }
        world.write("data/f", tree::noise(1, 50_000));
        world.write("key", "more secret");
        fs::create_dir_all(world.path("home/.config/plakar")).unwrap();
        fs::write(world.path("home/.config/plakar/config.toml"), "[repositories.x]\nlocation = '/x'\n")
            .unwrap();
        world.give_to_user("work");
        let ok = |words: &str| world.run_as_user(words.split_whitespace()).succeeded();
        let push = |what: &str| json(&ok(&format!("-json push {what}")))["uuid"].as_str().unwrap().to_owned();
        ok("create");
        ok(&format!("create -like {} other", world.text("home/.plakar/store")));
        let old = push("data many");
        ok("clone behind");
        world.write("data/more", tree::noise(2, 50_000));
        let gone = push("data");
        ok("sync other");
        ok("cleanup");
        ok(&format!("rm {gone}"));
        world.write("data/f", tree::noise(3, 50_000));
        world.shell("gzip -c data/f > data/f.gz && cp /bin/true data/run").succeeded();
        let id = push("data");
        let scene = Scene { world, id, old, gone };
        scene.world.shell("mkdir saved && cp -a ../home other behind saved").succeeded();
        for part in PARTS {
            assert!(!scene.objects(part).is_empty(), "{part}");
        }
        scene
    }

    fn objects(&self, part: &str) -> Vec<PathBuf> {
        let at = self.world.path("home/.plakar/store").join(part);
        if at.is_dir() { files(&at) } else { vec![at] }
    }

    /// All as it was, and then a fault.
    fn damage(&self, fault: Fault, part: &str) {
        let anew =
            "rm -rf ../home other behind new out && cp -a saved/home ../ && cp -a saved/other saved/behind .";
        self.world.shell(anew).succeeded();
        for object in self.objects(part) {
            match fault {
                Fault::Gone => fs::remove_file(object).unwrap(),
                Fault::Empty => fs::File::options().write(true).open(object).unwrap().set_len(0).unwrap(),
                Fault::Denied => tree::set_mode(&object, 0),
            }
        }
    }

    /// Puts the part back.
    fn mend(&self, part: &str) {
        let line = format!(
            "rm -rf out; cp -a --remove-destination saved/home/.plakar/store/{part} ../home/.plakar/store/"
        );
        self.world.shell(&line).succeeded();
    }

    fn run(&self, words: &str) -> Ran {
        let words = words.replace("ID", &self.id).replace("OLD", &self.old).replace("GONE", &self.gone);
        let words = words.replace("DATA", &self.world.text("work/data"));
        self.world.run_as_user(words.split_whitespace())
    }

    /// Runs a command, which ends with this code, and with words if that is not 0.
    fn try_row(&self, row: &Row, code: &str, case: &str) -> i32 {
        let ran = self.run(row.words);
        // A dry run says what it found where others print what they did.
        let said = ran.err.starts_with("plakar: ")
            || ran.code == 0
            || row.words.contains("-dry-run") && !ran.out.is_empty();
        assert!(said && !ran.err.contains("panicked"), "{case}, {}: {ran:?}", row.words);
        assert_eq!(ran.code.to_string(), code, "{case}, {}: {ran:?}", row.words);
        ran.code
    }
}

fn code(row: &Row, fault: usize, part: usize) -> &'static str {
    let codes = row.codes.split(" | ").nth(fault).expect("codes for each fault");
    let codes: Vec<_> = codes.split(' ').collect();
    assert_eq!(codes.len(), PARTS.len(), "{}", row.words);
    codes[part]
}

#[test]
fn every_command_ends_with_the_right_code_whatever_is_lost() {
    let scene = Scene::new();
    for (f, fault) in FAULTS.into_iter().enumerate() {
        for (p, part) in PARTS.into_iter().enumerate() {
            let case = format!("{part} {fault:?}");
            scene.damage(fault, part);
            for row in READING {
                scene.try_row(row, code(row, f, p), &case);
            }
            for row in WRITING {
                scene.damage(fault, part);
                if [1, 10].contains(&scene.try_row(row, code(row, f, p), &case)) {
                    // It was not begun.
                    continue;
                }
                scene.mend(part);
                let ran = scene.run("cat ID:DATA/f");
                assert!(ran.bytes == tree::noise(3, 50_000), "{case}, {}: afterwards: {ran:?}", row.words);
            }
        }
    }
}

#[test]
fn every_command_has_its_row() {
    let help = World::new().ok("help");
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for line in listed {
        let command = line.split_whitespace().next().unwrap();
        let has_row = READING.iter().chain(WRITING).any(|row| row.words.split(' ').next() == Some(command));
        assert!(has_row, "{command}");
    }
}
