//! The `ottla-sim` command.

fn main() {}
