//! The control API over a real store, and the sealer over real files; no socket.

mod coverage;
mod input;
mod lifecycle;
mod openapi;
mod sealing;
mod site;
