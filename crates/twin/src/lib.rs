//! The twin: what stands in for the factory. A scripted engine on a real loopback socket, one that sends at a steady beat
//! with a client that measures it, and studies without sockets, in virtual time: simulated engines on which a trace of
//! requests is replayed ([`replay`]) or that are asked for more than they can do ([`overload`]), a factory ([`factory`]); and
//! the factory on loopback around a real site (`serve`).
//!
//! What it is not: a model. It computes nothing and downloads nothing; it does exactly what a test wrote down, so that a
//! test can say "the engine broke off inside the third event" and then compare what the gateway believes with what the
//! engine counted. Nothing here serves anybody; of the product only `hoheit twin` uses it: the studies and `serve`.

pub mod engine;
pub mod factory;
pub mod overload;
pub mod pace;
pub mod replay;
#[cfg(feature = "serve")]
pub mod serve;
