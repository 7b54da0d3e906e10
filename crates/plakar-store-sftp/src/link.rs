//! The connection of a store: made when it is needed, and again when it broke.

use crate::connect::Connect;
use crate::connection::{Connection, Cut, Tried, Trouble};
use plakar_store::{Bandwidth, Error, ErrorKind, Patience, Result, Silence, Tries};
use std::sync::{Arc, Mutex, PoisonError};

/// A connection that is there, or can be made.
pub struct Link {
    connect: Box<dyn Connect>,
    bandwidth: Bandwidth,
    patience: Patience,
    silence: Silence,
    location: String,
    /// With a number that tells one from the next.
    open: Mutex<(u64, Option<Arc<Connection>>)>,
}

impl Link {
    pub fn new(
        connect: Box<dyn Connect>,
        bandwidth: Bandwidth,
        patience: Patience,
        location: String,
    ) -> Link {
        Link { connect, bandwidth, patience, silence: Silence::new(), location, open: Mutex::default() }
    }

    /// Where it leads, for messages.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The connection, by its number, made if there is none that works.
    pub fn connection(&self) -> std::result::Result<(u64, Arc<Connection>), Cut> {
        // Held while connecting: one connection is enough for all.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let (number, Some(connection)) = &*open
            && connection.broken().is_none()
        {
            return Ok((*number, connection.clone()));
        }
        open.1 = None;
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", self.connect.peer());
        let pipes = self.connect.connect().map_err(|e| told(&e))?;
        let made = Connection::greet(pipes, &self.bandwidth, self.patience.idle);
        let made = Arc::new(made.map_err(|why| told(&why))?);
        *open = (open.0 + 1, Some(made.clone()));
        Ok((open.0, made))
    }

    /// Does something once, which is not tried again if it is cut off: whoever cannot be reached at all is not waited for.
    pub fn once<T>(&self, attempt: impl FnOnce(&Connection) -> Tried<T>) -> Result<T> {
        let result = match self.connection() {
            Ok((_, connection)) => attempt(&connection),
            Err(why) => Err(Trouble::Cut(why)),
        };
        result.map_err(|trouble| match trouble {
            Trouble::Said(e) => e,
            Trouble::Cut(why) => Error::new(ErrorKind::Io, format!("{}: {why}", self.location)),
        })
    }

    /// Does something until it is done or refused, or was cut off for too long. `attempt` is also told whether an earlier
    /// one was cut off, and may have been done all the same.
    pub fn persist<T>(
        &self,
        object: &str,
        mut attempt: impl FnMut(u64, &Connection, bool) -> Tried<T>,
    ) -> Result<T> {
        let mut tries = Tries::new(self.patience, &self.silence);
        loop {
            let result = match self.connection() {
                Ok((number, connection)) => attempt(number, &connection, tries.failed()),
                Err(why) => Err(Trouble::Cut(why)),
            };
            if !matches!(result, Err(Trouble::Cut(_))) {
                self.silence.end();
            }
            match result {
                Ok(done) => return Ok(done),
                Err(Trouble::Said(e)) => return Err(e),
                Err(Trouble::Cut(why)) => {
                    let wait = tries.again().ok_or_else(|| {
                        Error::new(ErrorKind::Io, format!("{object}: {}: {why}", self.location))
                    })?;
                    std::thread::sleep(wait);
                }
            }
        }
    }
}
