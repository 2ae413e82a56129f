//! Collections of a project's documents: files to passages, passages to an index, questions to passages; and the data keys that all
//! of it is sealed with.
//!
//! What it is not: it answers nothing and asks no model by itself; embeddings come through a function that the caller brings. It
//! has no SQL: rows are the store's. If we crash here: ADR 12.
