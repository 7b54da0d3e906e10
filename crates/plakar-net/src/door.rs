//! Who may do what: a role for each guest of a server, and the role that each request asks for.

use hyper::Method;
use plakar_store::{Name, Result};

/// What a guest may do; each role all that those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Only read.
    Read,
    /// Add what pushes and syncs store: neither remove, nor replace, nor say that something is removed.
    Append,
    /// Everything.
    Admin,
}

const ROLES: [(Role, &str); 3] = [(Role::Read, "read"), (Role::Append, "append"), (Role::Admin, "admin")];

impl Role {
    /// What it is called.
    pub fn name(self) -> &'static str {
        ROLES.iter().find(|(role, _)| *role == self).expect("all are there").1
    }

    /// The one that is called so.
    pub fn named(text: &str) -> Option<Role> {
        ROLES.iter().find(|(_, name)| *name == text).map(|(role, _)| *role)
    }
}

const ANYBODY: &str = "-";

/// Whoever was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// What to call it in the log.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only repository that there is for it.
    pub repository: Option<String>,
    /// It adds nothing to a repository that would be longer than so many bytes then.
    pub quota: Option<u64>,
}

impl Guest {
    /// Somebody who may do everything.
    pub fn owner(name: &str) -> Guest {
        Guest { name: name.into(), role: Role::Admin, repository: None, quota: None }
    }

    /// Whoever it is that is there without a token, where none is needed. No token is called so.
    pub fn anybody() -> Guest {
        Guest::owner(ANYBODY)
    }

    /// Whether nobody knows who it is.
    pub fn is_anybody(&self) -> bool {
        self.name == ANYBODY
    }
}

/// Who is let in.
pub trait Door: Send + Sync {
    /// Who it is that comes with this token, or with none.
    ///
    /// # Errors
    /// Of the kind `Denied`, for nobody.
    fn admit(&self, token: Option<&str>) -> Result<Guest>;
}

/// Where what pushes store lies. What is in `admin/` takes away; the others lie there from the beginning.
const APPENDED: [&str; 3] = ["log/", "index/", "packs/"];

/// The role that a request asks for.
pub fn asks_for(method: &Method, what: &str, object: Option<&Name>) -> Role {
    match (method.as_str(), what, object) {
        ("GET" | "HEAD", ..) | ("POST", "ranges" | "state", _) => Role::Read,
        ("POST", "barrier", _) => Role::Append,
        // Under the name of their hash nothing can be put in the way of anybody.
        ("PUT", "objects", Some(name))
            if APPENDED.iter().any(|folder| name.as_str().starts_with(folder))
                && crate::wire::hash_in(name).is_some() =>
        {
            Role::Append
        }
        _ => Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_names() {
        for (role, name) in ROLES {
            assert_eq!((role.name(), Role::named(name)), (name, Some(role)));
        }
        assert!(Role::Read < Role::Append && Role::Append < Role::Admin);
        assert_eq!(Role::named("root"), None);
    }

    #[test]
    fn each_request_asks_for_a_role() {
        let hash = blake3::hash(b"x");
        let asked = |method: &str, path: &str| {
            let (what, object) = path.split_once('/').unwrap_or((path, ""));
            asks_for(&method.parse().unwrap(), what, Name::new(object).as_ref())
        };
        for path in ["", "objects/config", "list"] {
            assert_eq!(asked("GET", path), Role::Read, "{path}");
        }
        assert_eq!((asked("HEAD", "objects/a"), asked("POST", "ranges")), (Role::Read, Role::Read));
        assert_eq!(asked("POST", "state"), Role::Read);
        assert_eq!(asked("POST", "barrier"), Role::Append);
        for path in [format!("log/t-{hash}"), format!("index/{hash}"), format!("packs/ab/{hash}")] {
            assert_eq!(asked("PUT", &format!("objects/{path}")), Role::Append, "{path}");
            assert_eq!(asked("DELETE", &format!("objects/{path}")), Role::Admin, "{path}");
        }
        for path in [format!("admin/t-{hash}"), format!("keys/{hash}"), format!("damaged/log/{hash}")] {
            assert_eq!(asked("PUT", &format!("objects/{path}")), Role::Admin, "{path}");
        }
        for path in ["config", "replica", "log/a", "packs/ab/cd", "keys/0123456789abcdef"] {
            assert_eq!(asked("PUT", &format!("objects/{path}")), Role::Admin, "{path}");
        }
        assert_eq!((asked("POST", ""), asked("PATCH", "list")), (Role::Admin, Role::Admin));
    }
}
