//! Evidence, as pure functions: receipts (JWT), the transparency log's tree, tiles, notes, checkpoints, cosignatures,
//! proofs and the rules of a witness. Formats are C2SP's and RFC 6962's; each file is named as its format.
//!
//! What it is not: no file, socket, clock or randomness. Keys come as seeds, times as numbers, tiles through
//! [`tile::TileSource`]. `store` and `controller` write what this crate decides, `hoheit-verify` checks it offline with
//! the same functions.
//!
//! Why our own: the published crates lag the specifications. They stand beside this one in the tests as oracles.

pub mod acceptance;
pub mod checkpoint;
pub mod cosignature;
pub mod hash;
pub mod jwks;
mod jws;
pub mod key;
pub mod log;
pub mod note;
pub mod proof;
pub mod receipt;
pub mod snapshot;
pub mod stencil;
pub mod tile;
pub mod tree;
pub mod witness;

pub use hash::Hash;
pub use key::SigningKey;
