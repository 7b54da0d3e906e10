//! The log: what writers say ([`fact`]), how it is stored ([`object`]) and read ([`reader`]), and what follows
//! from it ([`state`]).

pub mod fact;
pub mod object;
pub mod reader;
pub mod state;

pub use fact::{Fact, Row};
pub use reader::{Log, LogObject};
pub use state::{Snapshot, State};
