//! `plakar schedule`: what a timer has to run, as units of systemd or lines of a crontab. Nothing is changed.

use crate::args::{Every, Schedule};
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::Data;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// How much `check` reads each day: all within three weeks.
const SAMPLE: &str = "5%";

/// Something that is to be run again and again.
struct Job {
    name: String,
    every: Every,
    /// Without the program and the repository.
    words: Vec<OsString>,
}

/// Prints what runs the pushes of the sources, a check each day, and a cleanup each week.
pub fn run(context: &Context, args: &Schedule) -> Result<Code> {
    let config = context.config()?;
    let mut sources: Vec<_> = config.sources.keys().cloned().collect();
    if !args.sources.is_empty() {
        sources.clear();
        for typed in &args.sources {
            let name = typed.strip_prefix('@').unwrap_or(typed);
            if !config.sources.contains_key(name) {
                return Err(Failure::failed(format!(
                    "@{name}: there is no such source in the configuration"
                )));
            }
            sources.push(name.to_owned());
        }
    }
    if sources.is_empty() {
        let what = "the configuration has no sources: there is nothing to run";
        return Err(Failure::failed(what).hint("'plakar help config' shows how one is written"));
    }
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let mut jobs: Vec<_> = sources
        .iter()
        .map(|name| Job {
            name: format!("push-{name}"),
            every: args.every,
            words: words(&["push", &format!("@{name}")]),
        })
        .collect();
    jobs.push(Job { name: "check".into(), every: Every::Daily, words: words(&["check", "-sample", SAMPLE]) });
    jobs.push(Job { name: "cleanup".into(), every: Every::Weekly, words: words(&["cleanup"]) });

    let repository = context.named()?;
    warn_of_questions(context, repository)?;
    let program = std::env::current_exe()
        .map_err(|e| Failure::failed(format!("cannot find out where this program is: {e}")))?;
    let mut data = Data::begin()?;
    for job in &jobs {
        let mut line = vec![program.clone().into_os_string()];
        line.extend(repository.iter().flat_map(|place| ["on".into(), place.into()]));
        line.extend(job.words.iter().cloned());
        let text = if args.crontab { crontab(job, &line)? } else { systemd(job, &line)? };
        data.bytes(text.as_bytes())?;
    }
    if !args.crontab {
        let timers: Vec<_> = jobs.iter().map(|job| format!("plakar-{}.timer", job.name)).collect();
        let enable =
            format!("# systemctl --user daemon-reload && systemctl --user enable --now {}", timers.join(" "));
        data.line(&enable)?;
    }
    data.end()?;
    Ok(Code::Done)
}

/// Where nobody sits, nobody is asked.
fn warn_of_questions(context: &Context, repository: Option<&OsStr>) -> Result<()> {
    let answers = match repository {
        Some(place) => context.secret(place)?.is_some(),
        None => false,
    };
    if !answers {
        context.output.warning(
            "a timer is asked for no passphrase: an encrypted repository needs 'keyfile' or 'passphrase-command' in the \
             configuration",
        );
    }
    Ok(())
}

/// A service and its timer, each below the name of its file.
fn systemd(job: &Job, line: &[OsString]) -> Result<String> {
    let words: Vec<_> = line.iter().map(|word| quoted_for_systemd(word)).collect::<Result<_>>()?;
    let (name, what) = (&job.name, plain(&job.words));
    let every = match job.every {
        Every::Hourly => "hourly",
        Every::Daily => "daily",
        Every::Weekly => "weekly",
    };
    let delay = if job.every == Every::Hourly { "10min" } else { "1h" };
    Ok(format!(
        "# ~/.config/systemd/user/plakar-{name}.service\n\
         [Unit]\nDescription=plakar {what}\nDocumentation=man:plakar(1)\n\n\
         [Service]\nType=oneshot\nNice=10\nIOSchedulingClass=idle\nExecStart={}\n\n\
         # ~/.config/systemd/user/plakar-{name}.timer\n\
         [Unit]\nDescription=plakar {what}\n\n\
         [Timer]\nOnCalendar={every}\nRandomizedDelaySec={delay}\nPersistent=true\n\n\
         [Install]\nWantedBy=timers.target\n\n",
        words.join(" ")
    ))
}

/// A line of a crontab. Its minute and hour are the job's own, so that not everything begins at once.
fn crontab(job: &Job, line: &[OsString]) -> Result<String> {
    let words: Vec<_> = line.iter().map(|word| quoted_for_shell(word)).collect::<Result<_>>()?;
    let hash = blake3::hash([job.name.as_bytes(), line[line.len() - 1].as_bytes()].concat().as_slice());
    let (minute, hour, day) = (hash.as_bytes()[0] % 60, hash.as_bytes()[1] % 6, hash.as_bytes()[2] % 7);
    let when = match job.every {
        Every::Hourly => format!("{minute} * * * *"),
        Every::Daily => format!("{minute} {hour} * * *"),
        Every::Weekly => format!("{minute} {hour} * * {day}"),
    };
    // To cron a percent sign is the end of the command.
    Ok(format!("{when} {}\n", words.join(" ").replace('%', "\\%")))
}

/// As in ExecStart=: systemd.service(5), "Command lines".
fn quoted_for_systemd(word: &OsStr) -> Result<String> {
    let mut quoted = String::from("\"");
    for c in text(word)?.chars() {
        match c {
            '"' | '\\' => write!(quoted, "\\{c}").expect("it is memory"),
            '%' | '$' => write!(quoted, "{c}{c}").expect("it is memory"),
            c => quoted.push(c),
        }
    }
    Ok(quoted + "\"")
}

fn quoted_for_shell(word: &OsStr) -> Result<String> {
    let word = text(word)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-@:%+=,".contains(c);
    Ok(if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    })
}

/// Words of ours, for people.
fn plain(words: &[OsString]) -> String {
    words.iter().map(|word| word.to_string_lossy().replace('%', "%%")).collect::<Vec<_>>().join(" ")
}

/// A word that can stand in a line of a text file.
fn text(word: &OsStr) -> Result<&str> {
    let line = word.to_str().filter(|word| !word.contains(['\n', '\r', '\0']));
    line.ok_or_else(|| Failure::failed(format!("{}: cannot stand in a line", word.display())))
}
