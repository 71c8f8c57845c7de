//! A record of `__consumer_offsets`, and what consumers tell each other in it: what is read can be written, and is
//! then read alike.
//!
//! The first byte says how long the key is; 255 is for a record without a value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_wire::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::group::GroupRecord;
use ottla_wire::{DecodeError, Writer};

fuzz_target!(|input: &[u8]| {
    consumer_protocol(input);
    let [key_len, rest @ ..] = input else { return };
    let (key, value) = match *key_len {
        255 => (rest, None),
        len if usize::from(len) <= rest.len() => (&rest[..usize::from(len)], Some(&rest[usize::from(len)..])),
        _ => return,
    };
    let Ok(read) = GroupRecord::decode(key, value) else { return };
    let version = value.map_or(0, |value| i16::from_be_bytes([value[0], value[1]]));
    let (mut key, mut value) = (Writer::new(), Writer::new());
    read.encode_key(&mut key);
    let has_value = read.encode_value(&mut value, version);
    assert_alike(GroupRecord::decode(key.as_bytes(), has_value.then_some(value.as_bytes())), &read);
});

fn consumer_protocol(input: &[u8]) {
    let mut w = Writer::new();
    if let Ok(read) = ConsumerProtocolSubscription::decode_versioned(input) {
        read.encode_versioned(&mut w, 3);
        assert_alike(ConsumerProtocolSubscription::decode_versioned(w.as_bytes()), &read);
    }
    if let Ok(read) = ConsumerProtocolAssignment::decode_versioned(input) {
        w.clear();
        read.encode_versioned(&mut w, 3);
        assert_alike(ConsumerProtocolAssignment::decode_versioned(w.as_bytes()), &read);
    }
}

/// What is written can be shorter, without what nobody knows, and then has tighter limits.
fn assert_alike<T: PartialEq + std::fmt::Debug>(again: Result<T, DecodeError>, read: &T) {
    assert!(again.as_ref() == Ok(read) || again == Err(DecodeError::TooMuchMemory), "{again:?} of {read:?}");
}
