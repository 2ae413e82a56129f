//! Which replica takes a request, and whether a failed one may be tried elsewhere.
//!
//! - [`router`]: the choice among the replicas of a permitted endpoint: where the prompt's prefix is, against load.
//! - [`chain`], [`prefix`], [`loads`]: what it rests on: prompts as chains of hashes, who holds which, who is least loaded.
//! - [`breaker`]: keeps requests away from a replica that fails again and again.
//! - [`fair`]: who is next when all replicas are full: fair between tenants, interactive before batch.
//! - [`quarantine`]: keeps a request away from the engines that it breaks.
//! - [`retry`]: how many attempts a request has, and how many retries a gateway may add to its traffic.
//!
//! What it is not: it does not know policy. It chooses among replicas that admission has already permitted, and it has
//! no way to reach for another endpoint. No clock, no randomness: both are arguments, so the twin replays every choice.
//!
//! If we crash here: nothing is lost. Breakers start closed, and learn within a few requests what they knew.

pub mod breaker;
pub mod chain;
pub mod fair;
pub mod loads;
pub mod prefix;
pub mod quarantine;
pub mod retry;
pub mod router;

pub use breaker::{Breaker, Report};
pub use quarantine::Quarantine;
pub use retry::{ATTEMPTS_MAX, Attempts, RetryBudget};
pub use router::{Ask, Choice, Look, Router, Strategy, Ticket};
