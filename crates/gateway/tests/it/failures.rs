//! What `docs/failures.md` promises and no older test shows: each is named after its number there.
//!
//! Each ends in [`crate::world::World::audit`]: one receipt for each request, every promise of the journal kept, nothing
//! acknowledged lost, and the counts are those of the engines.

mod breakers;
mod cancel;
mod dribble;
mod engines;
mod input;
mod padding;
mod poison;
mod timeouts;
