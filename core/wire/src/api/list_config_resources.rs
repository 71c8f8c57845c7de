//! ListConfigResources (key 74): the resources that have a configuration (KIP-714, KIP-1142). Version 0 lists client
//! metrics only.

use crate::ErrorCode;
use crate::message::message;

message! {
    ListConfigResourcesRequest: 0..=1, flexible 0..;

    /// What to list.
    struct ListConfigResourcesRequest {
        /// Empty: all.
        resource_types: Vec<i8> [1..],
    }
}

message! {
    ListConfigResourcesResponse<'a>: 0..=1, flexible 0..;

    /// The resources.
    struct ListConfigResourcesResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        config_resources: Vec<ConfigResource<'a>>,
    }

    /// One resource; its type is as in DescribeConfigs.
    struct ConfigResource<'a> {
        resource_name: &'a str,
        /// 16, client metrics, in version 0.
        resource_type: i8 [1..] = 16,
    }
}
