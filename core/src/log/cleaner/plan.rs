//! Which part of a log can be cleaned, how dirty it is, and which of its segments become one.
//!
//! Kafka's rules: a log is cleaned if more than `min.cleanable.dirty.ratio` of it is dirty, or if a dirty record is
//! older than `max.compaction.lag.ms`; the dirtiest log comes first. A segment can be cleaned once it is written no
//! more, lies wholly below what can still change, and has no record younger than `min.compaction.lag.ms`.

use crate::log::api::LogConfig;
use crate::log::time_index::ENTRY_LEN;
use crate::types::Offset;

/// What a log's configuration says of its compaction, under Kafka's topic keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionRules {
    /// `min.cleanable.dirty.ratio`
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`
    pub max_lag_ms: i64,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
}

/// A segment as the plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) base: Offset,
    /// The offset after its last.
    pub(crate) end: Offset,
    pub(crate) size: u32,
    /// The timestamp of its first batch that has one, in ms, as far as it is known.
    pub(crate) oldest: Option<i64>,
    /// Its greatest timestamp; `None` if that is not known.
    pub(crate) newest: Option<i64>,
}

/// How dirty a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dirt {
    /// Up to where it can be cleaned.
    pub end: Offset,
    /// Bytes that were cleaned before.
    pub clean_bytes: u64,
    /// Bytes that were not, and can be now.
    pub dirty_bytes: u64,
    /// For how long a record that can be cleaned has been older than `max.compaction.lag.ms`, in ms; 0 if none is.
    pub overdue_ms: u64,
}

impl CompactionRules {
    /// How many of the first `parts` can be cleaned. `bound`: what lies above it can still change. `now`: without a
    /// time that can be believed nothing counts as old enough.
    fn cleanable(&self, parts: &[Part], bound: Offset, now: Option<i64>) -> usize {
        let is_old = |part: &Part| match (now, part.newest) {
            _ if self.min_lag_ms <= 0 || part.size == 0 => true,
            (Some(now), Some(newest)) => now.saturating_sub(newest) >= self.min_lag_ms,
            (None, _) | (_, None) => false,
        };
        parts.iter().take_while(|part| part.end <= bound && is_old(part)).count()
    }

    /// How dirty a log is that is clean up to `from`.
    pub(crate) fn dirt(&self, parts: &[Part], from: Offset, bound: Offset, now: Option<i64>) -> Dirt {
        let parts = &parts[..self.cleanable(parts, bound, now)];
        let mut dirt = Dirt { end: parts.last().map_or(from, |last| last.end), ..Dirt::default() };
        for part in parts {
            let is_clean = part.end <= from;
            let bytes = if is_clean { &mut dirt.clean_bytes } else { &mut dirt.dirty_bytes };
            *bytes += u64::from(part.size);
            let oldest = part.oldest.or(part.newest).filter(|oldest| !is_clean && part.size > 0 && *oldest >= 0);
            if let Some((oldest, now)) = oldest.zip(now) {
                let overdue = now.saturating_sub(oldest).saturating_sub(self.max_lag_ms);
                dirt.overdue_ms = dirt.overdue_ms.max(u64::try_from(overdue).unwrap_or(0));
            }
        }
        dirt
    }

    /// Whether it is time to clean a log.
    #[must_use]
    pub fn is_due(&self, dirt: &Dirt) -> bool {
        dirt.dirty_bytes > 0 && (dirt.ratio() > self.min_dirty_ratio || dirt.overdue_ms > 0)
    }
}

impl Default for CompactionRules {
    /// Kafka's defaults.
    fn default() -> Self {
        Self { min_dirty_ratio: 0.5, min_lag_ms: 0, max_lag_ms: i64::MAX, delete_retention_ms: 86_400_000 }
    }
}

impl Dirt {
    /// The share of what can be cleaned that is dirty.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }
}

/// The parts that become one segment each, up to `max_bytes` and as far as an offset can be told from the first base.
pub(crate) fn groups(parts: &[Part], max_bytes: u64) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    let mut bytes = 0;
    for part in parts {
        let size = u64::from(part.size);
        match groups.last_mut() {
            Some(group) if bytes + size <= max_bytes && i32::try_from(part.end - group[0].base).is_ok() => {
                bytes += size;
                group.push(*part);
            }
            Some(_) | None => {
                bytes = size;
                groups.push(vec![*part]);
            }
        }
    }
    groups
}

/// How large a segment may become, also by what its indexes can hold.
pub(crate) fn most_bytes(config: &LogConfig) -> u64 {
    let entries = u64::from(config.index_size_max_bytes) / ENTRY_LEN as u64;
    let indexed = entries.saturating_mul(u64::from(config.index_interval_bytes).max(1));
    u64::from(config.segment_bytes).min(indexed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(base: i64, end: i64, size: u32, newest: i64) -> Part {
        Part { base: Offset(base), end: Offset(end), size, oldest: Some(newest - 5), newest: Some(newest) }
    }

    #[test]
    fn what_may_still_change_is_not_cleaned() {
        let parts = [part(0, 10, 100, 50), part(10, 20, 100, 60), part(20, 30, 100, 70)];
        let rules = CompactionRules::default();
        let end = |rules: &CompactionRules, bound, now| rules.dirt(&parts, Offset(0), Offset(bound), now).end;
        assert_eq!(end(&rules, 30, None), Offset(30));
        assert_eq!(end(&rules, 29, None), Offset(20));
        assert_eq!(end(&rules, 9, None), Offset(0));
        let young = CompactionRules { min_lag_ms: 20, ..rules };
        assert_eq!(end(&young, 30, Some(80)), Offset(20));
        assert_eq!(end(&young, 30, Some(79)), Offset(10));
        assert_eq!(end(&young, 30, None), Offset(0));
    }

    #[test]
    fn a_log_is_due_when_it_is_dirty_or_late() {
        let parts = [part(0, 10, 100, 50), part(10, 20, 100, 60)];
        let rules = CompactionRules { max_lag_ms: 1000, ..CompactionRules::default() };
        let dirt = |from, now| rules.dirt(&parts, Offset(from), Offset(20), Some(now));
        assert!((dirt(0, 60).ratio() - 1.0).abs() < f64::EPSILON && rules.is_due(&dirt(0, 60)));
        assert!((dirt(10, 60).ratio() - 0.5).abs() < f64::EPSILON && !rules.is_due(&dirt(10, 60)));
        assert_eq!(dirt(10, 1060).overdue_ms, 5);
        assert!(rules.is_due(&dirt(10, 1060)));
        assert!(!rules.is_due(&dirt(20, 9999)), "a clean log is never due");
    }

    #[test]
    fn small_segments_become_one_as_far_as_sizes_and_offsets_allow() {
        let far = i64::from(i32::MAX);
        let parts = [part(0, 10, 400, 0), part(10, 20, 600, 0), part(20, 30, 1, 0), part(30, far + 31, 1, 0)];
        let bases = |max| {
            let groups = groups(&parts, max);
            groups.iter().map(|group| group.iter().map(|part| part.base.0).collect()).collect::<Vec<Vec<i64>>>()
        };
        assert_eq!(bases(1000), [vec![0, 10], vec![20], vec![30]]);
        assert_eq!(bases(10), [vec![0], vec![10], vec![20], vec![30]]);
    }
}
