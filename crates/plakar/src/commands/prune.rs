//! `plakar prune`: removes the snapshots that no rule keeps.

use super::ls::{snapshot_json, snapshot_line};
use crate::args::{GroupBy, Prune};
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::output::Data;
use crate::repo::{self, Place, Purpose};
use plakar_engine::id::SessionId;
use plakar_engine::index::segment::Author;
use plakar_engine::log::Snapshot;
use plakar_engine::repository::Repository;
use plakar_engine::retention::{self, Decision, Group, Name, Policy, Reason, Refused, decide};
use plakar_engine::write::remove;
use serde_json::{Value, json};

/// Removes what no rule keeps, or tells what that would be.
pub fn run(context: &Context, args: &Prune) -> Result<Code> {
    let policy = policy(args)?;
    let output = &context.output;
    let now_ms = now().secs.saturating_mul(1000);
    // Before a passphrase is asked for.
    decide(&[], &policy, now_ms).map_err(refused)?;
    let place = repo::unlock(context, if args.dry_run { Purpose::Read } else { Purpose::Write })?;
    let mut repository = place.open(context)?;
    let (gone, young, told) = {
        let snapshots = repository.state().snapshots();
        for tag in &policy.tags {
            if !snapshots.iter().any(|snapshot| snapshot.row.tags.contains(tag)) {
                output.warning(&format!(
                    "-keep-tag: no snapshot has the tag {}",
                    format::printable(tag.as_bytes())
                ));
            }
        }
        let groups = decide(&snapshots, &policy, now_ms).map_err(refused)?;
        let told = match (output.json, args.dry_run) {
            (true, _) => json_lines(&groups),
            (false, true) => lines(&groups, &policy),
            (false, false) => Vec::new(),
        };
        (names_of(&groups), young(&groups), told)
    };
    let all = repository.state().snapshots().len();
    if !args.dry_run {
        remove_sessions(context, &place, &mut repository, &gone)?;
    }
    let mut data = Data::begin()?;
    told.iter().try_for_each(|line| data.line(line))?;
    data.end()?;
    if args.dry_run {
        output.summary(&format!("{} of {all} snapshots would be removed", gone.len()));
    } else {
        tell(context, &gone, all);
    }
    if young > 0 {
        output.summary(&format!(
            "{young} stay only because they were received less than {} ago",
            policy.min_age
        ));
    }
    Ok(Code::Done)
}

fn policy(args: &Prune) -> Result<Policy> {
    let groups = &args.group_by;
    if groups.contains(&GroupBy::None) && groups.len() > 1 {
        return Err(Failure::usage("-group-by: 'none' goes with nothing else"));
    }
    if args.keep_within.is_some_and(|within| within.is_zero()) {
        return Err(Failure::usage("-keep-within: no time at all keeps nothing"));
    }
    let periods = [args.keep_hourly, args.keep_daily, args.keep_weekly, args.keep_monthly, args.keep_yearly];
    Ok(Policy {
        last: args.keep_last.unwrap_or(0),
        periods: periods.map(|number| number.unwrap_or(0)),
        within: args.keep_within,
        tags: args.keep_tags.clone(),
        group_by: retention::GroupBy {
            host: groups.contains(&GroupBy::Host),
            roots: groups.contains(&GroupBy::Roots),
            tags: groups.contains(&GroupBy::Tags),
        },
        min_age: args.min_age,
        trust_times: args.trust_times,
    })
}

fn refused(why: Refused) -> Failure {
    match why {
        Refused::NoRule => Failure::usage("prune: a policy without a rule would keep nothing")
            .hint("'plakar help prune' lists the rules"),
        Refused::KeepsNothing(groups) => {
            let names: Vec<_> = groups.iter().map(group_name).collect();
            Failure::failed(format!("the policy would keep nothing of {}", names.join("; nothing of ")))
                .hint("nothing was removed; -keep-last 1 keeps the newest of each group")
        }
    }
}

/// What a group has in common, for people.
fn group_name(name: &Name) -> String {
    let mut parts = Vec::new();
    if let Some(host) = &name.host {
        parts.push(format::printable(host.as_bytes()));
    }
    if let Some(roots) = &name.roots {
        let roots: Vec<_> = roots.iter().map(|root| format::printable(root)).collect();
        parts.push(roots.join(", "));
    }
    if let Some(tags) = &name.tags {
        let tags: Vec<_> = tags.iter().map(|tag| format::printable(tag.as_bytes())).collect();
        parts.push(if tags.is_empty() {
            "without tags".into()
        } else {
            format!("with tags {}", tags.join(", "))
        });
    }
    if parts.is_empty() { "all snapshots".into() } else { parts.join(" ") }
}

/// A snapshot on a line, with why it is kept; groups apart, if there are several.
fn lines(groups: &[Group<'_>], policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    for group in groups {
        if groups.len() > 1 {
            lines.push(format!("{}:", group_name(&group.name)));
        }
        lines.extend(group.decisions.iter().map(|one| {
            let why = match one.is_kept() {
                true => format!("kept: {}", reasons(one, policy)),
                false => "goes".into(),
            };
            let late = if one.believed { String::new() } else { not_believed(&one.snapshot) };
            format!("{}  {why}{late}", snapshot_line(&one.snapshot))
        }));
    }
    lines
}

fn reasons(decision: &Decision<'_>, policy: &Policy) -> String {
    let reasons = decision.reasons.iter().map(|reason| match reason {
        Reason::TooYoung => format!("received less than {} ago", policy.min_age),
        reason => match reason.detail() {
            Some(detail) => format!("{} {}", reason.rule(), format::printable(detail.as_bytes())),
            None => reason.rule().into(),
        },
    });
    reasons.collect::<Vec<_>>().join(", ")
}

fn not_believed(snapshot: &Snapshot<'_>) -> String {
    let received = format::time(snapshot.received_ms.div_euclid(1000));
    format!(" (received {received}: displaces none)")
}

fn json_lines(groups: &[Group<'_>]) -> Vec<String> {
    let all = groups.iter().flat_map(|group| group.decisions.iter().map(|one| (&group.name, one)));
    all.map(|(name, one)| {
        let reason = |reason: &Reason| json!({ "rule": reason.rule(), "detail": reason.detail() });
        let mut value = snapshot_json(&one.snapshot);
        value["keep"] = one.is_kept().into();
        value["reasons"] = one.reasons.iter().map(reason).collect();
        value["received"] = format::time(one.snapshot.received_ms.div_euclid(1000)).into();
        value["believed"] = one.believed.into();
        value["group"] = Value::String(group_name(name));
        value.to_string()
    })
    .collect()
}

/// How many would go, were they not too young.
fn young(groups: &[Group<'_>]) -> usize {
    let all = groups.iter().flat_map(|group| &group.decisions);
    all.filter(|one| one.reasons == [Reason::TooYoung]).count()
}

/// What is removed: the session and the UUID of each snapshot.
pub type Gone = Vec<(SessionId, String)>;

/// What goes.
pub fn names_of(groups: &[Group<'_>]) -> Gone {
    let gone = groups.iter().flat_map(|group| &group.decisions).filter(|one| !one.is_kept());
    gone.map(|one| (one.snapshot.session, one.snapshot.row.uuid_text())).collect()
}

/// Removes these, and tells what was done.
pub fn remove_all(context: &Context, place: &Place, repository: &mut Repository, gone: &Gone) -> Result<()> {
    let all = repository.state().snapshots().len();
    remove_sessions(context, place, repository, gone)?;
    let mut data = Data::begin()?;
    if context.output.json {
        gone.iter().try_for_each(|(_, uuid)| data.json(&json!({ "removed": uuid })))?;
    }
    data.end()?;
    tell(context, gone, all);
    Ok(())
}

fn remove_sessions(context: &Context, place: &Place, repository: &mut Repository, gone: &Gone) -> Result<()> {
    let author =
        Author { replica: repository.base().replica().id, writer: context.local.writer(&context.output) };
    let sessions: Vec<_> = gone.iter().map(|(session, _)| *session).collect();
    remove(repository, &*place.store, &author, &sessions, now().secs)?;
    Ok(())
}

fn tell(context: &Context, gone: &Gone, all: usize) {
    let output = &context.output;
    gone.iter().for_each(|(_, uuid)| output.note(&format!("removed snapshot {uuid}")));
    output.summary(&match gone.len() {
        0 => format!("none of {all} snapshots removed"),
        n => format!("{n} of {all} snapshots removed; 'plakar cleanup' gives back their space"),
    });
}
