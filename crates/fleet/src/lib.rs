//! Life of a machine, from the pallet to accepted capacity and through its faults: what is so, what follows, and why.
//!
//! Pure: no clock, randomness, files or network. A step is a function of what was asked ([`machine::Spec`]), what was
//! decided before ([`machine::Machine`]), what was seen ([`observed::Observed`]) and the time; it answers what the machine
//! becomes, the reason in words, and what is to be done ([`action::Action`]). The controller's reconcilers do it, the twin
//! pretends to; both run this code.
//!
//! Level-triggered: a step asks for everything that its state needs and that was not seen yet, each time. Who executes is
//! therefore free to crash anywhere: what was not done is asked for again, and what was done shows in what is observed.
//! Every action is idempotent under its machine and the machine's `entry`, the number of states that it has entered.
//!
//! - [`lifecycle`]: the states, their edges, limits and holds: [`lifecycle::step`].
//! - [`diagnosis`], [`xid`]: what events and readings mean.
//! - [`drains`], [`quarantine`]: what only a look at the fleet, or at a history, may permit.
//! - [`order`]: work of robots and people.
//! - [`invariants`]: what must be so after every step. - [`scenario`]: stories in text, told through the real steps.
//! - [`site`]: the site as it shall be, from `site.toml`.

pub mod action;
pub mod diagnosis;
pub mod drains;
pub mod invariants;
pub mod lifecycle;
pub mod machine;
pub mod observed;
pub mod order;
pub mod quarantine;
pub mod scenario;
pub mod site;
pub mod xid;
