//! May this principal's data of this class be seen by this endpoint, and by which rules? May a query of it leave for this
//! provider of web searches? And may this role do that at the control API? All are decided by Cedar (<https://www.cedarpolicy.com>).
//!
//! - [`base`]: the rules that ship, in `rules/*.cedar`, readable and commented.
//! - [`rule`]: what is checked when a rule is written: shape, schema, and words that could never match.
//! - [`shape`]: how deep a rule may be, so that none overflows a stack.
//! - [`bundle`]: all rules compiled, their digest, and the decision.
//! - [`control`]: roles and actions of the control API.
//!
//! Four guards stand outside of what a rule can say. Residency is compared before Cedar is asked, so no rule lifts it.
//! A tenant's rules only forbid, and only that tenant's requests are decided with them, so they only narrow and only
//! for their owner. A rule that fails while it is evaluated refuses: Cedar would skip it, and a skipped `forbid` is a hole.
//! A query leaves only by a rule that names `search_web`: one that permits whatever is done does not permit that.
//!
//! What it is not: it does not know whether the stated facts are true, whether a replica is up, or what a request says.
//! No clock, no I/O, no randomness: the same bundle and question give the same decision, in the gateway, in
//! `policy explain` and in the twin.
//!
//! If we crash here: nothing is lost. A bundle is compiled from the snapshot at start.

pub mod base;
pub mod bundle;
pub mod control;
mod error;
mod question;
pub mod rule;
pub mod shape;
mod words;

pub use base::base_rules;
pub use bundle::{Bundle, Decision};
pub use error::{Place, PolicyError, Problem};
pub use question::{Question, SCHEMA_TEXT, WEB_SEARCH};
pub use rule::check_rule;
