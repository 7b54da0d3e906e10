//! `plakar server token`: who may use a server.

use crate::args::{NewToken, TokenCommand};
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::location::Location;
use crate::output::Data;
use crate::tokenfile::TokenFile;
use plakar_engine::crypto::random;
use plakar_net::{Guest, Role, is_plain};
use serde_json::json;

/// Works on the tokens of a server of this place, whether it runs or not.
pub fn run(context: &Context, place: &Location, command: &TokenCommand) -> Result<Code> {
    let file = TokenFile::of(&context.local, place, false)?;
    match command {
        TokenCommand::Add(new) => add(context, &file, new)?,
        TokenCommand::Ls => list(context, &file)?,
        TokenCommand::Rm { names } => remove(context, &file, names)?,
    }
    Ok(Code::Done)
}

/// Makes one, and shows it this once: only its hash is kept.
fn add(context: &Context, file: &TokenFile, new: &NewToken) -> Result<()> {
    let name = &new.name;
    for typed in [Some(name), new.only.as_ref()].into_iter().flatten() {
        if !is_plain(typed) {
            let what = format!("{typed:?}: a name is up to 64 letters, digits, '-', '_' and '.'");
            return Err(Failure::usage(what));
        }
    }
    let role = Role::named(&new.role).expect("one of those that may be typed");
    let guest = Guest { name: name.clone(), role, repository: new.only.clone(), quota: new.quota };
    let expires = new.expires.map(|seconds| now().secs.saturating_add(seconds));
    let token = file.change(|tokens| {
        let added = tokens.add(guest, expires, random());
        added.ok_or_else(|| {
            Failure::failed(format!("there is a token '{name}' already"))
                .hint(format!("'plakar server token rm {name}' removes it"))
        })
    })?;
    let mut data = Data::begin()?;
    match context.output.json {
        true => data.json(&json!({ "name": name, "token": token }))?,
        false => data.line(&token)?,
    }
    data.end()
}

fn list(context: &Context, file: &TokenFile) -> Result<()> {
    let tokens = file.tokens().map_err(|e| Failure::failed(format!("the tokens of this server: {e}")))?;
    let mut data = Data::begin()?;
    for token in tokens.unwrap_or_default().iter() {
        let Guest { name, role, repository, quota } = &token.guest;
        let expires = token.expires.map(format::time);
        if context.output.json {
            data.json(&json!({
                "name": name, "role": role.name(), "expires": expires, "only": repository, "quota": quota,
            }))?;
            continue;
        }
        let mut line = format!("{name} {}", role.name());
        let more = [
            expires.map(|time| format!("until {time}")),
            repository.as_ref().map(|name| format!("only {name}")),
            quota.map(|bytes| format!("up to {}", format::size(bytes))),
        ];
        for words in more.into_iter().flatten() {
            line = format!("{line}, {words}");
        }
        data.line(&line)?;
    }
    data.end()
}

fn remove(context: &Context, file: &TokenFile, names: &[String]) -> Result<()> {
    file.change(|tokens| {
        for name in names {
            if !tokens.remove(name) {
                return Err(Failure::failed(format!("there is no token {name:?}"))
                    .hint("see 'plakar server token ls'; nothing was removed"));
            }
        }
        Ok(())
    })?;
    for name in names {
        context.output.note(&format!("removed token {name}"));
    }
    Ok(())
}
