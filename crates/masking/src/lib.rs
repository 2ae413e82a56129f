//! Personal data in texts, found, replaced and put back: names, addresses, numbers with checksums; German first.
//!
//! - [`Entity`], [`Rule`]: what a client asks for, by SAP's names and ours; patterns of its own.
//! - [`Masker`]: masks the texts of one request, all roles with one table.
//! - [`Unmasker`]: puts values back into an answer, also into one that comes in pieces.
//! - [`checksum`]: the check digits, each from its specification.
//!
//! ```text
//! Frau Erika Mustermann, DE89 3704 0044 0532 0130 00  ->  Frau MASKED_PERSON_1, MASKED_IBAN_1
//! Liebe MASKED_PERSON_1                               ->  Liebe Erika Mustermann
//! ```
//!
//! Pure: the seed for invented values is an argument. What it is not: it promises no completeness. What a recogniser finds and
//! misses is measured on a written test set, and the figures stand beside it (`docs/masking.md`). A mask is not a border: what may
//! not leave a site is a rule of `policy`.
//!
//! If we crash here: the table of a request lives in memory only, and goes with the request.

pub mod checksum;
mod entity;
mod fabricate;
mod find;
mod masker;
mod table;
mod text;
mod trie;
mod unmask;
mod words;

pub use entity::{Entity, Method, Pattern, Replacement, Rule, SetupError};
pub use find::PATTERN_MATCH_MAX;
pub use masker::{ALLOWED_MAX, MaskError, Masker, RULES_MAX};
pub use unmask::Unmasker;
