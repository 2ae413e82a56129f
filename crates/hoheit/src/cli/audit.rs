//! `hoheit audit`: who changed what.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::Args;
use types::{AuditId, TenantId};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hoheit audit\n  hoheit audit --tenant ten_… --limit 1000 --json\n  hoheit audit --after aud_…"
)]
pub struct Audit {
    #[command(flatten)]
    connection: Connection,
    /// Only what belongs to this tenant.
    #[arg(long, value_name = "ID")]
    pub tenant: Option<TenantId>,
    /// Only what came after this entry.
    #[arg(long, value_name = "ID")]
    pub after: Option<AuditId>,
    /// 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
}

const COLUMNS: &[Column] = &[
    field!("at", "at", show::time),
    field!("actor"),
    field!("action"),
    field!("object"),
    field!("tenant"),
    field!("detail"),
];

impl Audit {
    pub async fn run(self) -> Result<(), Failure> {
        let mut path = format!("/api/v1/audit?limit={}", self.limit);
        if let Some(tenant) = self.tenant {
            path += &format!("&tenant={tenant}");
        }
        if let Some(after) = self.after {
            path += &format!("&after={after}");
        }
        let entries = self.connection.control()?.get(&path).await?;
        show::list(self.connection.json, &entries, COLUMNS, "Nothing was changed yet.")
    }
}
