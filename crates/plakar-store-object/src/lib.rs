//! A store in a bucket: of S3, or of whatever else opendal reaches.
//!
//! 1. An object is an object there, its key the prefix, a slash, and its name. It is sent in one request, so it is there
//!    whole or not at all, and no pieces of uploads are ever left behind. What S3 received is compared with an MD5 before it
//!    counts.
//! 2. What a service has acknowledged is durable there: [`barrier`](plakar_store::Store::barrier) does nothing.
//! 3. Nothing is replaced. Where the service can be asked to refuse (S3, Azure, Google), it is; where it cannot, it is
//!    looked first. The format does not depend on it: two clients never put different bytes under one name.
//! 4. Listings are whole: S3, Azure Blob Storage, Google Cloud Storage and B2 promise that a listing shows every object
//!    whose upload was acknowledged before; a WebDAV server lists a folder. A service that only speaks S3 and lists what it
//!    knows when it comes to it is no place for a repository.
//! 5. What fails in passing is tried again for a while; requests that move nothing end. See [`Patience`](plakar_store::Patience).
//!
//! There is a runtime in each store, on which requests for many ranges run at once. Callers wait on their own threads.
//!
//! Not here: making buckets; encryption, storage classes and versions of the service, which are settings of a bucket.

mod body;
mod errors;
mod options;
mod place;
mod service;
mod store;
mod transport;
mod turns;
mod way;

pub use options::{KEYS, Options};
pub use place::{Place, Service};
pub use store::ObjectStore;
pub use way::{Keys, Way};
