//! `plakar keep`: removes all snapshots but the newest.

use super::prune::{names_of, remove_all};
use crate::args::Keep;
use crate::context::{Context, now};
use crate::exit::{Code, Failure, Result};
use crate::format;
use crate::repo::{self, Purpose};
use plakar_engine::retention::{Policy, decide};

/// Keeps the newest of the whole repository, whatever host or paths they are of, by the times they claim but not later than
/// they were received. What is asked for is done: nothing is too young to go.
pub fn run(context: &Context, args: &Keep) -> Result<Code> {
    let Some(typed) = &args.number else {
        return Err(Failure::usage("need a number of snapshots to keep"));
    };
    let last = match typed.parse() {
        Ok(0) => {
            return Err(
                Failure::usage("keep: 0 snapshots would be nothing").hint("'plakar rm' removes snapshots")
            );
        }
        Ok(last) => last,
        Err(_) => {
            let shown = format::printable(typed.as_bytes());
            return Err(Failure::usage(format!("keep: {shown}: not a number of snapshots")));
        }
    };
    let place = repo::unlock(context, Purpose::Write)?;
    let mut repository = place.open(context)?;
    let gone = {
        let policy = Policy { last, trust_times: true, ..Policy::default() };
        let groups = decide(&repository.state().snapshots(), &policy, now().secs.saturating_mul(1000));
        names_of(&groups.map_err(|e| Failure::failed(e.to_string()))?)
    };
    remove_all(context, &place, &mut repository, &gone)?;
    Ok(Code::Done)
}
