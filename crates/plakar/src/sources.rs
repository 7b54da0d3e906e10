//! What is pushed by a name that the configuration gives it: its paths, its tags, and the commands that are run around a push.
//!
//! `before` is run before anything is looked at. If it fails, nothing is pushed. `after` is run whatever came of the push, with
//! its exit code in PLAKAR_EXIT_CODE, for each source of which `before` did not fail, the last one first. What they print goes
//! to standard error: standard output is for data.

use crate::config::{self, Source};
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use plakar_fs::{Excludes, absolute};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

/// The exit code of a push, for the command after it.
const EXIT_CODE: &str = "PLAKAR_EXIT_CODE";

/// What is to be pushed.
#[derive(Default)]
pub struct Chosen<'c> {
    /// Where it lies.
    pub paths: Vec<OsString>,
    /// The tags of its sources.
    pub tags: Vec<String>,
    /// What its sources leave out.
    pub excludes: Excludes,
    /// The sources that have a name, with it.
    sources: Vec<(String, &'c Source)>,
}

impl<'c> Chosen<'c> {
    /// What was typed: paths, and names that begin with `@`.
    ///
    /// # Errors
    /// For a name that nothing has.
    pub fn find(context: &'c Context, typed: &[OsString]) -> Result<Chosen<'c>> {
        let mut chosen = Chosen::default();
        for word in typed {
            let Some(name) = word.as_bytes().strip_prefix(b"@") else {
                chosen.paths.push(word.clone());
                continue;
            };
            let all = &context.config()?.sources;
            let found = std::str::from_utf8(name).ok().and_then(|name| all.get_key_value(name));
            let kinds = ("source", "file");
            let (name, source) = found.ok_or_else(|| config::unknown(word, kinds, &mut all.keys()))?;
            chosen.paths.extend(source.paths.iter().map(|path| path.clone().into()));
            chosen.tags.extend(source.tags.iter().cloned());
            let beneath: Vec<_> =
                source.paths.iter().map(|path| absolute(path.as_os_str().as_bytes(), b"/")).collect();
            let patterns = source.exclude.iter().map(String::as_str);
            chosen.excludes.add(beneath.clone(), patterns).map_err(Failure::usage)?;
            chosen.excludes.add_besides(beneath, source.besides.clone());
            if !chosen.sources.iter().any(|(other, _)| other == name) {
                chosen.sources.push((name.clone(), source));
            }
        }
        Ok(chosen)
    }

    /// Pushes, with what is to be run around it.
    ///
    /// # Errors
    /// Those of the push, or that one of the commands failed.
    pub fn around(&self, context: &Context, push: impl FnOnce() -> Result<Code>) -> Result<Code> {
        let mut begun = Vec::new();
        let mut before = Ok(());
        for (name, source) in &self.sources {
            before = run(name, "before", source.before.as_deref(), None);
            if before.is_err() {
                break;
            }
            begun.push((name, source));
        }
        let result = before.map_err(|e| e.hint("nothing was pushed")).and_then(|()| push());
        let code = match &result {
            Ok(code) if context.output.saw_damage() => (*code).max(Code::Damage),
            Ok(code) => *code,
            Err(failure) => failure.code,
        };
        let mut failed = false;
        for (name, source) in begun.into_iter().rev() {
            if let Err(failure) = run(name, "after", source.after.as_deref(), Some(code)) {
                context.output.failure(&failure);
                failed = true;
            }
        }
        match result {
            Ok(Code::Done) if failed => Err(Failure::told(Code::Failed)),
            result => result,
        }
    }
}

/// Runs a shell command, if there is one. It must succeed.
fn run(name: &str, which: &str, command: Option<&str>, code: Option<Code>) -> Result<()> {
    let Some(command) = command else { return Ok(()) };
    let failed = |why: String| Failure::failed(format!("sources.{name}: {which}: {why}"));
    let words = io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(OsStr::new(command)).stdin(Stdio::null()).stdout(words);
    if let Some(code) = code {
        shell.env(EXIT_CODE, (code as u8).to_string());
    }
    let status = shell.status().map_err(|e| failed(e.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}
