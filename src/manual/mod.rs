//! What there is to know of every key that people write, said once: `keys` has the table, and from it come the pages of
//! section 5 and the JSON schemas that editors read. The pages of section 8 are made of what may be typed.
//!
//! A test asks the readers of `config` and `drivers` which keys they know, and with which sort of value, and holds the
//! table against them. Nothing here reads a file or decides anything.
//!
//! ```text
//! keys ──┬─> formats ─┐
//!        └─> schema   ├─> pages, one name each
//! clap ────> commands ┘
//! ```

pub mod commands;
pub mod formats;
pub mod keys;
pub mod page;
pub mod roff;
pub mod schema;

#[cfg(test)]
mod tests;
