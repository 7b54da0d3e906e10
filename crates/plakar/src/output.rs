//! What is said, and where: data on standard output, everything else on standard error.
//!
//! Text is for people: what could steer a terminal is escaped. With `-json` each line of both is one JSON
//! value. Nothing here panics when nobody reads: a reader that goes away ends the command quietly.

use crate::exit::{Failure, Result};
use crate::format;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Where a command's words go.
pub struct Output {
    /// Everything as JSON.
    pub json: bool,
    /// Notes are shown.
    pub verbose: bool,
    /// Progress is not shown.
    pub quiet: bool,
    bar: RefCell<Option<ProgressBar>>,
    damaged: Cell<bool>,
}

impl Output {
    /// As the flags say.
    pub fn new(json: bool, verbose: bool, quiet: bool) -> Output {
        Output { json, verbose, quiet, bar: RefCell::new(None), damaged: Cell::new(false) }
    }

    /// Something is not as it should be. If something was not done for it, the exit code tells as well.
    pub fn warning(&self, what: &str) {
        if self.json {
            self.error_line(&json!({ "warning": what }).to_string());
        } else {
            self.error_line(&format!("plakar: {}", format::printable_lines(what)));
        }
    }

    /// Stored data is damaged: the command ends with the code for that, if it does not fail in another way.
    pub fn damage(&self, what: &str) {
        self.damaged.set(true);
        self.warning(what);
    }

    /// Whether damage was met.
    pub fn saw_damage(&self) -> bool {
        self.damaged.get()
    }

    /// Something was not done for one path.
    pub fn problem(&self, path: &[u8], what: &str) {
        if self.json {
            let mut value = json!({ "path": String::from_utf8_lossy(path), "problem": what });
            if let Some(hex) = hex_unless_text(path) {
                value["path_hex"] = hex.into();
            }
            self.error_line(&value.to_string());
        } else {
            let what = format::printable_lines(what);
            self.error_line(&format!("plakar: {}: {what}", format::printable(path)));
        }
    }

    /// Something worth knowing with `-verbose`.
    pub fn note(&self, what: &str) {
        if self.verbose && self.json {
            self.error_line(&json!({ "note": what }).to_string());
        } else if self.verbose {
            self.error_line(&format::printable_lines(what));
        }
    }

    /// What was done, in a line: for whoever watches, or asked to be told more. A pipe hears nothing of it.
    pub fn summary(&self, what: &str) {
        if self.verbose {
            self.note(what);
        } else if self.watched() {
            self.error_line(&format::printable_lines(what));
        }
    }

    /// Whether somebody sits at a terminal and wants to see how it goes.
    fn watched(&self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// A line that a flag asked for, besides the command's own.
    pub fn aside(&self, key: &str, value: serde_json::Value, text: &str) {
        if self.json {
            self.error_line(&json!({ key: value }).to_string());
        } else {
            self.error_line(text);
        }
    }

    /// Why the command failed.
    pub fn failure(&self, failure: &Failure) {
        let Some(what) = &failure.what else { return };
        if self.json {
            let code = failure.code as u8;
            let value = json!({ "error": what, "hint": failure.hint, "code": code });
            self.error_line(&value.to_string());
        } else {
            self.error_line(&format!("plakar: {}", format::printable_lines(what)));
            if let Some(hint) = &failure.hint {
                self.error_line(&format::printable_lines(hint));
            }
        }
    }

    fn error_line(&self, line: &str) {
        // Nobody can be told that nobody can be told.
        let write = || drop(writeln!(io::stderr(), "{line}"));
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Shows progress on a terminal, until it is dropped.
    pub fn progress(&self) -> Progress<'_> {
        let shown = self.watched();
        if shown {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template"));
            *self.bar.borrow_mut() = Some(bar);
        }
        Progress { output: self, shown, last: Instant::now() }
    }
}

/// A line of progress.
pub struct Progress<'a> {
    output: &'a Output,
    shown: bool,
    last: Instant,
}

impl Progress<'_> {
    /// Shows `message` if it is time to.
    pub fn show(&mut self, message: impl FnOnce() -> String) {
        if self.shown && self.last.elapsed() >= Duration::from_millis(100) {
            self.last = Instant::now();
            if let Some(bar) = &*self.output.bar.borrow() {
                bar.set_message(message());
                bar.tick();
            }
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.output.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

/// Standard output, buffered whatever it is.
pub struct Data {
    out: BufWriter<File>,
}

impl Data {
    /// Begins to write.
    pub fn begin() -> Result<Data> {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(|e| failed(&e))?;
        Ok(Data { out: BufWriter::with_capacity(64 << 10, stdout.into()) })
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| failed(&e))
    }

    /// Writes a line of text, which must be printable already.
    pub fn line(&mut self, line: &str) -> Result<()> {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a line of JSON.
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).expect("what is printed can be said in JSON");
        self.line(&text)
    }

    /// Writes out what is still in memory. What was begun must be ended: dropping hides errors.
    pub fn end(mut self) -> Result<()> {
        self.out.flush().map_err(|e| failed(&e))
    }
}

fn failed(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::nobody_reads(),
        _ => Failure::failed(format!("cannot write to standard output: {error}")),
    }
}

/// The bytes in hexadecimal when text would not be exact.
pub fn hex_unless_text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| plakar_engine::id::hex(bytes))
}
