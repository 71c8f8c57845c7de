//! The deterministic simulator of Ottla.

fn main() {}
