//! The order in which writers and collectors put facts, so that nothing visible is ever lost.
//!
//! Any number of writers and collectors share a store without a lock and without a clock. What they know of
//! each other is the set of facts in the log: it only grows, and its meaning is the union of what it holds, in
//! any order, any number of times. Both sides do the same two things: they put a fact that says what they
//! intend, *then* they read the whole log. Of any two that could hurt each other at least one therefore sees
//! the other, and whoever sees it steps back.
//!
//! ```text
//! writer      put packs ──► put Prepared ──► look ──► put Final ──► look
//! collector                 put Mark ──────► look ──► put Dead ───► delete packs
//! ```
//!
//! What holds, whoever crashes or sleeps between any two requests:
//!
//! 1. The packs that a visible session needs are there, announced and not dead.
//! 2. A session reported as published stays visible until a Removed names it.
//! 3. A pack is dead only by the collector run that marked it, after that run looked again.
//! 4. A marked pack is never relied on again; a Mark is never taken back.
//!
//! What the caller owes, because no type can check it: a fact handed out here is durable before the next call;
//! everything that a Prepared names is durable before it is put; a [`View`] is read whole, after the last
//! fact put by its reader, never from a cache. Whoever cannot put a fact drops the value that handed it out.
//!
//! Not here: bytes, encryption, rows, segments, which chunks lie in which pack, who may put what, when a silent
//! session is revoked, which packs are worth collecting. Those can cost work when they are wrong, never data.

mod collector;
mod fact;
mod folded;
mod view;
mod writer;

pub use collector::{Collector, Decision, Plan};
pub use fact::{Fact, Id, Root};
pub use folded::Folded;
pub use view::View;
pub use writer::{Announced, Cleared, Finished, Outcome, Pinning, Pins, Verdict, Writer};
