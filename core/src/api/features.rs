//! UpdateFeatures (57): the levels of the cluster's features.

use ottla_wire::api::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use ottla_wire::{ErrorCode, Message};

use super::{Call, Handled, Reply, respond};
use crate::controller::{FeatureUpdate, Refused, UpgradeType};
use crate::machine::Answer;

pub(super) fn update(call: Call<'_>) -> Handled {
    let Call { broker, now, ticket, request, reply, out, .. } = call;
    let version = reply.head.api_version;
    let wire = UpdateFeaturesRequest::decode(&mut request.reader(), version)?;
    let kind = |it: &FeatureUpdateKey<'_>| match (version, it.upgrade_type) {
        (0, _) if it.allow_downgrade => Some(UpgradeType::SafeDowngrade),
        (_, 1) => Some(UpgradeType::Upgrade),
        (_, 2) => Some(UpgradeType::SafeDowngrade),
        (_, 3) => Some(UpgradeType::UnsafeDowngrade),
        _ => None,
    };
    let update = |it: &FeatureUpdateKey<'_>| FeatureUpdate {
        name: it.feature.to_owned(),
        level: it.max_version_level,
        kind: kind(it),
    };
    let updates = wire.feature_updates.iter().map(update).collect();
    broker.update_features(now, ticket, (updates, wire.validate_only), out);
    Ok(None)
}

pub(super) fn encode(reply: Reply, (names, result): &(Vec<String>, Result<(), Refused>)) -> Answer {
    let error_code = result.as_ref().err().map_or(ErrorCode::NONE, |refused| refused.code);
    let why = |refused: &Refused| {
        format!("The update failed for all features since the following feature had an error: {}", refused.message)
    };
    let text = result.as_ref().err().map(why);
    let error_message = text.as_deref();
    let each = |name| UpdatableFeatureResult { feature: name, error_code, error_message };
    // Since version 2 one error speaks for all.
    let results =
        if reply.head.api_version < 2 { names.iter().map(|name| each(name.as_str())).collect() } else { Vec::new() };
    respond(reply.head, &UpdateFeaturesResponse { error_code, error_message, results, ..Default::default() })
}
