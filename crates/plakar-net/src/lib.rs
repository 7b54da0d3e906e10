//! A store on another machine: the protocol between them, its server and its client.
//!
//! The protocol is the contract of a store over HTTP; `docs/protocol.md` describes it for whoever writes another
//! implementation. It runs over whatever carries bytes both ways: a connection ([`Tcp`]), or the pipes of a program
//! ([`Program`]), such as an `ssh` that starts a server elsewhere.
//!
//! Nothing here knows what is stored: names and bytes, of which those that are named by their hash are proven on arrival.
//! This crate does not know what a key is.

mod arriving;
mod body;
mod client;
mod connect;
mod door;
mod link;
mod paced;
mod serve;
mod server;
mod service;
mod tls;
mod tokens;
mod usage;
mod visit;
mod wire;

pub use client::NetStore;
pub use connect::{Address, Connect, Connecting, Program, Stream, Tcp};
pub use door::{Door, Guest, Role};
pub use paced::Paced;
pub use serve::{raised, serve_pipes};
pub use server::{Repositories, Rules, Server};
pub use service::{Limits, Place, Service};
pub use tls::{Fingerprint, Identity, Tls};
pub use tokens::{Token, Tokens, is_plain};
pub use visit::{Log, Visit};
