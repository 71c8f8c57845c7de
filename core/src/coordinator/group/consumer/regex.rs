//! Subscriptions by a regular expression.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_wire::ErrorCode;

use super::draft::Refused;
use crate::coordinator::topics::Topics;
use crate::pattern::Pattern;

/// Whether a member may be subscribed by the pattern.
pub(super) fn check(pattern: &str) -> Result<(), Refused> {
    Pattern::new(pattern).map(|_| ()).map_err(|why| {
        let start: String = pattern.chars().take(100).collect();
        Refused::new(ErrorCode::INVALID_REGULAR_EXPRESSION, format!("SubscribedTopicRegex {start:?} is invalid: {why}"))
    })
}

/// The topics whose whole names it matches. A pattern that somebody else wrote into the log and that is none here
/// stands for nothing.
pub(super) fn resolve(pattern: &str, topics: &Topics) -> BTreeSet<Arc<str>> {
    let Ok(pattern) = Pattern::new(pattern) else { return BTreeSet::new() };
    topics.names().filter(|name| pattern.matches(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::topics::Topic;

    fn matched(pattern: &str) -> Vec<Arc<str>> {
        let mut topics = Topics::default();
        for (number, name) in (1..).zip(["a", "ab", "b", "orders-1", "orders-2", "orders-2-old"]) {
            topics.set(&name.into(), Topic { id: ottla_wire::Uuid(number), partitions: 1 }, 1);
        }
        resolve(pattern, &topics).into_iter().collect()
    }

    #[test]
    fn whole_names_are_matched() {
        assert_eq!(matched("a|ab"), ["a".into(), "ab".into()]);
        assert_eq!(matched(r"orders-\d"), ["orders-1".into(), "orders-2".into()]);
        assert_eq!(matched("^orders.*$").len(), 3);
        assert_eq!(matched("x"), []);
    }

    #[test]
    fn what_is_no_pattern_or_too_much_of_one_is_refused() {
        let long = "a".repeat(4097);
        for pattern in ["(", "a)|(b", "a**{", r"(a)\1", "(?=a)", "(?x)a # b", "((a{100}){100}){100}", &long] {
            let refused = check(pattern).expect_err(pattern);
            assert_eq!(refused.code, ErrorCode::INVALID_REGULAR_EXPRESSION);
            assert!(refused.message.len() < 400, "{}", refused.message);
        }
        check("orders-.*|[a-c]+").unwrap();
    }
}
