//! What arrives at a server: the bodies of requests, and objects of which only a part has come.

use crate::service::{Limits, aside};
use crate::usage::Coming;
use crate::wire;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use plakar_store::{Draft, Error, ErrorKind, Result, Store};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What is left of the memory for objects on their way, in KiB.
pub struct Room(Arc<Semaphore>);

impl Room {
    pub fn new(limits: &Limits) -> Arc<Room> {
        let kib = kib(limits.memory.max(wire::OBJECT_MAX)) as usize;
        Arc::new(Room(Arc::new(Semaphore::new(kib))))
    }

    pub async fn take(&self, len: u64) -> OwnedSemaphorePermit {
        self.0.clone().acquire_many_owned(kib(len)).await.expect("it is never closed")
    }
}

fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// The body of a request, as it comes. Whoever lets it stand still, or is too slow in all, is given up.
pub struct Arriving {
    body: Incoming,
    /// So many bytes may come yet.
    left: u64,
    idle: Duration,
    /// So long may be waited for them.
    patience: Duration,
}

impl Arriving {
    /// A body of at most `max` bytes.
    pub fn new(body: Incoming, max: u64, idle: Duration) -> Arriving {
        Arriving { body, left: max, idle, patience: idle + Duration::from_secs(max / wire::RATE_MIN) }
    }

    /// All of it.
    pub async fn all(&mut self) -> Result<Vec<u8>> {
        self.piece(usize::MAX).await
    }

    /// The next bytes: fewer than `enough` only at the end, and not many more.
    pub async fn piece(&mut self, enough: usize) -> Result<Vec<u8>> {
        let failed = |why: &str| Error::new(ErrorKind::Io, format!("the request broke off: {why}"));
        // They are copied, because a few bytes of a frame would keep all of the memory that it came in.
        let mut piece = Vec::new();
        while piece.len() < enough {
            let (began, longest) = (Instant::now(), self.idle.min(self.patience));
            let frame = timeout(longest, self.body.frame()).await;
            let frame = frame.map_err(|_| match longest < self.idle {
                true => failed("it took too long"),
                false => failed("nothing came for long"),
            })?;
            self.patience = self.patience.saturating_sub(began.elapsed());
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|e| failed(&e.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            let left = self.left.checked_sub(data.len() as u64);
            self.left = left.ok_or_else(|| Error::new(ErrorKind::TooLarge, "the request"))?;
            piece.extend_from_slice(&data);
        }
        Ok(piece)
    }
}

/// An object of which a part has come. One that is dropped leaves nothing.
pub struct Half(Option<Begun>);

struct Begun {
    /// The one that the draft is of: by the time that it is finished another may be served.
    store: Arc<dyn Store>,
    draft: Box<dyn Draft>,
    coming: Coming,
    hasher: blake3::Hasher,
}

impl Half {
    pub fn new(store: Arc<dyn Store>, draft: Box<dyn Draft>, coming: Coming) -> Half {
        Half(Some(Begun { store, draft, coming, hasher: blake3::Hasher::new() }))
    }

    fn begun(&mut self) -> Begun {
        self.0.take().expect("it is there until it is left or finished")
    }

    /// Adds the next bytes. Waits for the store, as do [`finish`](Self::finish) and dropping what it holds.
    pub fn add(mut self, bytes: &[u8]) -> Result<Half> {
        let mut begun = self.begun();
        begun.hasher.update(bytes);
        begun.draft.write(bytes)?;
        Ok(Half(Some(begun)))
    }

    /// Puts it, durably, if `keeps` says of its hash that it is what it should be.
    pub fn finish(mut self, keeps: &dyn Fn(blake3::Hash) -> Result<()>) -> Result<()> {
        let Begun { store, draft, coming, hasher } = self.begun();
        keeps(hasher.finalize())?;
        draft.finish()?;
        store.barrier()?;
        coming.stored();
        Ok(())
    }

    /// Leaves it, before whoever sent it is told.
    pub async fn leave(mut self) {
        let begun = self.begun();
        let _ = aside(move || {
            drop(begun);
            Ok(())
        })
        .await;
    }
}

impl Drop for Half {
    /// Whoever sent it has gone.
    fn drop(&mut self) {
        if let (Some(begun), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn_blocking(move || drop(begun));
        }
    }
}
