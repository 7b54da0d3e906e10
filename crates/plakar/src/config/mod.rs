//! What the user wrote down once: repositories by name, what is pushed by name, and which repository is meant when nobody
//! names one. It lies in `~/.config/plakar/config.toml`; XDG_CONFIG_HOME is respected.
//!
//! ```toml
//! default = "@nas"
//! cache-size = "500MB"                      # as the flag
//!
//! [repositories.nas]
//! location = "ssh://nas/srv/backups"
//! passphrase-command = "pass show nas"      # or keyfile = "~/.nas.key"
//!
//! [repositories.cloud]
//! location = "s3://bucket/backups"
//! options = { endpoint = "https://s3.example.org", region = "eu" }    # as -store-option, for this one
//!
//! [sources.home]
//! paths = ["~/", "/etc"]
//! tags = ["daily"]
//! exclude = ["*.o", "~/.cache/"]            # as the flag, but beneath these paths only
//! exclude-if-present = [".nobackup"]        # and so are these
//! exclude-caches = true
//! max-size = "1GB"
//! one-file-system = true
//! gitignore = true
//! before = "systemctl --user stop notes"    # a shell command; if it fails, nothing is pushed
//! after = "systemctl --user start notes"    # PLAKAR_EXIT_CODE is what came of it
//! ```
//!
//! It is read when it is needed: for a name that begins with `@`, when no repository is named, or when one is elsewhere. What is not understood in it is
//! an error then, never passed over: whoever misspells a hook believes it to run. No secret belongs into it; it names commands that
//! are run, so one that everybody may write is refused.

mod read;

use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::location::Location;
use crate::passphrase::Source as Secret;
use plakar_fs::Besides;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use read::Problem;

/// What is written there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What is meant when no repository is named.
    pub default: Option<OsString>,
    /// How much may be kept of repositories elsewhere, in bytes.
    pub cache_bytes: Option<u64>,
    /// By name, without `@`.
    pub repositories: BTreeMap<String, Repository>,
    /// By name, without `@`.
    pub sources: BTreeMap<String, Source>,
}

impl Config {
    /// All names there are, as they are typed.
    pub fn names(&self) -> Vec<String> {
        self.repositories.keys().chain(self.sources.keys()).map(|name| format!("@{name}")).collect()
    }
}

/// A repository that has a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Repository {
    /// Where it is.
    pub location: Location,
    /// A file with its passphrase.
    pub keyfile: Option<PathBuf>,
    /// A shell command that prints it.
    pub passphrase_command: Option<OsString>,
}

/// What is pushed by a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Absolute.
    pub paths: Vec<PathBuf>,
    /// Of each snapshot.
    pub tags: Vec<String>,
    /// Patterns of what is left out beneath these paths.
    pub exclude: Vec<String>,
    /// What else is left out beneath them.
    pub besides: Besides,
    /// A shell command that is run before.
    pub before: Option<String>,
    /// And one after, whatever came of the push.
    pub after: Option<String>,
}

/// Reads the file, or says what is wrong in it. `None` when there is none.
///
/// # Errors
/// When it cannot be read, or everybody may write it.
pub fn load(file: &Path, home: Option<&Path>) -> Result<Option<Result<Config, Vec<Problem>>>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(e) if crate::local::absent(&e) => return Ok(None),
        Err(e) => return Err(Failure::io(file, &e)),
    };
    if fs::metadata(file).map_err(|e| Failure::io(file, &e))?.mode() & 0o002 != 0 {
        let what = format!("{}: everybody may write it, and it names commands that are run", file.display());
        return Err(Failure::failed(what).hint(format!("'chmod o-w {}' changes that", file.display())));
    }
    Ok(Some(read::read(&bytes, home)))
}

/// A problem as a line for people.
pub fn told(file: &Path, problem: &Problem) -> String {
    format!("{}:{}: {}", file.display(), problem.line, problem.what)
}

impl Context {
    /// What is written there; nothing if there is no file.
    pub fn config(&self) -> Result<&Config> {
        if let Some(config) = self.configuration.get() {
            return Ok(config);
        }
        let config = match self.local.config_file() {
            None => Config::default(),
            Some(file) => match load(&file, self.local.home.as_deref())? {
                None => Config::default(),
                Some(Ok(config)) => config,
                Some(Err(problems)) => {
                    let lines: Vec<_> = problems.iter().map(|problem| told(&file, problem)).collect();
                    return Err(Failure::new(Code::Usage, lines.join("\nplakar: ")));
                }
            },
        };
        Ok(self.configuration.get_or_init(|| config))
    }

    /// What is configured by this name, if it is one that begins with `@`.
    fn configured(&self, typed: &OsStr) -> Result<Option<&Repository>> {
        let Some(name) = typed.as_bytes().strip_prefix(b"@") else { return Ok(None) };
        let all = &self.config()?.repositories;
        let found = std::str::from_utf8(name).ok().and_then(|name| all.get(name));
        let kinds = ("repository", "folder");
        found.map(Some).ok_or_else(|| unknown(typed, kinds, &mut all.keys()))
    }

    /// Where a repository is that was named, by whatever kind of name.
    pub fn place(&self, typed: &OsStr) -> Result<Location> {
        match self.configured(typed)? {
            Some(repository) => Ok(repository.location.clone()),
            None => Location::parse(typed),
        }
        .map(|location| location.with(&self.store_options))
    }

    /// Where those of many are that stand for a place.
    pub fn places(&self, typed: &[OsString]) -> Vec<Location> {
        typed.iter().filter_map(|typed| self.place(typed).ok()).collect()
    }

    /// What opens a repository by the configuration, if that says so.
    pub fn secret(&self, typed: &OsStr) -> Result<Option<Secret>> {
        let Some(repository) = self.configured(typed)? else { return Ok(None) };
        let file = repository.keyfile.clone().map(Secret::File);
        let command = || Some(Secret::Command("passphrase-command", repository.passphrase_command.clone()?));
        Ok(file.or_else(command))
    }
}

/// That nothing has such a name; with one that is spelled alike, if there is one.
pub fn unknown(
    typed: &OsStr,
    (what, else_a): (&str, &str),
    known: &mut dyn Iterator<Item = &String>,
) -> Failure {
    let shown = format::printable(typed.as_bytes());
    let like = read::alike(shown.trim_start_matches('@'), known.map(String::as_str));
    let hint = match like {
        Some(like) => format!("did you mean '@{like}'?"),
        None => format!("a {else_a} whose name begins with '@' is written './@...'"),
    };
    Failure::failed(format!("{shown}: no {what} is known by this name")).hint(hint)
}
