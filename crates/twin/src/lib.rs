//! The twin: what stands in for the factory. So far that is a scripted engine on a real loopback socket, and one that
//! sends at a steady beat, with a client that measures it; and, without sockets and in virtual time, simulated engines on
//! which a trace of requests is replayed ([`replay`]).
//!
//! What it is not: a model. It computes nothing and downloads nothing; it does exactly what a test wrote down, so that a
//! test can say "the engine broke off inside the third event" and then compare what the gateway believes with what the
//! engine counted. Nothing here serves anybody; of the product only `hoheit twin` uses it, and of that only [`replay`].

pub mod engine;
pub mod pace;
pub mod replay;
