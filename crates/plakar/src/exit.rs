//! How a command ends: errors become a sentence, perhaps a hint, and an exit code, here and nowhere else.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use plakar_engine::Error;
use std::path::Path;

/// Exit codes: part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// All done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Not understood.
    Usage = 2,
    /// Done, except for what was reported.
    Problems = 3,
    /// Damage found.
    Damage = 4,
    /// No repository there.
    NoRepository = 10,
    /// Wrong passphrase.
    WrongPassphrase = 11,
}

impl Code {
    /// The answer no, of a command that is asked something: that of `grep` and `diff`.
    pub const NO: Code = Code::Failed;
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// What went wrong; nothing when whoever would read it is gone.
    pub what: Option<String>,
    /// What may be done about it.
    pub hint: Option<String>,
}

/// The result of a command, or of a part of one.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure with this code.
    pub fn new(code: Code, what: impl Into<String>) -> Failure {
        Failure { code, what: Some(what.into()), hint: None }
    }

    /// Something failed.
    pub fn failed(what: impl Into<String>) -> Failure {
        Failure::new(Code::Failed, what)
    }

    /// Something was typed that makes no sense.
    pub fn usage(what: impl Into<String>) -> Failure {
        Failure::new(Code::Usage, what)
    }

    /// Something about a file of this machine failed.
    pub fn io(path: &Path, error: &std::io::Error) -> Failure {
        Failure::failed(format!("{}: {error}", path.display()))
    }

    /// Whoever read the output has gone: nobody is there to be told.
    pub fn nobody_reads() -> Failure {
        Failure { code: Code::Failed, what: None, hint: None }
    }

    /// A failure that was told already.
    pub fn told(code: Code) -> Failure {
        Failure { code, what: None, hint: None }
    }

    /// Of a command in which 1 is an answer: what failed ends with the code of what is not understood then.
    pub fn of_question(mut self) -> Failure {
        if self.code == Code::NO {
            self.code = Code::Usage;
        }
        self
    }

    /// With what may be done about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        // An object that a listing or an index named and the store has not got is lost.
        let code = match &error {
            Error::NoRepository(_) | Error::Unfinished(_) => Code::NoRepository,
            Error::WrongPassphrase(_) => Code::WrongPassphrase,
            error if error.is_damage() || error.is_not_found() => Code::Damage,
            _ => Code::Failed,
        };
        let hint = match &error {
            Error::NoRepository(place) => Some(format!("'plakar on {place} create' makes one")),
            Error::NeedsPassphrase(_) => Some("see 'plakar help' for the ways to give one".into()),
            Error::Store(e) if e.kind() == plakar_store::ErrorKind::Full => {
                Some("everything that was complete before is still there; make room and run it again".into())
            }
            _ => None,
        };
        let what = match &error {
            Error::Interrupted => "interrupted".to_owned(),
            error => error.to_string(),
        };
        Failure { code, what: Some(what), hint }
    }
}

impl From<plakar_store::Error> for Failure {
    fn from(error: plakar_store::Error) -> Failure {
        Failure::from(Error::from(error))
    }
}

/// What clap has to say: help (which goes to standard output) or a mistake.
pub fn from_clap(error: &clap::Error) -> Result<String> {
    let text = crate::help::one_dash(&error.render().to_string());
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        // The last is the one most alike.
        Some(ContextValue::Strings(texts)) => texts.last().cloned(),
        _ => None,
    };
    match error.kind() {
        ErrorKind::DisplayHelp => Ok(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::usage("missing command").hint(text.trim_end()))
        }
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let hint = match context(ContextKind::SuggestedSubcommand) {
                Some(like) => format!("did you mean '{like}'?"),
                None => "'plakar help' lists the commands".to_owned(),
            };
            Err(Failure::usage(format!("unknown command: {word}")).hint(hint))
        }
        _ => {
            let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
            let (what, rest) = text.split_once('\n').unwrap_or((text, ""));
            let failure = Failure::usage(what);
            let rest = rest.trim_matches('\n');
            Err(if rest.is_empty() { failure } else { failure.hint(rest) })
        }
    }
}
