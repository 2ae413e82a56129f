//! Each violation is found, and a sound fleet has none.
