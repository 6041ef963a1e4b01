//! What resp promises, row by row and by comparison.
#![expect(clippy::indexing_slicing, reason = "a test that reads past its bytes is to fail")]

mod bad_input;
mod random;
mod replies;
mod writing;
