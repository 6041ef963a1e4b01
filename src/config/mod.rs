//! The configuration as used: values that have been checked, with every default filled in.
//!
//! What is written in a file is another type (`toml_file`, `nutcracker`), turned into this one by
//! `build`; all complaints come at once. A [`Config`] is immutable and shared by `Arc`: a reload
//! makes another one.

pub mod model;
