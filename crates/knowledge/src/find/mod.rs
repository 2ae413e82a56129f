//! Finding passages: by their words ([`words`], BM25 with German and English analysis), by their vectors ([`vectors`]), by both
//! ([`fuse`]); what may be found at all ([`filters`]); and the indexes in memory ([`index`], [`shelf`]).

pub(crate) mod compounds;
pub mod filters;
pub(crate) mod fuse;
pub(crate) mod index;
pub(crate) mod language;
pub(crate) mod shelf;
pub(crate) mod vectors;
pub(crate) mod words;
