//! `.kafka_cleanshutdown`: the log directory was left in good order, by which incarnation of the broker.
//!
//! It is saved durably after all else is, and removed durably before anything is written again (KAFKA-10471):
//! found at start, it says that no log needs recovery. The broker epoch in it is what the next registration
//! names as the previous one, which proves that nothing was lost in between (KIP-966).

use super::Corrupt;
use crate::types::BrokerEpoch;
use serde_json::{Value, json};

/// The file. `broker_epoch` is `None` if the broker never registered.
#[must_use]
pub fn encode(broker_epoch: Option<BrokerEpoch>) -> Vec<u8> {
    let epoch = broker_epoch.map_or(NO_EPOCH, |epoch| epoch.0);
    format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}").into_bytes()
}

/// Reads a file.
///
/// # Errors
/// If it is not what is written here or by Kafka: the directory is then not known to be clean.
pub fn parse(bytes: &[u8]) -> Result<Option<BrokerEpoch>, Corrupt> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| Corrupt::new(error.to_string()))?;
    if value["version"] != json!(0) {
        return Err(Corrupt::new("its version is not 0"));
    }
    match value["brokerEpoch"].as_i64() {
        Some(NO_EPOCH) => Ok(None),
        Some(epoch) => Ok(Some(BrokerEpoch(epoch))),
        None => Err(Corrupt::new("it has no broker epoch")),
    }
}

const NO_EPOCH: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for epoch in [None, Some(BrokerEpoch(0)), Some(BrokerEpoch(i64::MAX))] {
            assert_eq!(parse(&encode(epoch)), Ok(epoch));
        }
        assert_eq!(encode(Some(BrokerEpoch(12))), br#"{"version":0,"brokerEpoch":12}"#);
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = encode(Some(BrokerEpoch(123)));
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        assert!(parse(br#"{"version":1,"brokerEpoch":12}"#).is_err());
    }
}
