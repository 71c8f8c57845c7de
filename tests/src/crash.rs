//! Kills a broker in the middle of a load, again and again, and checks that nothing it acknowledged was lost, doubled,
//! moved or changed.

#[cfg(feature = "load")]
pub mod failover;
pub mod ledger;
#[cfg(feature = "load")]
pub mod load;
