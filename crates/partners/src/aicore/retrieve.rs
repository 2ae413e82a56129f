//! Passages for the grounding module, out of the project's collections.

use super::call::Call;
use dialects::sap::{Failure, Location, Retrieval};
use types::Passage;

pub(super) async fn retrieve(_: &Call, _: &[Retrieval]) -> Result<Vec<Passage>, Failure> {
    Err(Failure::new(400, Location::Grounding, "this site has no knowledge collections"))
}
