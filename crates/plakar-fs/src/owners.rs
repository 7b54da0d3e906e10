//! What users and groups are called on this machine.
//!
//! `/etc/passwd` and `/etc/group` are read once, as they are. Users that only a directory service knows
//! (LDAP, `systemd-userdb`) have no name here: asking it takes the C library's plug-ins, or a program per
//! name. Their numbers are captured and restored all the same.

use std::collections::HashMap;

/// Names of users and groups, both ways; of several lines for one number or name the first counts.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    users: Names,
    groups: Names,
}

#[derive(Debug, Clone, Default)]
struct Names {
    by_id: HashMap<u32, Vec<u8>>,
    by_name: HashMap<Vec<u8>, u32>,
}

impl Owners {
    /// Reads this machine's files; one that cannot be read names nobody.
    pub fn read() -> Self {
        let read = |path| std::fs::read(path).unwrap_or_default();
        Self::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    /// Reads the contents of a `passwd` and a `group` file.
    pub fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Self { users: Names::parse(passwd), groups: Names::parse(group) }
    }

    /// The name of a user; empty if there is none.
    pub fn user(&self, uid: u32) -> &[u8] {
        self.users.by_id.get(&uid).map_or(&[], Vec::as_slice)
    }

    /// The name of a group; empty if there is none.
    pub fn group(&self, gid: u32) -> &[u8] {
        self.groups.by_id.get(&gid).map_or(&[], Vec::as_slice)
    }

    /// The number of the user called `name`.
    pub fn uid(&self, name: &[u8]) -> Option<u32> {
        self.users.by_name.get(name).copied()
    }

    /// The number of the group called `name`.
    pub fn gid(&self, name: &[u8]) -> Option<u32> {
        self.groups.by_name.get(name).copied()
    }
}

impl Names {
    /// Both files begin `name:password:number`.
    fn parse(text: &[u8]) -> Self {
        let mut names = Self::default();
        for line in text.split(|&b| b == b'\n') {
            let mut fields = line.split(|&b| b == b':');
            let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()) else { continue };
            // `+` and `-` begin lines that include or exclude a directory service's users.
            if name.is_empty() || matches!(name[0], b'#' | b'+' | b'-') {
                continue;
            }
            names.by_id.entry(id).or_insert_with(|| name.to_vec());
            names.by_name.entry(name.to_vec()).or_insert(id);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_counts_and_odd_lines_name_nobody() {
        let owners = Owners::parse(
            b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n\n\
              #old:x:5:\n+nis:x:6:\nhalf\n:x:7:\nbad:x:-1:\n",
            b"wheel:x:10:a,b\n\xff:x:11:",
        );
        assert_eq!(owners.user(0), b"root");
        assert_eq!(owners.uid(b"toor"), Some(0));
        for id in [5, 6, 7, u32::MAX] {
            assert_eq!(owners.user(id), b"");
        }
        assert_eq!(
            (owners.group(10), owners.gid(b"\xff"), owners.gid(b"none")),
            (&b"wheel"[..], Some(11), None)
        );
    }
}
