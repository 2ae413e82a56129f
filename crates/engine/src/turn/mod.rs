//! The inference side. `schedule` owns the thread and whose turn it is, `sequence` one request's way from prompt to last
//! token, `text` and `stop` turn tokens into what may be sent, `meter` counts. Not here: HTTP and JSON.

pub(crate) mod meter;
pub(crate) mod schedule;
pub(crate) mod sequence;
pub(crate) mod stop;
pub(crate) mod text;
