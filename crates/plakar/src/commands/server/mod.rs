//! `plakar server`: a repository, or a folder of them, for others to use over the network.

mod identity;
mod token;

use crate::args::{Server as Args, ServerCommand};
use crate::context::{Context, interruption, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::repo;
use crate::served::Offer;
use crate::tokenfile::TokenFile;
use plakar_net::{Limits, Log, Rules, Server, Visit, raised};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Write, stderr};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// Serves until a signal comes.
pub fn run(context: &Context, args: &Args) -> Result<Code> {
    let place = repo::location(context)?;
    if let Some(ServerCommand::Token { command }) = &args.command {
        return token::run(context, &place, command);
    }
    let listener = listen(&args.listen)?;
    let address = listener.local_addr().map_err(|e| Failure::failed(format!("{}: {e}", args.listen)))?;
    let door = TokenFile::of(&context.local, &place, address.ip().is_loopback())?;
    let tokens = door.tokens().map_err(|e| Failure::failed(format!("the tokens of this server: {e}")))?;
    if tokens.is_none() && !address.ip().is_loopback() {
        let what = format!("{address}: others than this machine reach it, and there is no token yet");
        return Err(Failure::failed(what).hint("'plakar server token add NAME' makes one"));
    }
    let identity = identity::of(context, args, &place)?;
    let log: Arc<dyn Log> = Arc::new(Lines::new(context, args)?);
    let rules = Rules { door: Box::new(door), log, limits: Limits::default(), quota: args.quota };
    let server = Server::new(Box::new(Offer::of(&place)), rules);
    let stop = raised(interruption()?);
    tell(context, &format!("plakar://{address}"), &identity.fingerprint().to_string())?;
    server.serve(listener, Some(identity), stop).map_err(|e| Failure::failed(format!("{address}: {e}")))?;
    Ok(Code::Done)
}

fn listen(address: &str) -> Result<TcpListener> {
    // As others write it: on all addresses of this machine.
    let all = if address.starts_with(':') { format!("[::]{address}") } else { address.to_owned() };
    TcpListener::bind(&*all).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidInput => {
            Failure::usage(format!("{address}: no address to listen on")).hint("as in 127.0.0.1:9876")
        }
        _ => Failure::failed(format!("{address}: {e}")),
    })
}

/// Says where it listens, once it does, and what it is to be known by.
fn tell(context: &Context, url: &str, fingerprint: &str) -> Result<()> {
    let mut data = Data::begin()?;
    match context.output.json {
        true => data.json(&json!({ "listens": url, "fingerprint": fingerprint }))?,
        false => data.line(&format!("{url}\nfingerprint {fingerprint}"))?,
    }
    data.end()
}

/// A line for each request.
struct Lines {
    json: bool,
    quiet: bool,
    file: Option<Mutex<File>>,
}

impl Lines {
    fn new(context: &Context, args: &Args) -> Result<Lines> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        let file =
            args.log.as_ref().map(|path| open(path).map(Mutex::new).map_err(|e| Failure::io(path, &e)));
        Ok(Lines { json: context.output.json, quiet: context.output.quiet, file: file.transpose()? })
    }

    fn line(&self, visit: &Visit) -> String {
        let Visit { peer, guest, method, path, status, received, sent } = visit;
        let time = format::time(now().secs);
        if self.json {
            let value = json!({
                "time": time, "client": peer.to_string(), "token": guest, "method": method, "path": path,
                "status": status, "received": received, "sent": sent,
            });
            return format!("{value}\n");
        }
        let guest = guest.as_deref().unwrap_or("-");
        format!("{time} {peer} {guest} {method} {path} {status} {received} {sent}\n")
    }
}

impl Log for Lines {
    fn note(&self, visit: &Visit) {
        // A line that cannot be written keeps nobody from a backup.
        let _ = match &self.file {
            Some(file) => file.lock().expect("no panic while held").write_all(self.line(visit).as_bytes()),
            None if self.quiet => Ok(()),
            None => stderr().write_all(self.line(visit).as_bytes()),
        };
    }
}
