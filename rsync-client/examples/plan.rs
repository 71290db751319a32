//! Shows what a transfer would do, and changes nothing.
//!
//! ```text
//! cargo run -p rsync-client --example plan -- source/ host:directory/
//! ```
#![allow(clippy::print_stdout, reason = "a command prints, and has an exit code")]

use rsync_client::{Client, ClientEnvironment, ClientError, Operation, Plan};
use rsync_proto::options::{DeleteTiming, TransferOptions};

pub(crate) fn run(source: &str, destination: &str) -> Result<Plan, ClientError> {
    let options = TransferOptions { delete: DeleteTiming::During, ..TransferOptions::archive() };
    let client = Client::builder().options(options).environment(ClientEnvironment::from_env()).build();
    client.dry_run(&[source], destination)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(source), Some(destination)) = (words.next(), words.next()) else {
        return Err("usage: plan SOURCE DESTINATION".into());
    };
    let plan = run(&source, &destination)?;
    for action in &plan.actions {
        let verb = match &action.operation {
            Operation::Create => "create",
            Operation::Update(_) => "update",
            Operation::Metadata(_) => "adjust",
            Operation::Link { .. } => "link",
            Operation::Delete => "delete",
            _ => "change",
        };
        println!("{verb} {} ({} bytes)", action.path, action.size);
    }
    println!("{} actions, {} bytes to transfer", plan.actions.len(), plan.totals.transferred_size);
    Ok(())
}
