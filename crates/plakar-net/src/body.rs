//! The body of an answer, read piece by piece by whoever waits for it.

use crate::link::with_causes;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// What is still to be read of an answer.
pub struct Answered {
    body: Incoming,
    piece: Bytes,
    runtime: Handle,
    idle: Duration,
}

/// Why it cannot be read on.
pub type Cut = String;

impl Answered {
    /// The body of an answer, whose pieces come at most `idle` after each other.
    pub fn new(body: Incoming, runtime: Handle, idle: Duration) -> Answered {
        Answered { body, piece: Bytes::new(), runtime, idle }
    }

    /// The next bytes; none at the end.
    fn more(&mut self) -> Result<&mut Bytes, Cut> {
        while self.piece.is_empty() {
            let frame = self.runtime.block_on(async { timeout(self.idle, self.body.frame()).await });
            match frame.map_err(|_| "nothing came for long")? {
                None => break,
                Some(frame) => {
                    let frame = frame.map_err(|e| with_causes(&e))?;
                    self.piece = frame.into_data().unwrap_or_default();
                }
            }
        }
        Ok(&mut self.piece)
    }

    /// Appends exactly `len` bytes, which take memory as they come.
    pub fn take(&mut self, len: usize, into: &mut Vec<u8>) -> Result<(), Cut> {
        let end = into.len() + len;
        while into.len() < end {
            let piece = self.more()?;
            if piece.is_empty() {
                return Err("the answer ends early".into());
            }
            let some = piece.len().min(end - into.len());
            into.extend_from_slice(&piece[..some]);
            piece.advance(some);
        }
        Ok(())
    }

    /// The next line without its end, of at most `max` bytes.
    pub fn line(&mut self, max: usize, into: &mut Vec<u8>) -> Result<(), Cut> {
        into.clear();
        loop {
            let piece = self.more()?;
            if piece.is_empty() {
                return Err("the answer ends early".into());
            }
            let end = piece.iter().position(|b| *b == b'\n');
            let some = end.unwrap_or(piece.len());
            if into.len() + some > max {
                return Err("a line of the answer is too long".into());
            }
            into.extend_from_slice(&piece[..some]);
            piece.advance(some + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// What is left, as text, of at most `max` bytes.
    pub fn text(&mut self, max: usize) -> Result<String, Cut> {
        let mut bytes = Vec::new();
        while bytes.len() < max {
            let piece = self.more()?;
            if piece.is_empty() {
                break;
            }
            let some = piece.len().min(max - bytes.len());
            bytes.extend_from_slice(&piece[..some]);
            piece.advance(some);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// That nothing is left.
    pub fn end(&mut self) -> Result<(), Cut> {
        if self.more()?.is_empty() { Ok(()) } else { Err("the answer is longer than it should be".into()) }
    }
}
