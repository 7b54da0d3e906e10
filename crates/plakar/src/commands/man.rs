//! `plakar man`.

use crate::args::{self, Man};
use crate::exit::{Code, Failure, Result};
use clap::Command;
use std::fs;
use std::path::Path;

/// Writes the manual pages into a folder, a page for each command.
///
/// # Errors
/// When one cannot be written.
pub fn run(args: &Man) -> Result<Code> {
    fs::create_dir_all(&args.folder)
        .map_err(|e| Failure::failed(format!("{}: {e}", args.folder.display())))?;
    write(&args::command(), "plakar", &args.folder)?;
    Ok(Code::Done)
}

fn write(command: &Command, name: &str, folder: &Path) -> Result<()> {
    let mut page = Vec::new();
    let shown = command.clone().display_name(name.to_owned());
    let rendered = clap_mangen::Man::new(shown).title(name.to_uppercase()).render(&mut page);
    // Flags are shown as they are typed.
    let page = String::from_utf8_lossy(&page).replace(r"\-\-", r"\-");
    let file = folder.join(format!("{name}.1"));
    let written = rendered.and_then(|()| fs::write(&file, page));
    written.map_err(|e| Failure::failed(format!("{}: {e}", file.display())))?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        write(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(())
}
