//! The configuration: files in, checked values out.
//!
//! ```text
//!   corelay.toml ──▶ toml_file ──┐ drafts           ┌──▶ Config (as used, immutable, by Arc)
//!                                ├───────▶ build ───┤
//! nutcracker.yml ──▶ nutcracker ─┘                  └──▶ complaints, all at once
//! ```
//!
//! What is written in a file is another type ([`draft`]) than what is used ([`model`]). A reader
//! turns text into drafts, `build` checks what holds between keys, pools and listeners. Both are
//! pure (a [`Machine`] tells them what they need to know of the host), never panic on any bytes,
//! and never stop at the first complaint. Called by `cli`, and by the demo of `process`.

mod address;
mod build;
pub mod change;
pub mod complaint;
mod draft;
mod facade;
pub mod keys;
pub mod load;
pub mod machine;
pub mod model;
pub mod names;
mod nutcracker;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod replicas;
#[cfg(any(test, fuzzing))]
pub(crate) mod sample;
mod section;
mod sentinel_table;
mod server_line;
mod toml_file;
pub mod toml_print;
mod wording;
mod yaml;

#[cfg(test)]
mod tests;

pub use address::sentinels;
pub use complaint::{Complaint, Severity};
pub use load::{
    Format, Loaded, load, load_nutcracker, load_watched_nutcracker, parse_nutcracker, parse_toml,
};
pub use machine::Machine;
