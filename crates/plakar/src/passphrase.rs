//! Passphrases: from a file, a command, the environment or the terminal; never from nowhere, and never for ever.

use crate::args::Globals;
use crate::exit::{Failure, Result};
use plakar_engine::crypto::slot::Cost;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// A passphrase, wiped when it is no longer needed.
pub type Passphrase = Zeroizing<Vec<u8>>;

/// How often somebody at a terminal may try.
pub const TRIES: usize = 3;
/// The longest key file, and the longest line of a command, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// Where a passphrase is to come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, whole but for one newline at its end.
    File(PathBuf),
    /// The first line that a shell command prints; the flag that gave it.
    Command(&'static str, OsString),
    /// An environment variable of this name.
    Variable(&'static str, OsString),
    /// Whoever sits at the terminal.
    Terminal(Question),
}

/// What is asked at the terminal.
#[derive(Debug, Clone)]
pub struct Question {
    /// The question.
    prompt: String,
    /// Where else a passphrase might come from, for when there is no terminal.
    instead: &'static str,
}

impl Question {
    fn own() -> Question {
        Question {
            prompt: "repository passphrase: ".into(),
            instead: "use -keyfile, -passphrase-command or PLAKAR_PASSPHRASE",
        }
    }
}

impl Source {
    /// The one that opens repositories.
    pub fn current(globals: &Globals) -> Source {
        match (&globals.keyfile, &globals.passphrase_command) {
            (Some(file), _) => Source::File(file.clone()),
            (None, Some(command)) => Source::Command("-passphrase-command", command.clone()),
            (None, None) => Source::variable("PLAKAR_PASSPHRASE", Question::own),
        }
    }

    /// The one that opens a peer, which is called `name`.
    pub fn of_peer(keyfile: Option<&Path>, command: Option<&OsStr>, name: &str) -> Source {
        let question = || Question {
            prompt: format!("passphrase of {}: ", crate::format::printable(name.as_bytes())),
            instead: "use -peer-keyfile, -peer-passphrase-command or PLAKAR_PEER_PASSPHRASE",
        };
        match (keyfile, command) {
            (Some(file), _) => Source::File(file.to_owned()),
            (None, Some(command)) => Source::Command("-peer-passphrase-command", command.to_owned()),
            (None, None) => Source::variable("PLAKAR_PEER_PASSPHRASE", question),
        }
    }

    /// The one of a passphrase to be added.
    pub fn new_one(keyfile: Option<&Path>) -> Source {
        match keyfile {
            Some(file) => Source::File(file.to_owned()),
            None => Source::variable("PLAKAR_NEW_PASSPHRASE", Question::own),
        }
    }

    fn variable(name: &'static str, otherwise: impl FnOnce() -> Question) -> Source {
        match std::env::var_os(name) {
            Some(value) => Source::Variable(name, value),
            None => Source::Terminal(otherwise()),
        }
    }

    /// What is in the environment for this repository, whatever else it comes from.
    pub fn environment() -> Option<Passphrase> {
        match Source::variable("PLAKAR_PASSPHRASE", Question::own) {
            Source::Variable(_, value) => Some(Zeroizing::new(value.into_vec())),
            _ => None,
        }
    }

    /// Whether somebody who made a mistake can try again.
    pub fn may_try_again(&self) -> bool {
        matches!(self, Source::Terminal(_))
    }

    /// Gets the passphrase that is there already.
    pub fn get(&self) -> Result<Passphrase> {
        match self {
            Source::File(file) => from_file(file),
            Source::Command(flag, command) => from_command(flag, command),
            Source::Variable(_, value) => Ok(Zeroizing::new(value.clone().into_vec())),
            Source::Terminal(question) => ask(question),
        }
    }

    /// Gets one that is to be used from now on: asked for twice, and never empty. `what` is what to call it.
    pub fn choose(&self, what: &str) -> Result<Passphrase> {
        let Source::Terminal(question) = self else {
            let chosen = self.get()?;
            let place = match self {
                Source::File(file) => file.display().to_string(),
                Source::Command(name, _) | Source::Variable(name, _) => (*name).into(),
                Source::Terminal(_) => unreachable!("dealt with below"),
            };
            return refuse_empty(chosen, &format!("{place}: "));
        };
        for _ in 0..TRIES {
            let ask_for = |prompt: String| ask(&Question { prompt, ..question.clone() });
            let chosen = refuse_empty(ask_for(format!("{what}: "))?, "")?;
            if ask_for(format!("{what} (confirm): "))? == chosen {
                return Ok(chosen);
            }
            let _ = std::fs::write("/dev/tty", "these are different passphrases\n");
        }
        Err(Failure::failed("no passphrase was typed twice alike"))
    }
}

/// How dear a guess is to be made. With PLAKAR_TEST_WEAK_KDF=1, which is for tests only, not at all: they make
/// hundreds of repositories with nothing in them.
pub fn cost() -> Cost {
    match std::env::var_os("PLAKAR_TEST_WEAK_KDF").filter(|_| cfg!(debug_assertions)) {
        Some(value) if value == "1" => Cost::TEST,
        _ => Cost::DEFAULT,
    }
}

fn refuse_empty(passphrase: Passphrase, place: &str) -> Result<Passphrase> {
    if passphrase.is_empty() {
        return Err(Failure::failed(format!("{place}the passphrase is empty")));
    }
    Ok(passphrase)
}

fn from_file(path: &Path) -> Result<Passphrase> {
    let failed = |e| Failure::io(path, &e);
    let mut passphrase = read_all(File::open(path).map_err(failed)?).map_err(failed)?;
    if passphrase.last() == Some(&b'\n') {
        passphrase.pop();
    }
    Ok(passphrase)
}

fn from_command(flag: &str, command: &OsStr) -> Result<Passphrase> {
    let failed = |e: String| Failure::failed(format!("{flag}: {e}"));
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let printed = read_all(child.stdout.take().expect("it is piped"));
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    let mut printed = printed.map_err(|e| failed(e.to_string()))?;
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    if let Some(end) = printed.iter().position(|&b| b == b'\n') {
        printed.truncate(end);
    }
    Ok(printed)
}

/// Reads everything into memory that is wiped; a growing `Vec` would leave copies behind.
fn read_all(from: impl Read) -> io::Result<Passphrase> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_MAX as usize + 1));
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "too long for a passphrase"));
    }
    Ok(bytes)
}

fn ask(question: &Question) -> Result<Passphrase> {
    let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|e| {
        Failure::failed(format!("a passphrase is needed, and there is no terminal to ask on: {e}"))
            .hint(question.instead)
    })?;
    let _silence = Silence::begin(&terminal);
    match rpassword::prompt_password(&question.prompt) {
        Ok(typed) => Ok(Zeroizing::new(typed.into_bytes())),
        Err(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::Interrupted) => {
            Err(Failure::failed("no passphrase was given"))
        }
        Err(e) => Err(Failure::failed(format!("cannot ask for a passphrase: {e}"))),
    }
}

/// A terminal that does not show what is typed, from before the question on: who answers quickly is not
/// shown either. Ctrl-C is only a letter meanwhile, so that the terminal is never left like this.
struct Silence<'a> {
    terminal: &'a File,
    before: Option<Termios>,
}

impl<'a> Silence<'a> {
    fn begin(terminal: &'a File) -> Silence<'a> {
        let before = tcgetattr(terminal).ok();
        if let Some(before) = &before {
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG);
            // If it fails, the question is asked all the same: that turns the echo off itself, a little later.
            let _ = tcsetattr(terminal, OptionalActions::Now, &silent);
        }
        Silence { terminal, before }
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(self.terminal, OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_goes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for (text, expected) in [("a b", "a b"), ("a\n", "a"), ("a\n\n", "a\n"), ("\n", ""), ("a\r\n", "a\r")]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(from_file(&file).unwrap().as_slice(), expected.as_bytes());
        }
        std::fs::write(&file, vec![b'x'; BYTES_MAX as usize + 1]).unwrap();
        from_file(&file).unwrap_err();
        std::fs::write(&file, "\n").unwrap();
        Source::File(file).choose("x").unwrap_err();
        from_file(folder.path()).unwrap_err();
    }

    #[test]
    fn a_command_must_succeed() {
        let get = |command: &str| from_command("-x", OsStr::new(command)).map(|p| p.to_vec());
        assert_eq!(get("printf 'one\\ntwo\\n'").unwrap(), b"one");
        assert_eq!(get("printf one").unwrap(), b"one");
        get("echo one; exit 3").unwrap_err();
        get("cat /dev/zero").unwrap_err();
    }
}
