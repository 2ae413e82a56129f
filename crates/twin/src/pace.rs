//! Paced streams: an engine that sends tokens at a steady beat, each with the time at which it was sent, and a client
//! that holds many streams and takes the time of arrival minus that. What lies between the two is what a gateway adds.
//!
//! What it is not: the scripted engine. That one is exact and counts; this one is fast, so that a measurement of 25,000
//! tokens a second measures the gateway and not hyper. It speaks as much HTTP as the two need and no more.
//!
//! Both ends read `CLOCK_MONOTONIC`, which is one clock for all processes of a machine, so two machines cannot be compared.

pub mod client;
pub mod engine;
mod head;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // Since the machine's start: neither is negative, and u64 holds 584 years.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What stands before a timestamp in the text of a token. 19 digits follow.
pub(crate) const MARK: &[u8] = b"\"t=";
/// Digits of a timestamp: enough for 316 years of nanoseconds, and always as many, so chunks have one length.
pub(crate) const DIGITS: usize = 19;
