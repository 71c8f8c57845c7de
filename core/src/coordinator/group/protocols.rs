//! What the members of a group have in common. A request names as many protocols as it likes, so nothing here compares
//! each with each.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

/// The protocols that every member speaks, of what each can speak; `None` without members, who could speak any.
pub(super) fn spoken_by_all<'a>(
    members: impl IntoIterator<Item = &'a Vec<(Arc<str>, Bytes)>>,
) -> Option<BTreeSet<&'a str>> {
    let names = |protocols: &'a Vec<(Arc<str>, Bytes)>| protocols.iter().map(|(name, _)| &**name).collect();
    members.into_iter().map(names).reduce(|common: BTreeSet<&str>, names| &common & &names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_by_all_is_what_each_speaks() {
        let member = |names: &[&str]| names.iter().map(|&name| (name.into(), Bytes::new())).collect::<Vec<_>>();
        let members = [member(&["range", "sticky"]), member(&["roundrobin", "sticky", "range", "sticky"])];
        assert_eq!(spoken_by_all(&members), Some(["range", "sticky"].into()));
        assert_eq!(spoken_by_all([]), None);
        let strangers = [member(&["range"]), member(&["sticky"])];
        assert_eq!(spoken_by_all(&strangers), Some(BTreeSet::new()));
    }
}
