//! The bytes of a lane's requests in flight, kept to be sent (again) to the next primary.
//!
//! One string of bytes, and the length of each request in it: requests are kept and given up at its
//! ends only, in the order of the lane's tokens.

use std::collections::VecDeque;

/// Stands for the length of a request that is not kept: `hold_bytes` was reached.
const NOT_KEPT: u32 = u32::MAX;

/// Given-up bytes at the front are closed up when they are more than so many and than what is left.
const CLOSE_UP_BYTES: usize = 64 * 1024;

/// For each request in flight its bytes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// So many bytes at the front have been given up.
    head: usize,
    lengths: VecDeque<u32>,
    /// The most bytes that there were since the last look.
    peak: usize,
}

impl Kept {
    /// Bytes kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Requests, those that are not kept included.
    pub(super) fn len(&self) -> usize {
        self.lengths.len()
    }

    /// A new request behind the others, of which no byte has come yet.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.lengths.push_back(0);
    }

    /// Whether the newest request is kept so far.
    #[inline]
    pub(super) fn keeps_newest(&self) -> bool {
        self.lengths.back().is_some_and(|length| *length != NOT_KEPT)
    }

    /// More bytes of the newest request.
    #[inline]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if let Some(length) = self.lengths.back_mut() {
            self.bytes.extend_from_slice(bytes);
            *length += bytes.len() as u32;
        }
    }

    /// The newest request is not kept after all; gives the bytes that it had.
    pub(super) fn give_up_newest(&mut self) -> usize {
        match self.lengths.back_mut() {
            Some(length) if *length != NOT_KEPT => {
                let had = std::mem::replace(length, NOT_KEPT) as usize;
                self.bytes.truncate(self.bytes.len() - had);
                had
            }
            _ => 0,
        }
    }

    /// A whole request behind the others; `None`: it is not kept.
    pub(super) fn put(&mut self, request: Option<&[u8]>) {
        self.begin();
        match request {
            Some(bytes) => self.extend(bytes),
            None => {
                self.give_up_newest();
            }
        }
    }

    /// The bytes of the oldest request, if they are kept.
    pub(super) fn oldest(&self) -> Option<&[u8]> {
        let length = *self.lengths.front()?;
        (length != NOT_KEPT).then(|| self.bytes.get(self.head..self.head + length as usize))?
    }

    /// The oldest request is answered; gives the bytes that it had.
    #[inline]
    pub(super) fn pop(&mut self) -> usize {
        let length = match self.lengths.pop_front() {
            Some(length) if length != NOT_KEPT => length as usize,
            _ => return 0,
        };
        self.peak = self.peak.max(self.bytes.len());
        self.head += length;
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > CLOSE_UP_BYTES && self.head > self.bytes() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        length
    }

    /// All requests, oldest first: their bytes, if they are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut rest = self.bytes.get(self.head..).unwrap_or_default();
        self.lengths.iter().map(move |length| {
            if *length == NOT_KEPT {
                return None;
            }
            let (request, behind) = rest.split_at((*length as usize).min(rest.len()));
            rest = behind;
            Some(request)
        })
    }

    /// The bytes of all requests behind the first `skipped`.
    pub(super) fn behind(&self, skipped: usize) -> &[u8] {
        let lengths = self.lengths.iter().take(skipped).filter(|length| **length != NOT_KEPT);
        let skipped: usize = lengths.map(|length| *length as usize).sum();
        self.bytes.get(self.head + skipped..).unwrap_or_default()
    }

    /// Whether one of those behind the first `skipped` is not kept.
    pub(super) fn lacks_behind(&self, skipped: usize) -> bool {
        self.lengths.iter().skip(skipped).any(|length| *length == NOT_KEPT)
    }

    /// Gives memory back that was not needed lately; once a second.
    pub(super) fn give_back(&mut self) {
        let peak = std::mem::take(&mut self.peak).max(self.bytes.len());
        if self.bytes.capacity() > 2 * peak {
            self.bytes.shrink_to(peak);
        }
        if self.lengths.is_empty() && peak == 0 {
            self.lengths = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(requests: &[Option<&[u8]>]) -> Kept {
        let mut kept = Kept::default();
        requests.iter().for_each(|request| kept.put(*request));
        kept
    }

    #[test]
    fn requests_are_kept_and_given_up_in_their_order() {
        let mut kept = kept(&[Some(b"one"), None, Some(b"three")]);
        kept.begin();
        kept.extend(b"fo");
        kept.extend(b"ur");
        let all: Vec<_> = kept.iter().collect();
        let expected: [Option<&[u8]>; 4] = [Some(b"one"), None, Some(b"three"), Some(b"four")];
        assert_eq!(all, expected);
        assert_eq!((kept.len(), kept.bytes()), (4, 12));
        assert_eq!(kept.behind(2), b"threefour");
        assert!(kept.lacks_behind(1) && !kept.lacks_behind(2));
        assert_eq!(kept.oldest(), Some(b"one".as_slice()));
        assert_eq!(kept.pop(), 3);
        assert_eq!((kept.oldest(), kept.len()), (None, 3));
        assert_eq!(kept.pop(), 0);
        assert_eq!(kept.behind(0), b"threefour");
        assert_eq!(kept.give_up_newest(), 4);
        assert!(!kept.keeps_newest());
        assert_eq!(kept.give_up_newest(), 0);
        assert_eq!((kept.pop(), kept.pop(), kept.pop(), kept.len()), (5, 0, 0, 0));
        assert_eq!(kept.bytes(), 0);
    }

    #[test]
    fn memory_is_bounded_by_what_is_in_flight_and_given_back() {
        let mut kept = Kept::default();
        for _ in 0..100_000 {
            kept.put(Some(&[b'x'; 100]));
            if kept.len() > 100 {
                kept.pop();
            }
        }
        assert!(kept.bytes.capacity() <= 4 * CLOSE_UP_BYTES, "{}", kept.bytes.capacity());
        assert_eq!(kept.bytes(), 100 * 100);
        while kept.len() > 0 {
            kept.pop();
        }
        kept.give_back();
        kept.give_back();
        assert_eq!((kept.bytes.capacity(), kept.lengths.capacity()), (0, 0));
    }
}
