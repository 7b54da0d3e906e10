//! How a place is reached.

use crate::Options;
use plakar_store::{Bandwidth, Patience};
use std::fmt;

/// What is needed besides the name of a place. The default is what nobody said anything of.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// What was said of the service.
    pub options: Options,
    /// How fast it may be spoken with.
    pub bandwidth: Bandwidth,
    /// How long it is waited for.
    pub patience: Patience,
    /// What requests to S3 are signed with, if that is not looked for in the environment and the usual places.
    pub keys: Option<Keys>,
}

/// Who somebody is to S3. It is not shown.
#[derive(Clone)]
pub struct Keys {
    /// The access key ID.
    pub id: String,
    /// The secret access key.
    pub secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}
