//! The commands, a file for each.

pub mod adopt;
pub mod cat;
pub mod check;
pub mod cleanup;
pub mod clone;
pub mod completion;
pub mod config;
pub mod create;
pub mod heal;
pub mod info;
pub mod keep;
pub mod key;
pub mod ls;
pub mod man;
pub mod prune;
pub mod pull;
pub mod push;
pub mod repair;
pub mod rm;
pub mod schedule;
pub mod server;
pub mod status;
pub mod stdio;
pub mod sync;
pub mod undelete;
pub mod version;
