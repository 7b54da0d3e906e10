//! Several things to do, of which one that fails does not keep the others from being done.

use crate::exit::{Code, Failure, Result};
use crate::output::Output;

/// What became of them so far.
pub struct Several<'a> {
    output: &'a Output,
    first: Option<Code>,
}

impl<'a> Several<'a> {
    /// Nothing has failed yet.
    pub fn new(output: &'a Output) -> Several<'a> {
        Several { output, first: None }
    }

    /// What came of one of them, unless it failed: then that is told.
    ///
    /// # Errors
    /// When the others need not be tried, because whoever would hear of them has gone.
    pub fn take<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(failure) if failure.what.is_none() => Err(failure),
            Err(failure) => {
                self.output.failure(&failure);
                self.first.get_or_insert(failure.code);
                Ok(None)
            }
        }
    }

    /// What came of it all: the code of the first that failed.
    pub fn end(self) -> Result<Code> {
        match self.first {
            Some(code) => Err(Failure::told(code)),
            None => Ok(Code::Done),
        }
    }
}
