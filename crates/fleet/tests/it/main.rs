//! The fleet's stories, and what must hold for any machine whatever is observed of it.

mod pages;
mod scenarios;
mod steps;
