//! What a faulty store is told to do, and when.

use std::time::Duration;

use super::Request;
use crate::{ErrorKind, Name};

/// One way to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request is refused with this error, and nothing is done.
    Error(ErrorKind),
    /// The request is done, but this error is reported: the answer was lost.
    ErrorAfter(ErrorKind),
    /// Only the first bytes, this many of them. A range that would be shorter than asked is
    /// [`ErrorKind::Short`], but a whole object comes back truncated as if it were whole; a put leaves a
    /// torn object and says it is well; a listing stops after this many objects as if there were no more.
    /// Other requests are not changed.
    Truncate(usize),
    /// This bit, modulo the length, is wrong in what is read or in what is stored. Other requests are not
    /// changed.
    Flip(u64),
    /// A put, a deletion or a barrier is acknowledged and not done. What is asked for when reading seems not
    /// to be there, and a listing shows nothing.
    Lose,
    /// The power fails before the request is done. See [`Faulty::crash`](super::Faulty::crash).
    Crash,
    /// The request is done, then the power fails before the answer.
    CrashAfter,
    /// The request is done after this time.
    Delay(Duration),
    /// A put, a deletion or a barrier is done twice: the first answer was lost, and somebody asked again. Other
    /// requests are not changed.
    Twice,
}

/// When a [`Fault`] happens. By default at every request; each method narrows that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(super) fault: Fault,
    request: Option<Request>,
    prefix: String,
    first: u64,
    times: u64,
    one_in: u64,
    seen: u64,
}

impl Rule {
    /// `fault` at every request.
    pub fn new(fault: Fault) -> Rule {
        Rule { fault, request: None, prefix: String::new(), first: 1, times: u64::MAX, one_in: 1, seen: 0 }
    }

    /// Only at requests of this kind.
    pub fn on(mut self, request: Request) -> Rule {
        self.request = Some(request);
        self
    }

    /// Only for names that begin so, and for listings of a prefix that does; never at a barrier then.
    pub fn prefix(mut self, prefix: &str) -> Rule {
        self.prefix = prefix.into();
        self
    }

    /// Only at the `n`th request, from 1, of those that kind and prefix admit.
    pub fn nth(self, n: u64) -> Rule {
        self.from(n).times(1)
    }

    /// Only from the `n`th request on, from 1, of those that kind and prefix admit.
    pub fn from(mut self, n: u64) -> Rule {
        self.first = n;
        self
    }

    /// Only so often.
    pub fn times(mut self, times: u64) -> Rule {
        self.times = times;
        self
    }

    /// Only by chance, once in `n` requests on average; which ones, the store's seed decides.
    pub fn one_in(mut self, n: u64) -> Rule {
        self.one_in = n.max(1);
        self
    }

    /// Whether the rule fires at this request, which it has then seen. `name` is a listing's prefix, and
    /// `None` at a barrier.
    pub(super) fn fires(&mut self, request: Request, name: Option<&str>, random: &mut Random) -> bool {
        let admitted = self.request.is_none_or(|only| only == request)
            && (self.prefix.is_empty() || name.is_some_and(|name| name.starts_with(&self.prefix)));
        if !admitted {
            return false;
        }
        self.seen += 1;
        let fires = self.seen >= self.first && self.times > 0 && random.below(self.one_in) == 0;
        if fires {
            self.times -= 1;
        }
        fires
    }
}

/// Small reproducible random numbers (splitmix64): a test prints its seed, and the seed tells all.
#[derive(Debug)]
pub(super) struct Random(pub u64);

impl Random {
    /// A number below `n`, which is not zero.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What the store did before a crash undid it: the states an object had since the last barrier, oldest first,
/// without the present one. `None` is: not there.
pub(super) type Past = std::collections::BTreeMap<Name, Vec<Option<Vec<u8>>>>;
