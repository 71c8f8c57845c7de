//! UpdateFeatures (key 57): the cluster's features go to other levels, all or none (KIP-584, KIP-1022).

use crate::ErrorCode;
use crate::message::message;

message! {
    UpdateFeaturesRequest<'a>: 0..=2, flexible 0..;

    /// Which features, and to which levels.
    struct UpdateFeaturesRequest<'a> {
        timeout_ms: i32 = 60_000,
        feature_updates: Vec<FeatureUpdateKey<'a>>,
        /// It is only said whether it would be done.
        validate_only: bool [1..],
    }

    /// One feature.
    struct FeatureUpdateKey<'a> {
        feature: &'a str,
        /// 0: the feature is used no more.
        max_version_level: i16,
        allow_downgrade: bool [..=0],
        /// 1 upgrade, 2 downgrade that loses nothing, 3 downgrade that may lose metadata.
        upgrade_type: i8 [1..] = 1,
    }
}

message! {
    UpdateFeaturesResponse<'a>: 0..=2, flexible 0..;

    /// Whether it is done.
    struct UpdateFeaturesResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
        results: Vec<UpdatableFeatureResult<'a>> [..=1],
    }

    /// Whether it is done for one.
    struct UpdatableFeatureResult<'a> {
        feature: &'a str,
        error_code: ErrorCode,
        error_message: Option<&'a str> = Some(""),
    }
}
