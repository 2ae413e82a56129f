//! Other dialects of the same pipeline: what a client of Sonar or of SAP's AI Core asks, in OpenAI's words, and what an engine
//! answered, in the client's. And grounding, which both use: passages numbered for a prompt, citations checked in an answer.
//!
//! Pure: bytes in, bytes out. The shells are in `partners`; rooms and rules in ADR 12.

mod events;
pub mod grounding;
pub mod sap;
pub mod sonar;
mod time;
