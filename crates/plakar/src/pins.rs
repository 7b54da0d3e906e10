//! Servers that are known by the fingerprints of their certificates: `~/.local/state/plakar/servers/HOST:PORT`.
//!
//! Nobody is believed because he came first: the fingerprint, as the server itself printed it, is given once in
//! `PLAKAR_FINGERPRINT` (several, apart from each other), and remembered when the server shows that certificate. From then on
//! another certificate is refused, until its fingerprint is given as well.

use crate::local::{Local, absent, write_file};
use plakar_net::Fingerprint;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::PathBuf;

/// What is known of one server.
pub struct Pins {
    file: Option<PathBuf>,
    known: Option<Fingerprint>,
    given: Vec<Fingerprint>,
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl Pins {
    /// What is known of the server at an address.
    pub fn of(server: &str) -> io::Result<Pins> {
        let file = Local::new(None, true).state_file("servers", server);
        let text = match file.as_ref().map(fs::read_to_string) {
            None => None,
            Some(Err(e)) if absent(&e) => None,
            Some(text) => Some(text?),
        };
        // A file that is none is not to be taken for a server that is not known yet.
        let known = text.map(|text| {
            let read = Fingerprint::read(text.trim());
            read.ok_or_else(|| invalid(format!("what is remembered of {server} is no fingerprint")))
        });
        let given = std::env::var("PLAKAR_FINGERPRINT").unwrap_or_default();
        let given = given.split([' ', ',', '\n']).filter(|word| !word.is_empty()).map(|word| {
            Fingerprint::read(word)
                .ok_or_else(|| invalid(format!("PLAKAR_FINGERPRINT: {word:?}: not 64 hexadecimal digits")))
        });
        Ok(Pins { known: known.transpose()?, given: given.collect::<io::Result<_>>()?, file })
    }

    /// All that it may show.
    pub fn all(&self) -> Vec<Fingerprint> {
        self.known.iter().chain(&self.given).copied().collect()
    }

    /// What to say of a certificate that is none of them.
    pub fn refusal(&self, name: &OsStr, met: Fingerprint) -> String {
        let name = name.to_string_lossy();
        let what = match self.known {
            Some(known) => format!(
                "the certificate has changed: its fingerprint was {known}, and is {met}. Somebody else may answer in its \
                 place; nothing was sent"
            ),
            None => format!(
                "this server is not known yet: the fingerprint of its certificate is {met}; nothing was sent"
            ),
        };
        format!(
            "{name}: {what}. If that is what the server printed when it began, 'PLAKAR_FINGERPRINT={met}' in the environment \
             lets it be known from then on"
        )
    }

    /// Remembers a server that was met, if it was not known. That this fails costs another word in the environment.
    pub fn remember(&self, met: Option<Fingerprint>) {
        if let (Some(met), Some(file)) = (met.filter(|met| self.known != Some(*met)), &self.file) {
            let _ = write_file(file, format!("{met}\n").as_bytes());
        }
    }
}
