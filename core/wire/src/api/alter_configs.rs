//! AlterConfigs (key 33): replaces the whole configuration of resources; superseded by IncrementalAlterConfigs.

use crate::ErrorCode;
use crate::message::message;

message! {
    AlterConfigsRequest<'a>: 0..=2, flexible 2..;

    /// The resources to configure.
    struct AlterConfigsRequest<'a> {
        resources: Vec<AlterConfigsResource<'a>>,
        validate_only: bool,
    }

    /// One resource; its type is as in DescribeConfigs.
    struct AlterConfigsResource<'a> {
        resource_type: i8,
        resource_name: &'a str,
        configs: Vec<AlterableConfig<'a>>,
    }

    /// One configuration.
    struct AlterableConfig<'a> {
        name: &'a str,
        value: Option<&'a str>,
    }
}

message! {
    AlterConfigsResponse<'a>: 0..=2, flexible 2..;

    /// What became of it.
    struct AlterConfigsResponse<'a> {
        throttle_time_ms: i32,
        responses: Vec<AlterConfigsResourceResponse<'a>>,
    }

    /// What became of one resource.
    struct AlterConfigsResourceResponse<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        resource_type: i8,
        resource_name: &'a str,
    }
}
