//! `plakar stdio`.

use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::location::Location;
use crate::repo;
use plakar_net::{Limits, Place, Service, serve_pipes};
use plakar_store::Store;
use std::io::{IsTerminal, stdin};
use std::sync::Arc;

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

/// The store at a location.
struct Served(Location);

impl Place for Served {
    fn open(&self) -> plakar_store::Result<Arc<dyn Store>> {
        self.0.open_store().map(|(store, _)| store)
    }

    fn create(&self) -> plakar_store::Result<Arc<dyn Store>> {
        self.0.create().map(|(store, _)| store)
    }
}
