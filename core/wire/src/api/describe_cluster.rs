//! DescribeCluster (key 60): the brokers, or the controllers (KIP-700, KIP-919).

use crate::ErrorCode;
use crate::message::message;

message! {
    DescribeClusterRequest: 0..=2, flexible 0..;

    /// What to describe.
    struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool,
        /// 1: brokers; 2: controllers.
        endpoint_type: i8 [1..] = 1,
        /// KIP-1073.
        include_fenced_brokers: bool [2..],
    }
}

message! {
    DescribeClusterResponse<'a>: 0..=2, flexible 0..;

    /// The cluster.
    struct DescribeClusterResponse<'a> {
        throttle_time_ms: i32,
        error_code: ErrorCode,
        error_message: Option<&'a str>,
        endpoint_type: i8 [1..] = 1,
        cluster_id: &'a str,
        controller_id: i32 = -1,
        brokers: Vec<DescribeClusterBroker<'a>>,
        cluster_authorized_operations: i32 = i32::MIN,
    }

    /// One node.
    struct DescribeClusterBroker<'a> {
        broker_id: i32,
        host: &'a str,
        port: i32,
        rack: Option<&'a str>,
        is_fenced: bool [2..],
    }
}
