//! The Open Service Broker: what a platform may order, and what each call of it means for an instance or a binding as it is stored.
//!
//! Pure: (what is stored, a call, now) -> (the answer, what to do). The HTTP shell and the writes are in `controller/osb`.
