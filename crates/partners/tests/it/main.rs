//! The shells over a real gateway in this process, a store of files, and a scripted engine. Requests go to the router, as the
//! gateway's fallback gives them; `aicore` asks over a socket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod aicore;
mod bounds;
mod documents;
mod hidden;
mod later;
mod sonar;
mod web;
mod world;
