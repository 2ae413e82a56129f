//! The Open Service Broker: what a platform may order, and what each call of it means for an instance or a binding as it is stored.
//!
//! Pure: (what is stored, a call, now) -> (the answer, what to do). The HTTP shell and the writes are in `controller/osb`.
//! What it is not: it knows no password and no key's text, and it makes no project; it says that one is to be made.
//!
//! Two rules hold everywhere. The same call twice does once and answers alike; and a DELETE wins, whenever it comes: what it
//! leaves behind is a tombstone, on which a PUT that was overtaken makes nothing.

mod ask;
mod binding;
mod canonical;
mod catalog;
mod context;
mod credentials;
mod identity;
mod instance;
mod parameters;
mod refusal;
mod registration;
mod signature;
mod slot;
mod version;

pub use ask::{Bind, Change, Named, Provision, Which};
pub use binding::{BINDINGS_MAX, Binding, FreshBinding, bind, fetch_binding, last_operation_binding, unbind};
pub use catalog::{MAINTENANCE, POLLING_SECS_MAX, Plan, PlanError, SERVICE, catalog};
pub use context::Context;
pub use credentials::{Place, credentials};
pub use identity::identity;
pub use instance::{
    Asked, Fresh, Instance, State, deprovision, ended, fetch, fulfil, last_operation, provision, refuse, update,
};
pub use parameters::{BindingParameters, InstanceParameters};
pub use refusal::{Answer, Refusal};
pub use registration::{Registration, RegistrationError, subject_matches};
pub use signature::{PublicKey, PublicKeyError, Signing};
pub use slot::{Act, Next, Slot, Step, TOMBSTONE_MILLIS, id};
pub use version::version;
