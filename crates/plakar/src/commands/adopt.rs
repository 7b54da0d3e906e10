//! `plakar adopt`: gives a copy that ordinary tools made a replica id of its own. Needs no passphrase.

use crate::context::{Context, now};
use crate::exit::{Code, Result};
use crate::output::Data;
use crate::repo;
use plakar_engine::clone::adopt;
use plakar_engine::repository::Locked;
use serde_json::json;

/// Adopts the repository.
pub fn run(context: &Context) -> Result<Code> {
    let output = &context.output;
    let (store, location) = repo::open_store(context, &repo::location(context)?)?;
    // One whose `replica` is damaged or lost has no id, and is mended.
    let before = Locked::open(store.clone()).ok().map(|locked| locked.replica().id.hex());
    let replica = adopt(&*store, now().secs)?;
    context.local.adopted(&location, replica, output)?;
    let id = replica.hex();
    output.note(&format!("{location}: has the replica ID {id} now"));
    if output.json {
        let mut data = Data::begin()?;
        data.json(&json!({ "location": location.text(), "replica": id, "before": before }))?;
        data.end()?;
    }
    Ok(Code::Done)
}
