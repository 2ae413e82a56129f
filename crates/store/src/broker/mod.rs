//! What platforms order through the Open Service Broker: registrations, instances, bindings, and tombstones of what was
//! deleted. Bodies are JSON of `controller/osb`, read and written as wholes.
//!
//! A write names what its decision was read from: an instance's version, or that there was nothing. Writes take the same
//! lock as every change of the site, and look again under it: so of a PUT and a DELETE in two processes one sees the other.
//!
//! If we crash before a commit, nothing of it is true: an instance is there with its tenant and project, or not at all.

pub(crate) mod registrations;
pub(crate) mod slots;
pub(crate) mod writes;
