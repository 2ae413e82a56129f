//! Personal data in texts, found, replaced and put back: names, addresses, numbers with checksums; German first.
//!
//! Pure. What it is not: it promises no completeness. What a recogniser finds and misses is measured on a written test set, and
//! the figures stand beside it (`docs/masking.md`).
