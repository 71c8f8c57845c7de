//! IncrementalAlterConfigs (key 44): changes some configurations of resources (KIP-339).

use crate::ErrorCode;
use crate::message::message;

message! {
    IncrementalAlterConfigsRequest<'a>: 0..=1, flexible 1..;

    /// The resources to configure.
    struct IncrementalAlterConfigsRequest<'a> {
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
        /// 0 set, 1 delete, 2 append to a list, 3 subtract from a list.
        config_operation: i8,
        value: Option<&'a str>,
    }
}

message! {
    IncrementalAlterConfigsResponse<'a>: 0..=1, flexible 1..;

    /// What became of it.
    struct IncrementalAlterConfigsResponse<'a> {
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
