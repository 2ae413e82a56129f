//! Makes cargo rebuild the store when a migration is added: `sqlx::migrate!` reads the folder at compile time, and
//! stable Rust cannot tell cargo about a folder.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
