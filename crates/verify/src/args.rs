//! The command line.

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(
    name = "hoheit-verify",
    version,
    about = "Checks Hoheit's receipts, proofs and log offline. Trusts nobody but the keys you give it.",
    after_help = "Exit code: 0 it holds, 1 it does not hold, 2 it could not be checked.\n\n\
Examples:\n  \
  hoheit-verify receipt answer.jwt --proof answer.tlog-proof --jwks jwks.json --log-key log.vkey\n  \
  hoheit-verify proof answer.tlog-proof --receipt answer.jwt --log-key log.vkey\n  \
  hoheit-verify chain ./export --jwks jwks.json --log-key log.vkey\n  \
  hoheit-verify acceptance machine.jwt --proof machine.tlog-proof --jwks jwks.json --log-key log.vkey\n  \
  hoheit-verify log ./site/log --since checkpoint-of-january --log-key log.vkey\n\n\
Get the key set (/.well-known/jwks.json) and the log's key (/log/vkey) once, and not from whom you check."
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Language of the result
    #[arg(long, global = true, value_enum, default_value = "en")]
    pub lang: Lang,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    En,
    De,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a receipt's signature and, with --proof, that it is in the log
    #[command(after_help = "Example:\n  \
        hoheit-verify receipt answer.jwt --proof answer.tlog-proof --jwks jwks.json --log-key log.vkey")]
    Receipt {
        /// The receipt (a JWT)
        #[arg(value_name = "FILE.jwt")]
        jwt: PathBuf,
        /// Its proof of being in the log
        #[arg(long, value_name = "FILE.tlog-proof")]
        proof: Option<PathBuf>,
        /// The site's key set
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        #[command(flatten)]
        log: LogKeys,
    },
    /// Check that a receipt or a leaf is in the log, whoever signed it
    #[command(after_help = "Examples:\n  \
        hoheit-verify proof answer.tlog-proof --receipt answer.jwt --log-key log.vkey\n  \
        hoheit-verify proof answer.tlog-proof --leaf 9f86d0…0a08 --log-key log.vkey")]
    Proof {
        #[arg(value_name = "FILE.tlog-proof")]
        proof: PathBuf,
        /// The receipt that the proof is of
        #[arg(long, value_name = "FILE.jwt", required_unless_present = "leaf", conflicts_with = "leaf")]
        receipt: Option<PathBuf>,
        /// The leaf that the proof is of: 64 hex digits
        #[arg(long, value_name = "HEX")]
        leaf: Option<String>,
        #[command(flatten)]
        log: LogKeys,
    },
    /// Check a tenant's export: signatures, proofs, order, gaps, doubles, foreign rows
    #[command(
        after_help = "The folder is what `hoheit receipt export --tenant ID --out DIR` writes, with --bundle or without.\n\nExample:\n  \
        hoheit-verify chain ./export --jwks jwks.json --log-key log.vkey"
    )]
    Chain {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The site's key set
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        #[command(flatten)]
        log: LogKeys,
    },
    /// Check a machine's certificate of acceptance and that it is in the log
    #[command(
        after_help = "The files are what `hoheit machine certificate MACHINE --out DIR` writes. With --serial, that it is of the machine before you.\n\nExample:\n  \
        hoheit-verify acceptance machine.jwt --proof machine.tlog-proof --serial 1660224000123 --jwks jwks.json --log-key log.vkey"
    )]
    Acceptance {
        /// The certificate (a JWT)
        #[arg(value_name = "FILE.jwt")]
        jwt: PathBuf,
        /// Its proof of being in the log
        #[arg(long, value_name = "FILE.tlog-proof")]
        proof: Option<PathBuf>,
        /// The serial number that the machine must have: of its chassis or of any part
        #[arg(long, value_name = "SERIAL")]
        serial: Vec<String>,
        /// The site's key set
        #[arg(long, value_name = "FILE")]
        jwks: PathBuf,
        #[command(flatten)]
        log: LogKeys,
    },
    /// Recompute a whole log from its entries, and that it continues an older checkpoint
    #[command(after_help = "The folder holds `checkpoint` and `tile/`, or a folder `log` that does.\n\nExample:\n  \
        hoheit-verify log ./mirror --since checkpoint-of-january --log-key log.vkey")]
    Log {
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The log's verifier key, or a file that holds it
        #[arg(long, value_name = "VKEY")]
        log_key: String,
        /// A checkpoint of this log that you kept
        #[arg(long, value_name = "CHECKPOINT")]
        since: Option<PathBuf>,
    },
}

/// Whom to believe about the log.
#[derive(Debug, Group)]
pub struct LogKeys {
    /// The log's verifier key, or a file that holds it
    #[arg(long, value_name = "VKEY")]
    pub log_key: String,
    /// A witness that must have cosigned: its verifier key, or a file that holds it. May be given several times
    #[arg(long, value_name = "VKEY")]
    pub witness: Vec<String>,
}
