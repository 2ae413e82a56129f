//! `hoheit status`: the state of the site.

use super::Failure;
use super::client::Connection;
use super::show;
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hoheit status\n  hoheit status --json")]
pub struct Status {
    #[command(flatten)]
    connection: Connection,
}

impl Status {
    pub async fn run(self) -> Result<(), Failure> {
        let status = self.connection.control()?.get("/api/v1/status").await?;
        show::one(self.connection.json, &status)?;
        if status["ready"] == true {
            return Ok(());
        }
        Err(Failure::failed(format!("The site is not ready: {}", show::text(&status["reason"]))))
    }
}
