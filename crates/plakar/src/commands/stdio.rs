//! `plakar stdio`.

use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::repo;
use crate::served::Served;
use plakar_net::{Limits, Service, serve_pipes};
use std::io::{IsTerminal, stdin};

/// Gives whoever is at the other end of the pipes access to the repository: its bytes, not its keys.
pub fn run(context: &Context) -> Result<Code> {
    if stdin().is_terminal() {
        return Err(Failure::usage("stdio is not for a terminal")
            .hint("it is what 'plakar on ssh://HOST/REPOSITORY ...' runs on that machine"));
    }
    let place = Served(repo::location(context)?);
    serve_pipes(Service::new(Box::new(place), Limits::default()))
        .map_err(|e| Failure::failed(format!("stdio: {e}")))?;
    Ok(Code::Done)
}
