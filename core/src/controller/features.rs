//! The levels of the cluster's features (KIP-584, KIP-778): changed by an operator's word, all of a request or none.

use ottla_wire::ErrorCode;

use super::Refused;
use super::brokers::{FEATURES, METADATA_VERSION};
use super::image::MetadataImage;
use super::records::Change;

/// Which way a level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    /// Up.
    Upgrade,
    /// Down, if nothing is lost by that.
    SafeDowngrade,
    /// Down, whatever is lost.
    UnsafeDowngrade,
}

/// A feature that is to have another level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// Its name.
    pub name: String,
    /// Its new level; 0: it is used no more.
    pub level: i16,
    /// Which way; `None`: a number that says nothing.
    pub kind: Option<UpgradeType>,
}

/// Decides the changes of levels.
///
/// # Errors
/// INVALID_UPDATE_VERSION: one of them cannot have that level.
pub fn update_features(image: &MetadataImage, updates: &[FeatureUpdate]) -> Result<Vec<Change>, Refused> {
    let mut changes = Vec::new();
    for update in updates {
        let FeatureUpdate { name, level, .. } = update;
        let current = image.features().find(|(known, _)| known == name).map_or(0, |(_, level)| level);
        if let Err(why) = check(update, current) {
            let text = format!("Invalid update version {level} for feature {name}. {why}");
            return Err(Refused::new(ErrorCode::INVALID_UPDATE_VERSION, text));
        }
        if *level != current {
            changes.push(Change::FeatureLevel { name: name.clone(), level: *level });
        }
    }
    Ok(changes)
}

fn check(update: &FeatureUpdate, current: i16) -> Result<(), String> {
    let FeatureUpdate { name, level, kind } = update;
    let kind = kind.ok_or("The upgrade type is none of upgrade, safe and unsafe downgrade.")?;
    let feature = FEATURES.iter().find(|feature| feature.name == name).ok_or("Ottla does not have this feature.")?;
    let fits = (feature.min..=feature.max).contains(level) || *level == 0 && feature.min == 0;
    if !fits {
        return Err(format!("It is supported from {} to {}.", feature.min, feature.max));
    }
    if *level > current && kind != UpgradeType::Upgrade {
        return Err("Can't downgrade to a newer version.".to_owned());
    }
    if *level < current && kind == UpgradeType::Upgrade {
        return Err("Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                    unsafe downgrade."
            .to_owned());
    }
    if *level < current && name == METADATA_VERSION {
        return Err(format!("Its records are written as of {current}, and no older version would read them."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Offset;

    fn asked(image: &MetadataImage, name: &str, level: i16, kind: UpgradeType) -> Result<Vec<Change>, String> {
        let update = FeatureUpdate { name: name.to_owned(), level, kind: Some(kind) };
        update_features(image, &[update]).map_err(|refused| refused.message)
    }

    #[test]
    fn levels_go_up_and_down_as_far_as_that_loses_nothing() {
        let mut image = MetadataImage::default();
        super::super::bootstrap().iter().for_each(|change| image.replay(Offset(0), change));
        let level = |level| vec![Change::FeatureLevel { name: "group.version".to_owned(), level }];
        assert_eq!(asked(&image, "group.version", 0, UpgradeType::SafeDowngrade), Ok(level(0)));
        assert_eq!(asked(&image, "group.version", 1, UpgradeType::Upgrade), Ok(Vec::new()), "it is there");
        let refused = |name, level, kind, why: &str| {
            let text = asked(&image, name, level, kind).unwrap_err();
            assert!(text.contains(why), "{text}");
        };
        refused("group.version", 0, UpgradeType::Upgrade, "without setting the upgrade type");
        refused("group.version", 2, UpgradeType::Upgrade, "supported from 0 to 1");
        refused("metadata.version", 29, UpgradeType::UnsafeDowngrade, "no older version would read them");
        refused("share.version", 1, UpgradeType::Upgrade, "does not have this feature");
        level(0).iter().for_each(|change| image.replay(Offset(1), change));
        assert_eq!(asked(&image, "group.version", 1, UpgradeType::Upgrade), Ok(level(1)));
        let both = [("group.version", 1), ("metadata.version", 99)];
        let update = |(name, level): (&str, i16)| FeatureUpdate {
            name: name.to_owned(),
            level,
            kind: Some(UpgradeType::Upgrade),
        };
        assert!(update_features(&image, &both.map(update)).is_err(), "all or none");
    }
}
