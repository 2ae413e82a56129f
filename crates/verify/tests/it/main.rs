//! hoheit-verify over a whole world on disk: what was not touched holds, and each way of touching it is found.

mod mutations;
mod program;
mod words;
mod world;
