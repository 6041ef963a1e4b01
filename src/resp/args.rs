//! The arguments of one request: ranges into the bytes they lie in.

/// One argument: a range relative to the first byte of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgRange {
    pub start: u32,
    pub end: u32,
}

/// A request that is complete: its bytes, and where its arguments lie in them. `args[0]` is the
/// command's name; there is always at least one.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// From the request's `*` to the last LF.
    pub bytes: &'a [u8],
    pub ranges: &'a [ArgRange],
}

impl<'a> Request<'a> {
    /// Number of arguments, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Argument `index`, empty where there is none.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(index)?;
        self.bytes.get(range.start as usize..range.end as usize)
    }

    pub fn name(&self) -> &'a [u8] {
        self.arg(0)
    }

    /// The bytes of argument `index` as it stands on the wire: `$len\r\n…\r\n`.
    pub fn wire(&self, index: usize) -> &'a [u8] {
        let start = if index == 0 {
            memchr::memchr(b'\n', self.bytes).map_or(0, |at| at + 1)
        } else {
            self.ranges.get(index - 1).map_or(0, |range| range.end as usize + 2)
        };
        let end = self.ranges.get(index).map_or(0, |range| range.end as usize + 2);
        self.bytes.get(start..end).unwrap_or_default()
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        self.ranges.iter().map(move |range| {
            bytes.get(range.start as usize..range.end as usize).unwrap_or_default()
        })
    }
}
