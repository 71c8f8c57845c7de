//! ApiVersions (key 18): what the broker speaks.
//!
//! An unknown version is answered in version 0 with UNSUPPORTED_VERSION and the range of this API (KIP-511); the
//! response's header never has tagged fields. Features are of KIP-584.

use crate::ErrorCode;
use crate::message::message;

message! {
    ApiVersionsRequest<'a>: 0..=4, flexible 3..;

    /// Who asks.
    struct ApiVersionsRequest<'a> {
        client_software_name: &'a str [3..],
        client_software_version: &'a str [3..],
    }
}

message! {
    ApiVersionsResponse<'a>: 0..=4, flexible 3..;

    /// The APIs and features of the broker.
    struct ApiVersionsResponse<'a> {
        error_code: ErrorCode,
        api_keys: Vec<ApiVersion>,
        throttle_time_ms: i32 [1..],
    } tagged {
        0 supported_features: Vec<SupportedFeatureKey<'a>> [3..],
        /// The metadata offset that the finalized features are of, or -1.
        1 finalized_features_epoch: i64 [3..] = -1,
        2 finalized_features: Vec<FinalizedFeatureKey<'a>> [3..],
        3 zk_migration_ready: bool [3..],
    }

    /// The versions of one API.
    struct ApiVersion {
        api_key: i16,
        min_version: i16,
        max_version: i16,
    }

    /// The levels of a feature that the broker supports.
    struct SupportedFeatureKey<'a> {
        name: &'a str [3..],
        min_version: i16 [3..],
        max_version: i16 [3..],
    }

    /// The level of a feature that the cluster has.
    struct FinalizedFeatureKey<'a> {
        name: &'a str [3..],
        max_version_level: i16 [3..],
        min_version_level: i16 [3..],
    }
}
