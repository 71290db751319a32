//! The `rsyncd` command.

fn main() {}
