//! A client that changes topics: makes and deletes them, deletes records, alters settings.

use serde::Deserialize;

use crate::scenario::Span;
use crate::time::MILLISECOND;

/// `admin = { every = "1s", delete_records = true }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// The mean time between two requests.
    pub every: Span,
    /// The topic whose records are deleted and whose settings change.
    pub topic: String,
    /// Whether topics of its own are made and deleted.
    pub topics: bool,
    /// Whether records are deleted.
    pub delete_records: bool,
    /// Whether settings change.
    pub alter_configs: bool,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            every: Span(500 * MILLISECOND),
            topic: "t".into(),
            topics: true,
            delete_records: false,
            alter_configs: true,
        }
    }
}
