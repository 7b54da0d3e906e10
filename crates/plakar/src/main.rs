//! The command line of plakar.
//!
//! What is typed goes from [`argv`] through [`args`] to [`context`], which settles what it means; each of
//! [`commands`] asks the engine for one thing and says what came of it through [`output`]; [`exit`] turns every
//! error into a sentence and an exit code.

mod args;
mod argv;
mod commands;
mod complete;
mod config;
mod content;
mod context;
mod exit;
mod format;
mod help;
#[cfg(test)]
mod hostile;
mod kept;
mod known;
mod local;
mod location;
mod moment;
mod newest;
mod object;
mod output;
mod own;
mod packed;
mod passphrase;
mod peer;
mod pins;
mod refs;
mod renamed;
mod repo;
mod room;
mod samples;
mod served;
mod several;
mod sftp;
mod sources;
mod ssh;
mod streamed;
mod tags;
mod tarfile;
mod tokenfile;
mod units;
mod url;
mod verified;
mod wanted;

use args::{Cli, Command};
use clap::FromArgMatches;
use context::Context;
use exit::{Code, Failure, Result};
use output::{Data, Output};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let began = Instant::now();
    context::survive_file_size_limit();
    ExitCode::from(run(std::env::args_os().collect(), began) as u8)
}

fn run(words: Vec<OsString>, began: Instant) -> Code {
    // Before anything is understood, mistakes are told as JSON to whoever seems to want it.
    let json = words.iter().skip(1).take_while(|word| *word != "--").any(|w| w == "-json" || w == "--json");
    let early = Output::new(json, false, true);
    let (cli, typed) = match parse(words) {
        Ok(Parsed::Cli(cli, typed)) => (*cli, typed),
        Ok(Parsed::Help(text)) => return end(&early, print(&text).map(|()| Code::Done)),
        Err(failure) => return end(&early, Err(failure)),
    };
    let Cli { globals, command } = cli;
    let (time, output) = (globals.time, Output::new(globals.json, globals.verbose, globals.quiet));
    let Some(command) = command else {
        let failure = Failure::usage("missing command").hint("'plakar help' lists the commands");
        return end(&output, Err(failure));
    };
    // Where 1 is an answer, it must not be a failure.
    let is_question = matches!(command, Command::Find(_) | Command::Diff(_));
    let fail = |failure: Failure| if is_question { failure.of_question() } else { failure };
    let context = match Context::new(globals, output, &typed, kept::reads_past(&command)) {
        Ok(context) => context,
        Err(failure) => return end(&early, Err(fail(failure))),
    };
    let result = dispatch(&context, &command).map_err(fail);
    let code = end(&context.output, result);
    kept::settle(&context, code);
    context.tell_requests();
    if time {
        let took = began.elapsed().as_secs_f64();
        context.output.aside("time", took.into(), &format!("time: {took:.6}s"));
    }
    code
}

enum Parsed {
    Cli(Box<Cli>, Vec<OsString>),
    Help(String),
}

fn parse(words: Vec<OsString>) -> Result<Parsed> {
    let tree = args::command();
    let normalised = argv::normalise(&tree, words).map_err(|argv::NoRepositoryAfterOn| {
        Failure::usage("missing plakar repository").hint("'plakar on REPOSITORY COMMAND ...'")
    })?;
    if asks_for_topic(&normalised.words) {
        return Ok(Parsed::Help(format!("{}\n", help::SNAPSHOTS)));
    }
    let parsed = tree.try_get_matches_from(normalised.words).and_then(|m| Cli::from_arg_matches(&m));
    match parsed {
        Ok(cli) => Ok(Parsed::Cli(Box::new(cli), normalised.typed)),
        Err(e) => exit::from_clap(&e).map(Parsed::Help),
    }
}

/// Whether it is `help snapshots`: not a command, but what most of them are given.
fn asks_for_topic(words: &[OsString]) -> bool {
    let mut words = words.iter().skip(1).filter(|word| !word.as_encoded_bytes().starts_with(b"-"));
    words.next().is_some_and(|word| word == "help")
        && words.next().is_some_and(|word| word == "snapshots")
        && words.next().is_none()
}

fn dispatch(context: &Context, command: &Command) -> Result<Code> {
    match command {
        Command::Create(args) => commands::create::run(context, args),
        Command::Push(args) => commands::push::run(context, args),
        Command::Ls(args) => commands::ls::run(context, args),
        Command::Pull(args) => commands::pull::run(context, args),
        Command::Tarball(args) => commands::tarball::run(context, args),
        Command::Cat(args) => commands::cat::run(context, args),
        Command::Gzcat(args) => commands::gzcat::run(context, args),
        Command::Checksum(args) => commands::checksum::run(context, args),
        Command::Find(args) => commands::find::run(context, args),
        Command::Diff(args) => commands::diff::run(context, args),
        Command::Info(args) => commands::info::run(context, args),
        Command::Check(args) => commands::check::run(context, args),
        Command::Rm(args) => commands::rm::run(context, args),
        Command::Keep(args) => commands::keep::run(context, args),
        Command::Prune(args) => commands::prune::run(context, args),
        Command::Undelete(args) => commands::undelete::run(context, args),
        Command::Adopt => commands::adopt::run(context),
        Command::Key { command } => commands::key::run(context, command),
        Command::Cleanup(args) => commands::cleanup::run(context, args),
        Command::Clone(args) => commands::clone::run(context, args),
        Command::Sync(args) => commands::sync::run(context, args),
        Command::Heal(args) => commands::heal::run(context, args),
        Command::Repair(args) => commands::repair::run(context, args),
        Command::Status(args) => commands::status::run(context, args),
        Command::Config { command } => commands::config::run(context, command),
        Command::Server(args) => commands::server::run(context, args),
        Command::Stdio => commands::stdio::run(context),
        Command::Exec(args) => commands::exec::run(context, args),
        Command::Schedule(args) => commands::schedule::run(context, args),
        Command::Completion(args) => commands::completion::run(context, args),
        Command::Man(args) => commands::man::run(args),
        Command::Version => commands::version::run(context),
    }
}

/// Tells about a failure, and says how it all ended.
fn end(output: &Output, result: Result<Code>) -> Code {
    match result {
        Ok(code) if output.saw_damage() => code.max(Code::Damage),
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            failure.code
        }
    }
}

fn print(text: &str) -> Result<()> {
    let mut data = Data::begin()?;
    data.bytes(text.as_bytes())?;
    data.end()
}
