//! Retention: which snapshots a policy keeps, and by which of its rules. Pure: it reads no clock and removes nothing.
//!
//! Snapshots are divided into groups, by host and roots unless told otherwise, and every rule looks at one group at a time:
//!
//! | rule | keeps |
//! |---|---|
//! | last N | the N newest |
//! | hourly, daily, weekly, monthly, yearly N | the newest of each of the N latest hours, days, weeks, months, years that have any |
//! | within D | what is at most D older than the newest |
//! | tag T | what bears T |
//!
//! What no rule keeps goes. Hours, days and so on are those of UTC, in which snapshots are listed, so that the same policy
//! keeps the same wherever it is carried out; weeks are those of ISO 8601 and begin on Monday.
//!
//! A client may say what it likes of the time, so not all that it says is believed:
//!
//! 1. A snapshot *counts at* the time that it claims, but never later than the store received it.
//! 2. It is *believed* when the two are within [`BELIEVED_MS`] of each other. What is not believed displaces nothing: it is
//!    looked at alone among those that are believed, and kept if a rule keeps it there. What came from another repository
//!    long after it was made is of this kind, and so is what a client with a wrong clock pushes.
//! 3. Nothing goes before it has been in the store for the least age of the policy.
//! 4. "Within" counts from the newest of the group, not from now: a machine that is off for a year keeps what it has.
//!
//! So whether a snapshot is kept depends on newer ones that are believed, and fewer of those never cost one. A clone and a
//! sync carry claimed times over and receive later. Where no clock is ahead, what is believed there was believed here, and
//! counts at the same time: so a policy keeps there all that it keeps here. It may keep more, until what is pushed there
//! takes over; with [`Policy::trust_times`], for those who know where everything came from, it keeps the very same.
//!
//! Not here: a client that pushes honest times and worthless content. Only the least age helps against that, and undelete.

use crate::log::Snapshot;
use crate::tree::Time;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Claimed and received times that are no further apart are believed: 48 hours.
pub const BELIEVED_MS: i64 = 48 * 3600 * 1000;

/// What is to be kept. A number of 0 is no rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// So many of the newest.
    pub last: u64,
    /// The newest of so many hours, days and so on; see [`Period`] for which number is whose.
    pub periods: [u64; 5],
    /// What is at most so much older than the newest.
    pub within: Option<Age>,
    /// What bears one of these.
    pub tags: Vec<String>,
    /// What makes a group.
    pub group_by: GroupBy,
    /// Nothing goes earlier after it was received.
    pub min_age: Age,
    /// Takes the claimed time of each snapshot for true, if it is not later than its receipt.
    pub trust_times: bool,
}

/// What the snapshots of one group have in common; nothing = all are one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupBy {
    /// The host they were pushed from.
    pub host: bool,
    /// The roots that were asked for, in whatever order.
    pub roots: bool,
    /// Their tags, in whatever order.
    pub tags: bool,
}

impl GroupBy {
    /// How it is done unless told otherwise.
    pub const HOST_AND_ROOTS: GroupBy = GroupBy { host: true, roots: true, tags: false };
}

/// Pieces of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// All of them, in the order of [`Policy::periods`].
    pub const ALL: [Period; 5] = [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Year];

    /// The one that a moment lies in, as text that differs for all of them.
    fn of(self, at: DateTime) -> String {
        let date = at.date();
        match self {
            Period::Hour => format!("{date}T{:02}", at.hour()),
            Period::Day => date.to_string(),
            Period::Week => {
                let week = date.iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Period::Month => format!("{:04}-{:02}", date.year(), date.month()),
            Period::Year => format!("{:04}", date.year()),
        }
    }
}

/// Why a snapshot is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is among the newest: so many are newer, and believed.
    Last {
        /// Its number, the newest is 1.
        number: u64,
    },
    /// It is the newest of a piece of the calendar.
    Newest {
        /// What kind of piece.
        period: Period,
        /// Which, as `2026-10-01T14`, `2026-10-01`, `2026-W40`, `2026-10` or `2026`.
        of: String,
    },
    /// It is not much older than the newest.
    Within,
    /// It bears this tag.
    Tag(String),
    /// No rule keeps it, but it was received too short a time ago.
    TooYoung,
}

impl Reason {
    /// The name of the rule.
    pub fn rule(&self) -> &'static str {
        match self {
            Reason::Last { .. } => "last",
            Reason::Newest { period: Period::Hour, .. } => "hourly",
            Reason::Newest { period: Period::Day, .. } => "daily",
            Reason::Newest { period: Period::Week, .. } => "weekly",
            Reason::Newest { period: Period::Month, .. } => "monthly",
            Reason::Newest { period: Period::Year, .. } => "yearly",
            Reason::Within => "within",
            Reason::Tag(_) => "tag",
            Reason::TooYoung => "min-age",
        }
    }

    /// What the rule says of this snapshot, if there is more than one thing it could say.
    pub fn detail(&self) -> Option<String> {
        match self {
            Reason::Last { number } => Some(number.to_string()),
            Reason::Newest { of, .. } => Some(of.clone()),
            Reason::Tag(tag) => Some(tag.clone()),
            Reason::Within | Reason::TooYoung => None,
        }
    }
}

/// What becomes of one snapshot.
#[derive(Debug, Clone)]
pub struct Decision<'a> {
    /// The snapshot.
    pub snapshot: Snapshot<'a>,
    /// Why it is kept; without a reason it goes.
    pub reasons: Vec<Reason>,
    /// Whether its time is believed.
    pub believed: bool,
}

impl Decision<'_> {
    /// Whether it stays.
    pub fn is_kept(&self) -> bool {
        !self.reasons.is_empty()
    }

    /// Whether a rule keeps it, however young it is.
    fn is_kept_by_rule(&self) -> bool {
        self.reasons.iter().any(|reason| *reason != Reason::TooYoung)
    }
}

/// What becomes of the snapshots of one group.
#[derive(Debug, Clone)]
pub struct Group<'a> {
    /// What they have in common.
    pub name: Name,
    /// Each of them, the oldest first by the time it counts at.
    pub decisions: Vec<Decision<'a>>,
}

/// What the snapshots of one group have in common; `None` and nothing for what does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The host.
    pub host: Option<String>,
    /// The roots, sorted.
    pub roots: Option<Vec<Vec<u8>>>,
    /// The tags, sorted.
    pub tags: Option<Vec<String>>,
}

/// Why a policy is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has no rule.
    #[error("a policy without a rule would keep nothing")]
    NoRule,
    /// No rule keeps anything of these groups.
    #[error("the policy would keep nothing of a group of snapshots")]
    KeepsNothing(Vec<Name>),
}

/// Decides what becomes of `snapshots` at `now_ms`, in milliseconds since 1970. The clock decides nothing but what is
/// younger than the least age.
///
/// # Errors
/// When nothing would be kept, be it of one group only.
pub fn decide<'a>(
    snapshots: &[Snapshot<'a>],
    policy: &Policy,
    now_ms: i64,
) -> Result<Vec<Group<'a>>, Refused> {
    let has_rule = policy.last > 0
        || policy.periods.iter().any(|n| *n > 0)
        || policy.within.is_some()
        || !policy.tags.is_empty();
    if !has_rule {
        return Err(Refused::NoRule);
    }
    let mut groups = BTreeMap::<Name, Vec<Dated<'a>>>::new();
    for snapshot in snapshots {
        groups.entry(policy.group_by.name(snapshot)).or_default().push(Dated::of(snapshot, policy));
    }
    let too_young = policy.min_age.before(moment(now_ms));
    let is_too_young = |ms: i64| !policy.min_age.is_zero() && moment(ms) > too_young;
    let decide_group = |(name, mut all): (Name, Vec<Dated<'a>>)| {
        all.sort_by_key(Dated::key);
        let believed = Believed::of(&all);
        let decision = |dated: &Dated<'a>| {
            let mut reasons = believed.reasons(dated, policy);
            if reasons.is_empty() && is_too_young(dated.snapshot.received_ms) {
                reasons.push(Reason::TooYoung);
            }
            Decision { snapshot: dated.snapshot, reasons, believed: dated.believed }
        };
        Group { name, decisions: all.iter().map(decision).collect() }
    };
    let groups: Vec<_> = groups.into_iter().map(decide_group).collect();
    let nothing = |group: &&Group<'_>| !group.decisions.iter().any(Decision::is_kept_by_rule);
    let losers: Vec<_> = groups.iter().filter(nothing).map(|group| group.name.clone()).collect();
    if losers.is_empty() { Ok(groups) } else { Err(Refused::KeepsNothing(losers)) }
}

impl GroupBy {
    fn name(self, snapshot: &Snapshot<'_>) -> Name {
        let row = snapshot.row;
        let mut roots: Vec<_> = row.roots.iter().map(|root| root.0.clone()).collect();
        roots.sort();
        let mut tags = row.tags.clone();
        tags.sort();
        Name {
            host: self.host.then(|| row.host.clone()),
            roots: self.roots.then_some(roots),
            tags: self.tags.then_some(tags),
        }
    }
}

/// Where a snapshot stands among the others: the time it counts at; of those that a store received at once, what it claims.
type Key = (Timestamp, Time, [u8; 16]);

/// A snapshot and the time it counts at.
struct Dated<'a> {
    snapshot: Snapshot<'a>,
    at: Timestamp,
    believed: bool,
}

impl<'a> Dated<'a> {
    fn of(snapshot: &Snapshot<'a>, policy: &Policy) -> Dated<'a> {
        let claimed = snapshot.row.created;
        let claimed = Timestamp::new(claimed.secs, claimed.nanos.min(999_999_999) as i32)
            .unwrap_or(if claimed.secs < 0 { Timestamp::MIN } else { Timestamp::MAX });
        let received = moment(snapshot.received_ms);
        let apart = claimed.as_millisecond().abs_diff(received.as_millisecond());
        let believed = policy.trust_times || apart <= BELIEVED_MS.unsigned_abs();
        Dated { snapshot: *snapshot, at: claimed.min(received), believed }
    }

    /// In the order of this: the same wherever the snapshots lie.
    fn key(&self) -> Key {
        (self.at, self.snapshot.row.created, self.snapshot.row.uuid)
    }
}

/// The snapshots of a group that are believed.
struct Believed {
    /// The newest first.
    all: Vec<(Key, DateTime)>,
    /// In how many different hours, days and so on the first so many of them lie.
    pieces: [Vec<u64>; 5],
}

impl Believed {
    /// Those of `all`, which are sorted.
    fn of(all: &[Dated<'_>]) -> Believed {
        let all: Vec<_> = all.iter().rev().filter(|d| d.believed).map(|d| (d.key(), civil(d.at))).collect();
        let pieces = Period::ALL.map(|period| {
            let (mut counts, mut n, mut last) = (vec![0], 0, None);
            for (_, at) in &all {
                let piece = Some(period.of(*at));
                if piece != last {
                    n += 1;
                    last = piece;
                }
                counts.push(n);
            }
            counts
        });
        Believed { all, pieces }
    }

    /// Which rules keep a snapshot, be it among these or not: only newer ones of these matter.
    fn reasons(&self, dated: &Dated<'_>, policy: &Policy) -> Vec<Reason> {
        let key = dated.key();
        let newer = self.all.partition_point(|(other, _)| *other > key);
        let at = civil(dated.at);
        let mut reasons = Vec::new();
        if (newer as u64) < policy.last {
            reasons.push(Reason::Last { number: newer as u64 + 1 });
        }
        for (number, period) in Period::ALL.into_iter().enumerate() {
            let of = period.of(at);
            let displaced = newer > 0 && period.of(self.all[newer - 1].1) == of;
            if !displaced && self.pieces[number][newer] < policy.periods[number] {
                reasons.push(Reason::Newest { period, of });
            }
        }
        if let Some(within) = &policy.within {
            let newest = self.all.first().map_or(dated.at, |((newest, ..), _)| dated.at.max(*newest));
            if dated.at >= within.before(newest) {
                reasons.push(Reason::Within);
            }
        }
        let tags = &dated.snapshot.row.tags;
        reasons.extend(policy.tags.iter().filter(|tag| tags.contains(tag)).cloned().map(Reason::Tag));
        reasons
    }
}

fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

fn civil(at: Timestamp) -> DateTime {
    Offset::UTC.to_datetime(at)
}

/// A length of time by the calendar, as `30d` or `1y6m12h`: years, months, weeks, days, hours, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// How many of each.
    units: [u32; 5],
}

const UNITS: [char; 5] = ['y', 'm', 'w', 'd', 'h'];
/// More of any unit reach back beyond every calendar: for ever.
const UNIT_MAX: u32 = 9_999_999;

impl Age {
    /// Days.
    pub const fn days(days: u32) -> Age {
        Age { units: [0, 0, 0, days, 0] }
    }

    /// Whether it is no time at all.
    pub fn is_zero(&self) -> bool {
        self.units == [0; 5]
    }

    /// The moment that is so much earlier; the earliest there is when there is none.
    fn before(&self, at: Timestamp) -> Timestamp {
        let [years, months, weeks, days, hours] = self.units;
        let span = Span::new()
            .try_years(years)
            .and_then(|span| span.try_months(months))
            .and_then(|span| span.try_weeks(weeks))
            .and_then(|span| span.try_days(days))
            .and_then(|span| span.try_hours(hours));
        let earlier = span.and_then(|span| at.to_zoned(TimeZone::UTC).checked_sub(span));
        earlier.map_or(Timestamp::MIN, |earlier| earlier.timestamp())
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Age, String> {
        let wrong = || "not a length of time: write it as 30d or 1y6m12h (years, months, weeks, days, hours)";
        let mut age = Age::default();
        if text == "0" {
            return Ok(age);
        }
        let (mut rest, mut next) = (text, 0);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0).ok_or_else(wrong)?;
            let number: u32 = rest[..digits].parse().map_err(|_| "too long a time")?;
            let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
            let at = UNITS[next..].iter().position(|u| *u == unit).ok_or_else(wrong)? + next;
            if number > UNIT_MAX {
                return Err("too long a time".into());
            }
            age.units[at] = number;
            next = at + 1;
            rest = &rest[digits + unit.len_utf8()..];
        }
        if text.is_empty() { Err(wrong().into()) } else { Ok(age) }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let mut units = self.units.iter().zip(UNITS).filter(|(n, _)| **n > 0);
        units.try_for_each(|(n, unit)| write!(f, "{n}{unit}"))
    }
}
