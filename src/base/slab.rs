//! A slab whose entries are named by index and generation.
//!
//! Invariant: an index is handed out again only under a higher generation, so an id kept beyond
//! its entry's life finds nothing.

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// Entries of one core; never shrinks (an entry is small), never grows past `u32::MAX`.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { entries: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// With room for so many entries that need not be moved as their number grows: address space,
    /// of which only what is used takes memory.
    pub fn with_capacity(entries: usize) -> Slab<T> {
        Slab { entries: Vec::with_capacity(entries), ..Slab::default() }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `value` in; gives its index and generation.
    pub fn insert(&mut self, value: T) -> (u32, u32) {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            debug_assert!(entry.value.is_none());
            entry.value = Some(value);
            return (index, entry.generation);
        }
        let index = self.entries.len() as u32;
        self.entries.push(Entry { generation: 1, value: Some(value) });
        (index, 1)
    }

    #[inline]
    pub fn get(&self, index: u32, generation: u32) -> Option<&T> {
        let entry = self.entries.get(index as usize)?;
        if entry.generation == generation { entry.value.as_ref() } else { None }
    }

    #[inline]
    pub fn get_mut(&mut self, index: u32, generation: u32) -> Option<&mut T> {
        let entry = self.entries.get_mut(index as usize)?;
        if entry.generation == generation { entry.value.as_mut() } else { None }
    }

    /// Takes the entry out; its index may be used again under the next generation.
    pub fn remove(&mut self, index: u32, generation: u32) -> Option<T> {
        let entry = self.entries.get_mut(index as usize)?;
        if entry.generation != generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1).max(1);
        self.free.push(index);
        self.len -= 1;
        Some(value)
    }

    /// All entries.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().filter_map(|entry| entry.value.as_mut())
    }

    /// All entries with their index and generation.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            entry.value.as_ref().map(|value| (index as u32, entry.generation, value))
        })
    }

    /// The id of whatever is at `index` now.
    pub fn generation_at(&self, index: u32) -> Option<u32> {
        let entry = self.entries.get(index as usize)?;
        entry.value.as_ref().map(|_| entry.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_kept_too_long_finds_nothing() {
        let mut slab = Slab::default();
        let (index, generation) = slab.insert("first");
        assert_eq!(slab.remove(index, generation), Some("first"));
        let (again, next) = slab.insert("second");
        assert_eq!(again, index);
        assert_ne!(next, generation);
        assert_eq!(slab.get(index, generation), None);
        assert_eq!(slab.remove(index, generation), None);
        assert_eq!(slab.get(again, next), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn entries_that_there_is_room_for_are_not_moved() {
        let mut slab = Slab::with_capacity(100);
        let first = slab.insert(0);
        let place = std::ptr::from_ref(slab.get(first.0, first.1).unwrap());
        for value in 1..100 {
            slab.insert(value);
        }
        assert!(std::ptr::eq(place, slab.get(first.0, first.1).unwrap()));
    }
}
