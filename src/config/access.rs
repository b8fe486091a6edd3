//! `[http]` of the daemon's settings: who may call it.

use std::collections::BTreeMap;
use std::fs;

use super::reader::Findings;
use super::table::{Table, nearest};
use crate::lifecycle::role::Role;

/// Who may call the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// What the members of a group may do. Where a group is named twice the higher role holds.
    pub roles: BTreeMap<u32, Role>,
}

impl HttpSettings {
    /// Reads the table, where there is one.
    pub fn read(findings: &mut Findings<'_>, root: &mut Table<'_, '_>) -> HttpSettings {
        let mut settings = HttpSettings::default();
        let Some(mut table) = root.table(findings, "http") else { return settings };
        // Read once: who is in a group the kernel says, with every connection.
        let known = fs::read_to_string(GROUPS).unwrap_or_default();
        // In rising order, so that the higher role stays.
        for role in Role::ALL {
            for group in table.names(findings, role.word()).unwrap_or_default() {
                match number_of(&group.value, &known) {
                    Some(number) => {
                        settings.roles.insert(number, role);
                    }
                    None => {
                        let names: Vec<&str> = groups(&known).map(|(name, _)| name).collect();
                        let hint = match nearest(&group.value, &names) {
                            Some(near) => format!("did you mean \"{near}\"?"),
                            None => "make it with `groupadd`; for one that only a directory service knows, write its \
                                     number"
                                .to_owned(),
                        };
                        findings.error(group.at, format!("no group `{}` is in {GROUPS}", group.value)).hint(hint);
                    }
                }
            }
        }
        table.finish(findings, &[]);
        settings
    }
}

/// Where groups have their numbers.
const GROUPS: &str = "/etc/group";

/// Every group with its number: name:password:number:members
fn groups(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

fn number_of(group: &str, known: &str) -> Option<u32> {
    // A group whose name is a number is found by its name first, as `chgrp` does.
    groups(known).find(|(name, _)| *name == group).map(|(_, number)| number).or_else(|| group.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_or_a_number() {
        let known = "root:x:0:\nbackup:x:34:ann,bob\nbroken\n7:x:9:\n";
        assert_eq!(number_of("backup", known), Some(34));
        assert_eq!(number_of("1234", known), Some(1234));
        assert_eq!(number_of("7", known), Some(9));
        assert_eq!(number_of("nobody-knows", known), None);
        assert_eq!(number_of("-1", known), None);
    }
}
