//! The journal from outside: what a caller may rely on, on real files and on disks that fail.

mod cut;
mod everyday;
mod faults;
mod recovery;
mod simulated;
mod support;
