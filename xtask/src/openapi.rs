//! `cargo xtask openapi`: writes the checked-in OpenAPI description from the code. The test that compares them lives
//! beside the routes, in the controller; here it is only told to write instead of to compare.

use crate::process;
use anyhow::Result;

pub fn run() -> Result<()> {
    process::run(process::cargo().args(["test", "--quiet", "-p", "controller", "openapi"]).env("UPDATE_GOLDENS", "1"))
}
