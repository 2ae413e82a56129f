//! The agent: the one program of ours on each machine. It enrols, says how the machine is, runs validation suites and, on a
//! small site, keeps engines alive. The site's half of the conversation is here too (`site`), so that both speak one `wire`.
//!
//! Not here: what follows from what is seen. That is `fleet`'s; the agent reports and does what it is told, and the little
//! that it does by itself (restart an engine, stop a test that takes too long) is said in the next report.
//!
//! Trust goes one way at a time. The site believes a certificate that its own authority issued, and of what the agent says only
//! what is about the machine in that certificate; never the agent's clock. The agent believes a site that shows the authority
//! whose hash stood in its token.

pub mod ca;
pub mod clock;
pub mod desk;
pub mod enrol;
pub mod link;
pub mod nvml;
pub mod report;
pub mod run;
pub mod signs;
pub mod site;
pub mod supervise;
pub mod swarm;
pub mod tls;
pub mod token;
pub mod validate;
pub mod wire;
