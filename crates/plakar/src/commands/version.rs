//! `plakar version`.

use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::Data;
use serde_json::json;

/// The version of the bytes in a repository.
pub const FORMAT: u32 = 1;

/// Prints the version of the program.
pub fn run(context: &Context) -> Result<Code> {
    let version = env!("CARGO_PKG_VERSION");
    let mut data = Data::begin()?;
    match context.output.json {
        true => data.json(&json!({ "version": version, "format": FORMAT }))?,
        false => data.line(version)?,
    }
    data.end()?;
    Ok(Code::Done)
}
