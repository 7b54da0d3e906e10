//! `plakar key`: the passphrases of a repository.

use crate::args::{Key, NewKey};
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::passphrase::{Passphrase, Source, cost};
use crate::repo::{self, Place, Purpose};
use serde_json::json;

/// Works on key slots. Each holds the repository's key, wrapped for one passphrase; no data is touched.
pub fn run(context: &Context, command: &Key) -> Result<Code> {
    let purpose = match command {
        Key::Ls => Purpose::Read,
        Key::Add(_) | Key::Rm { .. } | Key::Passphrase(_) => Purpose::Write,
    };
    let place = repo::unlock(context, purpose)?;
    let Some(passphrase) = &place.passphrase else {
        return Err(Failure::failed(format!("{}: not encrypted, so it has no keys", place.location)));
    };
    match command {
        Key::Add(new) => add(context, &place, new, new.label.as_deref().unwrap_or_default()).map(drop)?,
        Key::Ls => list(context, &place, passphrase)?,
        Key::Rm { ids } => remove(context, &place, ids, passphrase)?,
        Key::Passphrase(new) => change(context, &place, new, passphrase)?,
    }
    Ok(Code::Done)
}

fn add(context: &Context, place: &Place, new: &NewKey, label: &str) -> Result<String> {
    let chosen = Source::new_one(new.new_keyfile.as_deref()).choose("new passphrase")?;
    let id = place.unlocked.add_key(&*place.store, label, &chosen, cost(), now().secs)?;
    context.output.note(&format!("added key {id}"));
    tell(context, &json!({ "added": id }))?;
    Ok(id)
}

fn list(context: &Context, place: &Place, passphrase: &Passphrase) -> Result<()> {
    let mut data = Data::begin()?;
    for slot in place.unlocked.key_slots(passphrase)? {
        let damaged = slot.label.is_none();
        if damaged {
            context.output.damage(&format!("keys/{}: damaged", slot.id));
        }
        if context.output.json {
            data.json(&json!({
                "id": slot.id,
                "label": slot.label,
                "created": (!damaged).then(|| format::time(slot.created)),
                "current": slot.current,
            }))?;
            continue;
        }
        let mark = if slot.current { '*' } else { ' ' };
        let created = if damaged { "-".to_owned() } else { format::time(slot.created) };
        let label = slot.label.as_deref().unwrap_or("(damaged)");
        let line = format!("{mark} {} {created:>20} {}", slot.id, format::printable(label.as_bytes()));
        data.line(line.trim_end())?;
    }
    data.end()
}

fn remove(context: &Context, place: &Place, ids: &[String], passphrase: &Passphrase) -> Result<()> {
    // All or none, as far as it can be known before.
    let slots = place.unlocked.key_slots(passphrase)?;
    if let Some(unknown) = ids.iter().find(|id| !slots.iter().any(|slot| slot.id == **id)) {
        return Err(Failure::failed(format!("no key has the ID {unknown}")).hint("see 'plakar key ls'"));
    }
    for id in ids {
        place.unlocked.remove_key(&*place.store, id, passphrase)?;
        context.output.note(&format!("removed key {id}"));
        tell(context, &json!({ "removed": id }))?;
    }
    Ok(())
}

/// Adds the new passphrase, and only then removes the slots that the old one opens.
fn change(context: &Context, place: &Place, new: &NewKey, passphrase: &Passphrase) -> Result<()> {
    let old: Vec<_> = place.unlocked.key_slots(passphrase)?.into_iter().filter(|slot| slot.current).collect();
    let kept = old.iter().find_map(|slot| slot.label.clone());
    let label = new.label.clone().or(kept).unwrap_or_default();
    add(context, place, new, &label)?;
    for slot in old {
        place.unlocked.remove_key(&*place.store, &slot.id, passphrase)?;
        context.output.note(&format!("removed key {}", slot.id));
        tell(context, &json!({ "removed": slot.id }))?;
    }
    Ok(())
}

fn tell(context: &Context, value: &serde_json::Value) -> Result<()> {
    if !context.output.json {
        return Ok(());
    }
    let mut data = Data::begin()?;
    data.json(value)?;
    data.end()
}
