//! Floor 0: limits, identifiers, time, buffers and slabs. Knows nothing of Redis.

pub mod buffer;
pub mod ids;
pub mod limits;
pub mod slab;
pub mod time;
