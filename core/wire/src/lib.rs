//! Kafka's wire format: frames, primitives, the `message!` macro and one module an API.
//!
//! This crate knows nothing of Ottla: its `Uuid`, `ErrorCode` and `ApiKey` are everyone's.
