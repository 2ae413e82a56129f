//! Stories of a fleet as text: commands in, what happened out, in virtual time through the real steps. The invariants are
//! checked after every step, and a violation ends the story. The same text has the same output, random faults included:
//! they come from a seed in the text.
//!
//! - [`script`]: the language. - [`world`]: machines of iron, and who works on them. - [`dice`]: the seeded source.
//!
//! What it is not: the twin, which speaks the real protocols and knows how long things take.

mod body;
pub mod dice;
pub mod script;
mod told;
mod workers;
pub mod world;

pub use script::ScriptError;
pub use world::World;

/// Tells the story. An error is a mistake in the text, or an invariant that did not hold.
pub fn run(text: &str) -> Result<String, ScriptError> {
    let mut world = World::default();
    let mut out = String::new();
    for (line, command) in script::parse(text)? {
        out.push_str(&format!("> {}\n", text.lines().nth(line - 1).unwrap_or_default().trim()));
        let said = world.run(&command).map_err(|what| ScriptError { line, what })?;
        for line in said {
            out.push_str(&format!("  {line}\n"));
        }
    }
    Ok(out)
}
