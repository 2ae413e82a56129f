//! The data plane's shells for other dialects: Sonar, SAP AI Core, files and vector stores. Each authenticates, asks the pure crate
//! that knows the dialect, and hands what comes out to the gateway within the process (`gateway::inner`).
//!
//! What it is not: it decides nothing about words (`dialects`), passages (`knowledge`) or money (`gateway`), and it has no way to an
//! engine but the gateway's. If we crash here: ADR 12.
