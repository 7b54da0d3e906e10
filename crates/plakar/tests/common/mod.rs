//! Runs the built program as a user would, each time in a world of its own.

#![allow(dead_code, reason = "not every test file uses all of it")]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub mod copies;
pub mod elsewhere;
pub mod inject;
pub mod machine;
pub mod tree;

/// A home directory, and somewhere to work.
pub struct World {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub bytes: Vec<u8>,
}

impl World {
    pub fn new() -> World {
        World::beneath(&std::env::temp_dir())
    }

    /// In memory where that can be had: for what flushes so often that a disk would take its time.
    pub fn in_memory() -> World {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { World::beneath(memory) } else { World::new() }
    }

    fn beneath(folder: &Path) -> World {
        let folder = tempfile::tempdir_in(folder).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        World { folder, variables: Vec::new() }
    }

    /// With an environment variable from now on.
    pub fn with(mut self, name: &str, value: &str) -> World {
        self.set(name, value);
        self
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.variables.push((name.into(), value.into()));
    }

    pub fn unset(&mut self, name: &str) {
        self.variables.retain(|(n, _)| n != name);
    }

    /// A path in the world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().into()
    }

    /// Writes a file in the working directory.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("work").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A program that sees nothing of the environment but this world.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let built = Path::new(env!("CARGO_BIN_EXE_plakar")).parent().unwrap();
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", built.display()))
            .env("HOME", self.path("home"))
            .env("PLAKAR_TEST_WEAK_KDF", "1")
            .envs(self.variables.iter().map(|(n, v)| (n, v)))
            .current_dir(self.path("work"))
            .stdin(Stdio::null());
        command
    }

    /// Runs plakar where it has no terminal, with these words after its name.
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command("setsid");
        ran(command.args(["-w", env!("CARGO_BIN_EXE_plakar")]).args(words).output().unwrap())
    }

    /// Runs plakar with the words of a line.
    pub fn line(&self, words: &str) -> Ran {
        self.run(words.split_whitespace())
    }

    /// Runs a line of shell.
    pub fn shell(&self, line: &str) -> Ran {
        ran(self.command("sh").args(["-c", line]).output().unwrap())
    }

    /// Runs a line of shell at a terminal. Each answer is typed once its question is there.
    pub fn at_terminal(&self, line: &str, answers: &[(&str, &str)]) -> Ran {
        // A question that never comes must not make the test wait for ever.
        let mut command = self.command("timeout");
        command.args(["60", "script", "-qec", line, "/dev/null"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut bytes, mut seen, mut buffer) = (Vec::new(), 0, [0; 4096]);
        let mut answers = answers.iter().peekable();
        loop {
            if let Some((question, answer)) = answers.peek()
                && let Some(at) = find(&bytes[seen..], question.as_bytes())
            {
                seen += at + question.len();
                stdin.write_all(answer.as_bytes()).unwrap();
                answers.next();
                continue;
            }
            match stdout.read(&mut buffer).unwrap() {
                0 => break,
                n => bytes.extend_from_slice(&buffer[..n]),
            }
        }
        // Until here it stayed open: the end of the input would be typed as well.
        drop(stdin);
        ran(Output { status: child.wait().unwrap(), stdout: bytes, stderr: Vec::new() })
    }

    /// Runs a line, which must succeed, and returns what it printed.
    pub fn ok(&self, words: &str) -> String {
        self.line(words).succeeded()
    }

    /// Runs a line, which must end with `code` and say `what` on standard error.
    pub fn fails(&self, words: &str, code: i32, what: &str) -> Ran {
        let ran = self.line(words);
        assert_eq!(ran.code, code, "plakar {words}: {ran:?}");
        assert!(ran.err.contains(what), "plakar {words}: not {what:?}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "plakar {words}: {ran:?}");
        ran
    }

    /// The UUIDs of all snapshots.
    pub fn uuids(&self) -> Vec<String> {
        self.ok("ls").lines().map(|line| line[20..58].trim().to_owned()).collect()
    }
}

impl Ran {
    /// It must have succeeded, without a word on standard error.
    pub fn succeeded(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        bytes: output.stdout,
    }
}
