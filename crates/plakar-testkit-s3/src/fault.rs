//! What can go wrong with a server, planned.

use std::sync::Mutex;
use std::time::Duration;

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and this word of S3.
    Answer(u16, &'static str),
    /// The connection is cut when half of what is sent has come.
    CutUpload,
    /// It is done, and the connection is cut before anything is answered.
    LoseAnswer,
    /// The connection is cut in the middle of the answer's body.
    CutAnswer,
    /// The answer is as long as it should be, and a byte of it is another.
    Spoil,
    /// The answer has one byte more, and says so.
    Lengthen,
    /// The answer is whole, but does not say so: it says that there is more.
    Overstate,
    /// What came is spoilt before it is looked at.
    SpoilUpload,
    /// All of an object is answered, whatever range of it was asked for.
    IgnoreRange,
    /// It is answered later.
    Wait(Duration),
    /// It is never answered.
    Stall,
    /// The answer's body stops in the middle, and the connection stays open.
    StallAnswer,
}

#[derive(Debug)]
struct Planned {
    method: &'static str,
    fault: Fault,
    /// So many requests are left alone first, and between two that are not.
    every: usize,
    count: usize,
    left: usize,
}

/// What is planned.
#[derive(Debug, Default)]
pub struct Plan(Mutex<Vec<Planned>>);

impl Plan {
    /// The next `times` requests of a method (`""` for all), or of those each `every`th.
    pub fn add(&self, method: &'static str, fault: Fault, every: usize, times: usize) {
        let planned = Planned { method, fault, every: every.max(1), count: 0, left: times };
        self.0.lock().expect("no panic while held").push(planned);
    }

    pub fn clear(&self) {
        self.0.lock().expect("no panic while held").clear();
    }

    /// What happens to a request that has come.
    pub fn next(&self, method: &str) -> Option<Fault> {
        let mut all = self.0.lock().expect("no panic while held");
        let meant = |planned: &&mut Planned| {
            planned.left > 0 && (planned.method.is_empty() || planned.method == method)
        };
        all.iter_mut().filter(meant).find_map(|planned| {
            planned.count += 1;
            planned.count.is_multiple_of(planned.every).then(|| {
                planned.left -= 1;
                planned.fault.clone()
            })
        })
    }
}
