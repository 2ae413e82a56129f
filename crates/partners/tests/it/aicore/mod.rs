//! AI Core's contract, by a client that knows nothing but the contract (`client`), over a socket. Each exchange is kept as a golden
//! file in `snapshots/`, with ids and times replaced by names: `INSTA_UPDATE=always` writes them anew.

mod client;
mod deploying;
mod foundation;
mod grounding;
mod orchestration;
mod redact;
mod refusals;
mod sdk;
mod streaming;
mod tokens;
mod world;
