//! Small buffers that are used again and again.

/// Largest buffer kept, bytes: those of ordinary replies.
const SPARE_BYTES_MAX: usize = 4 * 1024;
/// Buffers kept: few are in use at a time.
const SPARES_MAX: usize = 64;

pub(super) fn give_spare(spares: &mut Vec<Vec<u8>>, mut buffer: Vec<u8>) {
    if buffer.capacity() > 0 && buffer.capacity() <= SPARE_BYTES_MAX && spares.len() < SPARES_MAX {
        buffer.clear();
        spares.push(buffer);
    }
}
