//! What a broker speaks, and what of it we do.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ottla_wire::ApiKey;
use ottla_wire::api::api_versions::ApiVersionsResponse;

/// The versions of each API that a broker has, as it said in the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<ApiKey, RangeInclusive<i16>>);

impl Versions {
    /// Reads them off the answer to ApiVersions. Keys that we do not know are left out.
    #[must_use]
    pub fn of(response: &ApiVersionsResponse<'_>) -> Self {
        let known = response
            .api_keys
            .iter()
            .filter_map(|api| ApiKey::from_i16(api.api_key).map(|key| (key, api.min_version..=api.max_version)));
        Self(known.collect())
    }

    /// The highest version of an API that both sides have, `cap` at most.
    #[must_use]
    pub fn common(&self, key: ApiKey, cap: i16) -> Option<i16> {
        let theirs = self.0.get(&key)?;
        let ours = ours(key)?;
        let highest = (*theirs.end()).min(*ours.end()).min(cap);
        (highest >= *theirs.start() && highest >= *ours.start()).then_some(highest)
    }
}

/// The versions that we would send: stable ones of Apache Kafka that the wire format has.
pub(super) fn ours(key: ApiKey) -> Option<RangeInclusive<i16>> {
    let (written, stable) = (key.implemented_versions()?, key.versions());
    Some((*written.start()).max(*stable.start())..=(*written.end()).min(*stable.end()))
}

#[cfg(test)]
mod tests {
    use ottla_wire::api::api_versions::ApiVersion;

    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen_within_the_cap() {
        let offered = |key: ApiKey, min_version, max_version| {
            let api = ApiVersion { api_key: key.code(), min_version, max_version };
            Versions::of(&ApiVersionsResponse { api_keys: vec![api], ..ApiVersionsResponse::default() })
        };
        assert_eq!(offered(ApiKey::Produce, 0, 99).common(ApiKey::Produce, i16::MAX), Some(13));
        assert_eq!(offered(ApiKey::Produce, 0, 99).common(ApiKey::Produce, 12), Some(12));
        assert_eq!(offered(ApiKey::Produce, 0, 9).common(ApiKey::Produce, i16::MAX), Some(9));
        assert_eq!(offered(ApiKey::Produce, 0, 2).common(ApiKey::Produce, i16::MAX), None, "older than we speak");
        assert_eq!(offered(ApiKey::Produce, 14, 15).common(ApiKey::Produce, i16::MAX), None, "newer than we speak");
        assert_eq!(offered(ApiKey::Produce, 3, 13).common(ApiKey::Fetch, i16::MAX), None, "not offered");
    }
}
