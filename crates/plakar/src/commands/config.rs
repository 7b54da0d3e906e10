//! `plakar config`.

use crate::args::Config;
use crate::config;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};

/// Says what is wrong in the configuration.
pub fn run(context: &Context, command: &Config) -> Result<Code> {
    let Config::Check = command;
    let file = context.local.config_file();
    let file =
        file.ok_or_else(|| Failure::failed("there is no home directory, so there is no configuration"))?;
    match config::load(&file, context.local.home.as_deref())? {
        None => Err(Failure::failed(format!("{}: there is no configuration", file.display()))),
        Some(Ok(found)) => {
            let (repositories, sources) = (found.repositories.len(), found.sources.len());
            let what = format!("{}: {repositories} repositories, {sources} sources", file.display());
            context.output.summary(&what);
            Ok(Code::Done)
        }
        Some(Err(problems)) => {
            problems.iter().for_each(|problem| context.output.warning(&config::told(&file, problem)));
            Err(Failure::told(Code::Usage))
        }
    }
}
