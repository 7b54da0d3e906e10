//! plakar, the command.
fn main() {}
