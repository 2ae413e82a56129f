//! `hoheit fleet`: all machines at once. `status` counts, `events` tells what happened, `watch` shows both, live.

mod draw;
mod events;
mod model;
mod status;
mod watch;

use super::Failure;
use super::client::Connection;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Fleet {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit fleet status
  hoheit fleet watch
  hoheit fleet events --follow")]
enum FleetCommand {
    /// How many machines are in which state, and what holds those that wait for a person.
    #[command(after_help = "Examples:\n  hoheit fleet status\n  hoheit fleet status --json")]
    Status,
    /// What happened to machines and orders, oldest first.
    #[command(after_help = "\
Examples:
  hoheit fleet events
  hoheit fleet events --follow
  hoheit fleet events --after 1200 --json")]
    Events {
        /// Only events after this number; the last ones if left out.
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
        /// 1 to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Go on as things happen, until Ctrl-C; with --json an object a line.
        #[arg(long)]
        follow: bool,
    },
    /// A live view: counts, halls as rows of racks with a cell for each machine, held machines, events.
    #[command(after_help = "\
Examples:
  hoheit fleet watch

Keys: q quits; arrows, Page Up and Page Down move through the halls; h leaves only rows with held machines.")]
    Watch,
}

impl Fleet {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            FleetCommand::Status => status::run(&client, as_json).await,
            FleetCommand::Events { after, limit, follow } => events::run(&client, after, limit, follow, as_json).await,
            FleetCommand::Watch => watch::run(&client, &self.connection.site_url).await,
        }
    }
}
