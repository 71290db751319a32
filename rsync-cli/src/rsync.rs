//! The `rsync` command.

fn main() {}
