//! ApiVersions (18): what this broker speaks.
//!
//! An unknown version is answered in version 0 with UNSUPPORTED_VERSION and our range of this API, from which a
//! client chooses again (KIP-511). Features are those finalized in the metadata (KIP-584).

use ottla_wire::api::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_wire::{ApiKey, ErrorCode, Message};

use super::{Call, Handled, QUORUM, SUPPORTED, respond};
use crate::controller::FEATURES;
use crate::ingress::Head;

pub(super) fn handle(call: &Call<'_>) -> Handled {
    let reply = call.reply;
    let head = reply.head;
    if !ApiKey::ApiVersions.versions().contains(&head.api_version) {
        let own = vec![range(ApiKey::ApiVersions)];
        let body =
            ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, api_keys: own, ..Default::default() };
        return Ok(Some(respond(Head { api_version: 0, ..head }, &body)));
    }
    let request = ApiVersionsRequest::decode(&mut call.request.reader(), head.api_version)?;
    let named = head.api_version < 3
        || is_software_name(request.client_software_name) && is_software_name(request.client_software_version);
    if !named {
        let body = ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() };
        return Ok(Some(respond(reply.head, &body)));
    }
    let image = call.broker.image();
    let supported = FEATURES.iter().map(|feature| SupportedFeatureKey {
        name: feature.name,
        min_version: feature.min,
        max_version: feature.max,
    });
    let finalized = image.features().map(|(name, level)| FinalizedFeatureKey {
        name,
        max_version_level: level,
        min_version_level: level,
    });
    let controller = call.broker.is_controller_listener(reply.listener);
    let more = QUORUM.iter().filter(|key| controller && !SUPPORTED.contains(key));
    let body = ApiVersionsResponse {
        api_keys: SUPPORTED.iter().chain(more).copied().map(range).collect(),
        // A level of 0 as the lower end trips clients before version 4 of this API (KAFKA-17492).
        supported_features: supported.filter(|feature| head.api_version >= 4 || feature.min_version > 0).collect(),
        finalized_features_epoch: image.end().0,
        finalized_features: finalized.collect(),
        ..Default::default()
    };
    Ok(Some(respond(reply.head, &body)))
}

fn range(key: ApiKey) -> ApiVersion {
    let versions = key.advertised_versions();
    ApiVersion { api_key: key.code(), min_version: *versions.start(), max_version: *versions.end() }
}

/// KIP-511: letters and digits, and between them `.` and `-`.
fn is_software_name(name: &str) -> bool {
    let inner = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    let ends = [name.bytes().next(), name.bytes().last()];
    inner && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}
