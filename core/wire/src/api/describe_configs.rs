//! DescribeConfigs (key 32): the configuration of topics, brokers, groups and other resources.
//!
//! Resource types: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group. Sources: 1 topic, 2 dynamic broker,
//! 3 dynamic default broker, 4 static broker, 5 default, 6 dynamic broker logger, 7 client metrics, 8 group.

use crate::ErrorCode;
use crate::message::message;

message! {
    DescribeConfigsRequest<'a>: 1..=4, flexible 4..;

    /// The resources to describe.
    struct DescribeConfigsRequest<'a> {
        resources: Vec<DescribeConfigsResource<'a>>,
        include_synonyms: bool,
        include_documentation: bool [3..],
    }

    /// One resource.
    struct DescribeConfigsResource<'a> {
        resource_type: i8,
        resource_name: &'a str,
        /// Null: all.
        configuration_keys: Option<Vec<&'a str>> = Some(Vec::new()),
    }
}

message! {
    DescribeConfigsResponse<'a>: 1..=4, flexible 4..;

    /// The configuration of the resources.
    struct DescribeConfigsResponse<'a> {
        throttle_time_ms: i32,
        results: Vec<DescribeConfigsResult<'a>>,
    }

    /// The configuration of one resource.
    struct DescribeConfigsResult<'a> {
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        resource_type: i8,
        resource_name: &'a str,
        configs: Vec<DescribeConfigsResourceResult<'a>>,
    }

    /// One configuration.
    struct DescribeConfigsResourceResult<'a> {
        name: &'a str,
        /// Null if it is sensitive or unset.
        value: Option<&'a str>,
        read_only: bool,
        config_source: i8 = -1,
        is_sensitive: bool,
        synonyms: Vec<DescribeConfigsSynonym<'a>>,
        /// 0 unknown, 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8 [3..],
        documentation: Option<&'a str> [3..],
    }

    /// Another place that the configuration could come from, in order of precedence.
    struct DescribeConfigsSynonym<'a> {
        name: &'a str,
        value: Option<&'a str>,
        source: i8,
    }
}
