//! The certificate of a server: one that it is given, or one that it made when it first began.

use crate::args::Server as Args;
use crate::context::Context;
use crate::exit::{Failure, Result};
use crate::local::{absent, write_file};
use crate::location::Location;
use crate::tokenfile;
use plakar_net::Identity;
use std::fs;
use std::path::Path;

/// What a server of this place shows.
pub fn of(context: &Context, args: &Args, place: &Location) -> Result<Identity> {
    if let (Some(certificate), Some(key)) = (&args.certificate, &args.key) {
        let identity = Identity::of_files(certificate, key);
        return identity
            .map_err(|e| Failure::failed(format!("{}, {}: {e}", certificate.display(), key.display())));
    }
    let folder = tokenfile::folder(&context.local, place)?;
    let (certificate, key) = (folder.join("certificate"), folder.join("key"));
    if let Some(kept) = kept(&certificate, &key)? {
        return Ok(kept);
    }
    let (made, its_key) = Identity::make().map_err(|e| Failure::failed(format!("a new certificate: {e}")))?;
    // The certificate comes last: with it, the key is there.
    write_file(&key, &its_key).map_err(|e| Failure::io(&key, &e))?;
    write_file(&certificate, &made).map_err(|e| Failure::io(&certificate, &e))?;
    Identity::of_bytes(made, its_key).map_err(|e| Failure::io(&certificate, &e))
}

/// The one that was made before. One that is damaged is not made anew in silence: clients know it.
fn kept(certificate: &Path, key: &Path) -> Result<Option<Identity>> {
    let read = |path: &Path| fs::read(path).map_err(|e| Failure::io(path, &e));
    match fs::metadata(certificate) {
        Err(e) if absent(&e) => return Ok(None),
        Err(e) => return Err(Failure::io(certificate, &e)),
        Ok(_) => {}
    }
    let identity = Identity::of_bytes(read(certificate)?, read(key)?);
    identity.map(Some).map_err(|e| {
        Failure::io(certificate, &e)
            .hint("without this file the server makes another, which clients have to accept")
    })
}
