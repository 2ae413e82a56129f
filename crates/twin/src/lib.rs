//! The twin: what stands in for the factory. So far that is a scripted engine on a real loopback socket, and one that
//! sends at a steady beat, with a client that measures it.
//!
//! What it is not: a model. It computes nothing and downloads nothing; it does exactly what a test wrote down, so that a
//! test can say "the engine broke off inside the third event" and then compare what the gateway believes with what the
//! engine counted. Nothing here is part of the product.

pub mod engine;
pub mod pace;
