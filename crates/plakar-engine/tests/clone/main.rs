//! Cloning, updating, adopting: what arrives, what happens when anything fails on the way, and what a source that
//! changes meanwhile does to it.

mod collecting;
mod common;
mod copies;
mod damaged;
mod failing;
mod like_and_adopt;
mod moving;
mod resuming;
mod updating;
