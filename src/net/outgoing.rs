//! What one connection is sending: chunks, how far the first has gone, and the vectors that name
//! them to the kernel while a write is under way.
//!
//! Nobody touches the chunks between the start of a write and its completion: `sockets`, the only
//! caller, hands them out only when no write is under way.

use std::collections::VecDeque;

use crate::base::limits::WRITE_CHUNKS_MAX;

/// Chunks in the order in which they leave.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes of the first chunk that have gone; less than its length.
    sent: usize,
    /// Kept while writes of several chunks are under way.
    vectors: Option<Box<Vectors>>,
}

/// What writes leave behind, to be used again.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Chunks whose bytes have all gone, or never will.
    pub(super) spent: Vec<Vec<u8>>,
    #[expect(clippy::vec_box, reason = "the kernel was given their address")]
    vectors: Vec<Box<Vectors>>,
}

/// What the kernel reads during a write of several chunks.
pub(super) struct Vectors {
    header: libc::msghdr,
    list: [libc::iovec; WRITE_CHUNKS_MAX],
}

/// The memory of one write.
pub(super) enum Write {
    One { start: *const u8, bytes: u32 },
    Several { header: *const libc::msghdr, bytes: u32 },
}

impl Write {
    pub(super) fn bytes(&self) -> u32 {
        match self {
            Write::One { bytes, .. } | Write::Several { bytes, .. } => *bytes,
        }
    }
}

impl Outgoing {
    /// Only while no write is under way.
    pub(super) fn chunks(&mut self) -> &mut VecDeque<Vec<u8>> {
        &mut self.chunks
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The next write, of at most [`WRITE_CHUNKS_MAX`] chunks; `None` if nothing waits. The memory
    /// it names stays where it is until `advance`, `take_all` or the end of `self`. Vectors come
    /// from `leftovers` if there are some.
    pub(super) fn next_write(&mut self, leftovers: &mut Leftovers) -> Option<Write> {
        while self.chunks.front().is_some_and(|chunk| chunk.len() == self.sent) {
            debug_assert_eq!(self.sent, 0, "only a chunk that was empty from the start");
            self.chunks.pop_front();
            self.sent = 0;
        }
        let first = self.chunks.front()?.get(self.sent..)?;
        // No buffer of ours comes near 4 GiB; a longer one would leave in several writes.
        if self.chunks.len() == 1 {
            let bytes = first.len().min(i32::MAX as usize) as u32;
            return Some(Write::One { start: first.as_ptr(), bytes });
        }
        let vectors = self.vectors.get_or_insert_with(|| {
            leftovers.vectors.pop().unwrap_or_else(|| Box::new(Vectors::new()))
        });
        let bytes = vectors.fill(&self.chunks, self.sent);
        Some(Write::Several { header: &raw const vectors.header, bytes })
    }

    /// `bytes` of the last write have gone: chunks that are done move to `spent`.
    pub(super) fn advance(&mut self, mut bytes: usize, leftovers: &mut Leftovers) {
        while let Some(first) = self.chunks.front() {
            let left = first.len() - self.sent;
            if bytes < left {
                self.sent += bytes;
                break;
            }
            bytes -= left;
            self.sent = 0;
            leftovers.spent.extend(self.chunks.pop_front());
        }
        if self.chunks.is_empty() {
            self.give_vectors(leftovers);
            if self.chunks.capacity() > WRITE_CHUNKS_MAX {
                self.chunks = VecDeque::new();
            }
        }
    }

    /// Throws away what waits. Only when no write is under way.
    pub(super) fn take_all(&mut self, leftovers: &mut Leftovers) {
        self.sent = 0;
        leftovers.spent.extend(self.chunks.drain(..));
        self.give_vectors(leftovers);
    }

    fn give_vectors(&mut self, leftovers: &mut Leftovers) {
        if let Some(vectors) = self.vectors.take()
            && leftovers.vectors.len() < WRITE_CHUNKS_MAX
        {
            leftovers.vectors.push(vectors);
        }
    }
}

impl Vectors {
    fn new() -> Vectors {
        // SAFETY: all-zero is a valid `msghdr`: null pointers and zero lengths.
        let header: libc::msghdr = unsafe { std::mem::zeroed() };
        let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Vectors { header, list: [nothing; WRITE_CHUNKS_MAX] }
    }

    /// Names the chunks, the first from `sent` on; gives the number of bytes.
    fn fill(&mut self, chunks: &VecDeque<Vec<u8>>, sent: usize) -> u32 {
        let mut bytes = 0_usize;
        let mut count = 0;
        let mut skip = sent;
        for (chunk, vector) in chunks.iter().zip(&mut self.list) {
            let rest = chunk.get(skip..).unwrap_or_default();
            if count > 0 && bytes + rest.len() > i32::MAX as usize {
                break;
            }
            let iov_len = rest.len().min(i32::MAX as usize);
            *vector = libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len };
            bytes += iov_len;
            count += 1;
            skip = 0;
        }
        self.header.msg_iov = self.list.as_mut_ptr();
        self.header.msg_iovlen = count as _;
        bytes as u32
    }
}

impl std::fmt::Debug for Vectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vectors").field("count", &self.header.msg_iovlen).finish_non_exhaustive()
    }
}
