//! Bytes on their way out: chunks that are filled by the heart and sent by the reactor.
//!
//! A chunk is a plain `Vec<u8>` that is moved, never shared: while it is in an [`Outbox`] the heart
//! may append to it, once taken the reactor owns it until the kernel is done, then it comes back to
//! the [`ChunkPool`] or is freed. Nothing points into a chunk that somebody else may write to.

use std::collections::VecDeque;

use crate::base::limits::{
    CHUNK_BYTES, CHUNK_POOL_MAX, PASS_ON_BYTES, SMALL_CHUNK_BYTES, SMALL_CHUNK_POOL_MAX,
};

/// Spare chunks of one core, all empty and of capacity [`CHUNK_BYTES`] or [`SMALL_CHUNK_BYTES`].
#[derive(Debug, Default)]
pub struct ChunkPool {
    free: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
    /// Capacity of the chunks freed since the last look.
    freed_bytes: usize,
}

impl ChunkPool {
    fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES))
    }

    fn take_small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_CHUNK_BYTES))
    }

    /// Gives a chunk back; one of another size, or one too many, is freed.
    pub fn give(&mut self, mut chunk: Vec<u8>) {
        let (spares, max) = match chunk.capacity() {
            CHUNK_BYTES => (&mut self.free, CHUNK_POOL_MAX),
            SMALL_CHUNK_BYTES => (&mut self.small, SMALL_CHUNK_POOL_MAX),
            _ => (&mut self.free, 0),
        };
        if spares.len() < max {
            chunk.clear();
            spares.push(chunk);
        } else {
            self.freed_bytes += chunk.capacity();
        }
    }

    /// Bytes handed back to the allocator since the last call: who frees much may want to have it
    /// given back to the system.
    pub fn take_freed_bytes(&mut self) -> usize {
        std::mem::take(&mut self.freed_bytes)
    }

    /// Bytes held for later use.
    pub fn idle_bytes(&self) -> usize {
        self.free.len() * CHUNK_BYTES + self.small.len() * SMALL_CHUNK_BYTES
    }
}

/// What waits to be sent on one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The last `take` gave more than a small chunk holds.
    was_large: bool,
}

impl Outbox {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Copies `bytes` behind what is there.
    #[inline]
    pub fn put(&mut self, bytes: &[u8], pool: &mut ChunkPool) {
        self.bytes += bytes.len();
        match self.chunks.back_mut() {
            Some(chunk) if chunk.capacity() - chunk.len() >= bytes.len() => {
                chunk.extend_from_slice(bytes);
            }
            _ => self.put_in_pieces(bytes, pool),
        }
    }

    #[inline(never)]
    fn put_in_pieces(&mut self, mut bytes: &[u8], pool: &mut ChunkPool) {
        while !bytes.is_empty() {
            let room = self.chunks.back().map_or(0, |chunk| chunk.capacity() - chunk.len());
            if room == 0 {
                let small =
                    self.chunks.is_empty() && !self.was_large && bytes.len() <= SMALL_CHUNK_BYTES;
                self.chunks.push_back(if small { pool.take_small() } else { pool.take() });
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(chunk) = self.chunks.back_mut() {
                chunk.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Passes a whole buffer on without copying it, if it is large enough to be worth a chunk of
    /// its own; copies it otherwise.
    pub fn put_owned(&mut self, bytes: Vec<u8>, pool: &mut ChunkPool) {
        if bytes.len() < PASS_ON_BYTES {
            self.put(&bytes, pool);
            pool.give(bytes);
            return;
        }
        self.bytes += bytes.len();
        self.chunks.push_back(bytes);
    }

    /// What waits, piece by piece.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Vec::as_slice)
    }

    /// Moves all that waits in `other` behind what is here.
    pub fn append(&mut self, other: &mut Outbox) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.chunks.append(&mut other.chunks);
    }

    /// Moves all that waits to the end of `into`; gives the number of bytes.
    pub fn take(&mut self, into: &mut VecDeque<Vec<u8>>) -> usize {
        into.append(&mut self.chunks);
        self.was_large = self.bytes > SMALL_CHUNK_BYTES;
        std::mem::take(&mut self.bytes)
    }

    /// Throws away what waits.
    pub fn clear(&mut self, pool: &mut ChunkPool) {
        for chunk in self.chunks.drain(..) {
            pool.give(chunk);
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox) -> Vec<u8> {
        let mut chunks = VecDeque::new();
        let bytes = outbox.take(&mut chunks);
        let all: Vec<u8> = chunks.into_iter().flatten().collect();
        assert_eq!(bytes, all.len());
        all
    }

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut pool = ChunkPool::default();
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for n in 0..50_000_u32 {
            let word = n.to_le_bytes();
            outbox.put(&word, &mut pool);
            expected.extend_from_slice(&word);
            if n % 10_000 == 0 {
                let large = vec![n as u8; PASS_ON_BYTES];
                expected.extend_from_slice(&large);
                outbox.put_owned(large, &mut pool);
            }
        }
        assert_eq!(outbox.bytes(), expected.len());
        assert_eq!(drain(&mut outbox), expected);
        assert!(outbox.is_empty());
    }

    #[test]
    fn only_standard_chunks_return_to_the_pool() {
        let mut pool = ChunkPool::default();
        pool.give(vec![0; 10]);
        assert_eq!(pool.idle_bytes(), 0);
        let (chunk, small) = (pool.take(), pool.take_small());
        pool.give(chunk);
        assert_eq!(pool.idle_bytes(), CHUNK_BYTES);
        pool.give(small);
        assert_eq!(pool.idle_bytes(), CHUNK_BYTES + SMALL_CHUNK_BYTES);
    }

    #[test]
    fn who_says_little_gets_a_small_chunk() {
        let mut pool = ChunkPool::default();
        let mut outbox = Outbox::default();
        let mut capacities = |bytes: usize| {
            outbox.put(&vec![b'x'; bytes], &mut pool);
            let mut chunks = VecDeque::new();
            outbox.take(&mut chunks);
            chunks.iter().map(Vec::capacity).collect::<Vec<_>>()
        };
        assert_eq!(capacities(1), [SMALL_CHUNK_BYTES]);
        assert_eq!(capacities(SMALL_CHUNK_BYTES + 1), [CHUNK_BYTES]);
        assert_eq!(capacities(1), [CHUNK_BYTES], "it had much to say just now");
        assert_eq!(capacities(1), [SMALL_CHUNK_BYTES]);
    }
}
