//! The group coordinator: who belongs to which group, who reads what, and how far they have come.
//!
//! One [`Shard`] for each partition of `__consumer_offsets`. The pattern is that of every coordinator
//! (docs/architecture.md): a decision is made from the state, its records are appended as one batch and replayed, and
//! the answers that rest on them are released when they are committed.
//!
//! | the parent                    | calls                               | and then                                 |
//! |-------------------------------|-------------------------------------|------------------------------------------|
//! | becomes leader, reads the log | `replay` each record, `on_loaded`   |                                          |
//! | has a request, or a deadline  | `on_request`, `on_timeout`          | appends `records`, sends `answers`       |
//! | has appended them             | `on_appended`                       |                                          |
//! | could not append them         | `on_failed`                         | sends what it returns                    |
//! | sees the high watermark move  | `on_committed`                      | sends what it returns                    |
//! | is leader no more             | `unload`                            | sends what it returns                    |
//!
//! * `image`, `consumer_image`: the hard state, which the records say; `records`: their schemas; `group`: classic and
//!   consumer groups as they live; `offsets`: what they have committed; `groups`: all of them; `shard`: who waits for
//!   the log.
//! * [`assignor`]: who is to read what in a group whose assignments are made here; `topics`: of what there is.
//!
//! Absent on purpose: the log, frames, and any version of a schema outside `records`.

mod answer;
pub mod assignor;
mod consumer_image;
mod consumers;
mod display;
mod group;
mod groups;
mod image;
mod offsets;
mod records;
mod request;
mod settings;
mod shard;
#[cfg(test)]
mod tests;
mod timers;
mod topics;
mod turn;
mod view;

pub use answer::*;
pub use consumer_image::{ClassicMember, Subscription};
pub use image::OffsetKey;
pub use request::*;
pub use settings::GroupSettings;
pub use shard::{Decision, Record, ReplayError, Shard};
pub use topics::{Topic, Topics};
pub use view::{ShardView, StableGroup};
