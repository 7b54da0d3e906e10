//! What an error of opendal means for whoever asked.

use plakar_store::{Error, ErrorKind, Tries};
use std::error::Error as _;
use std::io;
use std::time::Duration;

/// Why something was not done.
pub enum Trouble {
    /// Tried again it may be.
    Passing(String),
    /// The key is not there.
    Absent,
    /// Something is there under the key already.
    Taken,
    /// The object ends before the range.
    Beyond,
    /// The object is longer than it may be.
    TooLarge,
    /// There is no such bucket.
    NoBucket,
    /// The service cannot do it this way.
    Unsupported,
    /// There is nothing to sign requests with.
    NoCredentials,
    /// It will not be done.
    Final(ErrorKind, String),
}

/// Words of services that say: no space.
const FULL: [&str; 5] = [
    "QuotaExceeded",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "storage_cap_exceeded",
    "ServiceQuotaExceeded",
];
/// Words that say: what came is not what was sent.
const SPOILT: [&str; 5] =
    ["BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "InvalidDigest", "Md5Mismatch"];

/// What to make of an error.
pub fn judge(error: &opendal::Error) -> Trouble {
    let (message, code) = (told(error), code_in(error.message()));
    let is = |words: &[&str]| code.is_some_and(|code| words.contains(&code));
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    if is(&FULL) || source == Some(io::ErrorKind::StorageFull) {
        return Trouble::Final(ErrorKind::Full, message);
    }
    if source == Some(io::ErrorKind::FileTooLarge) {
        return Trouble::TooLarge;
    }
    if is(&["NotImplemented"]) {
        return Trouble::Unsupported;
    }
    if error.is_temporary() || is(&SPOILT) || is(&["ConditionalRequestConflict"]) {
        return Trouble::Passing(message);
    }
    match error.kind() {
        opendal::ErrorKind::NotFound if is(&["NoSuchBucket", "ContainerNotFound"]) => Trouble::NoBucket,
        opendal::ErrorKind::NotFound => Trouble::Absent,
        opendal::ErrorKind::ConfigInvalid if is(&["NoSuchBucket"]) => Trouble::NoBucket,
        opendal::ErrorKind::PermissionDenied => Trouble::Final(ErrorKind::Denied, message),
        opendal::ErrorKind::ConditionNotMatch | opendal::ErrorKind::AlreadyExists => Trouble::Taken,
        opendal::ErrorKind::RangeNotSatisfied => Trouble::Beyond,
        opendal::ErrorKind::RateLimited | opendal::ErrorKind::Conflict => Trouble::Passing(message),
        opendal::ErrorKind::Unsupported => Trouble::Unsupported,
        opendal::ErrorKind::Unexpected if error.message() == "signing http request" => Trouble::NoCredentials,
        _ => Trouble::Final(ErrorKind::Io, message),
    }
}

impl Trouble {
    /// How long to wait before it is tried again; what is wrong, if it is not: it would not help, or was tried for long enough.
    pub fn again(self, tries: &mut Tries) -> Result<Duration, Trouble> {
        match self {
            Trouble::Passing(_) => tries.again().ok_or(self),
            trouble => Err(trouble),
        }
    }

    /// As an error about an object of a store.
    pub fn about(self, object: &str, location: &str) -> Error {
        match self {
            Trouble::Passing(why) => Error::new(ErrorKind::Io, format!("{object}: {location}: {why}")),
            Trouble::Absent => Error::new(ErrorKind::NotFound, object),
            Trouble::Taken => Error::new(ErrorKind::Exists, object),
            Trouble::Beyond => Error::new(ErrorKind::Short, object),
            Trouble::TooLarge => Error::new(ErrorKind::TooLarge, object),
            Trouble::NoBucket => {
                Error::new(ErrorKind::Io, format!("{object}: {location}: the bucket is missing"))
            }
            Trouble::Unsupported => Error::new(
                ErrorKind::Io,
                format!("{object}: {location}: the service cannot do what is needed"),
            ),
            Trouble::NoCredentials => {
                Error::new(ErrorKind::Denied, format!("{object}: {location}: no credentials"))
            }
            Trouble::Final(kind, why) if why.is_empty() => Error::new(kind, format!("{object}: {location}")),
            Trouble::Final(kind, why) => Error::new(kind, format!("{object}: {location}: {why}")),
        }
    }
}

/// The word by which a service says what is wrong: opendal shows what was answered as Rust would.
fn code_in(message: &str) -> Option<&str> {
    value_of(message, "code: \"")
}

fn value_of<'m>(message: &'m str, before: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(before)?;
    rest.split('"').next().filter(|value| !value.is_empty())
}

/// What was answered, for people: on one line, not long, and nothing but what the service said or how it was reached.
fn told(error: &opendal::Error) -> String {
    let message = error.message();
    let text = match (code_in(message), value_of(message, "message: \"")) {
        (Some(code), Some(said)) => format!("{code}: {said}"),
        (Some(code), None) => code.to_owned(),
        // A page for people has its gist in the title.
        (None, _) if message.starts_with('<') => {
            let title = message.split_once("<title>").and_then(|(_, rest)| rest.split('<').next());
            title.unwrap_or("the service answers with a page").to_owned()
        }
        (None, _) => message.to_owned(),
    };
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    text.trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_understood() {
        let s3 = |code: &str| {
            format!("S3Error {{ code: \"{code}\", message: \"Because.\", resource: \"\", request_id: \"\" }}")
        };
        let error = |kind, code: &str| opendal::Error::new(kind, s3(code));
        use opendal::ErrorKind as Kind;
        let kind = |error: &opendal::Error| judge(error).about("packs/x", "s3://b").kind();
        assert_eq!(kind(&error(Kind::PermissionDenied, "AccessDenied")), ErrorKind::Denied);
        assert_eq!(kind(&error(Kind::Unexpected, "QuotaExceeded")), ErrorKind::Full);
        assert_eq!(kind(&error(Kind::NotFound, "NoSuchKey")), ErrorKind::NotFound);
        assert_eq!(
            kind(&error(Kind::ConfigInvalid, "NoSuchBucket")),
            ErrorKind::Io,
            "nothing is said of the object"
        );
        assert!(matches!(judge(&error(Kind::Unexpected, "BadDigest")), Trouble::Passing(_)));
        assert!(matches!(judge(&error(Kind::Unexpected, "NotImplemented")), Trouble::Unsupported));
        let full = opendal::Error::new(Kind::Unexpected, "x")
            .set_source(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(kind(&full), ErrorKind::Full);
        let text =
            judge(&error(Kind::PermissionDenied, "AccessDenied")).about("packs/x", "s3://b").to_string();
        assert_eq!(text, "packs/x: s3://b: AccessDenied: Because: permission denied");
        let silence = plakar_store::Silence::new();
        let mut tries = Tries::new(plakar_store::Patience::default(), &silence);
        assert!(Trouble::Absent.again(&mut tries).is_err() && !tries.failed(), "what is final is final");
        assert!(Trouble::Passing("x".into()).again(&mut tries).is_ok() && tries.failed());
        let long = opendal::Error::new(Kind::Unexpected, "a\n\x1b[".repeat(1000));
        assert!(told(&long).len() <= 300 && !told(&long).contains(['\n', '\x1b']));
    }
}
