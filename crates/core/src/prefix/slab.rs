//! A slab: storage for many small cells of one type, addressed by number.

/// The null link.
pub(super) const NONE: u32 = u32::MAX;

/// Cells that are allocated together.
const CHUNK: usize = 512;

/// A cell that stores the link of the free list while it is free.
pub(super) trait Cell {
    fn free(next: u32) -> Self;
    /// The next free cell; only called on free cells.
    fn next_free(&self) -> u32;
}

/// A growing array with a free list. It grows by whole chunks and never moves a cell, so that no insertion takes time
/// proportional to the number of cells.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    /// Cells created so far, free ones included.
    made: usize,
    used: usize,
    free: u32,
}

impl<T: Cell> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), made: 0, used: 0, free: NONE }
    }

    pub(super) const fn len(&self) -> usize {
        self.used
    }

    /// Bytes allocated for cells, whether used or free.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>()
    }

    /// Most bytes that this number of cells can take.
    pub(super) const fn max_bytes(cells: usize) -> usize {
        cells.div_ceil(CHUNK) * CHUNK * size_of::<T>()
    }

    pub(super) fn add(&mut self, cell: T) -> u32 {
        self.used += 1;
        if self.free != NONE {
            let id = self.free;
            self.free = self[id].next_free();
            self[id] = cell;
            return id;
        }
        let id = self.made;
        if id.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[id / CHUNK].push(cell);
        self.made += 1;
        u32::try_from(id).unwrap_or(NONE)
    }

    pub(super) fn remove(&mut self, id: u32) {
        self[id] = T::free(self.free);
        self.free = id;
        self.used -= 1;
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }
}

/// A cell that is an array.
#[derive(Clone, Debug)]
pub(super) enum Array<T> {
    Used(Box<[T]>),
    Free(u32),
}

impl<T> Array<T> {
    pub(super) fn as_slice(&self) -> &[T] {
        match self {
            Self::Used(items) => items,
            Self::Free(_) => &[],
        }
    }

    pub(super) fn heap(&self) -> usize {
        size_of_val(self.as_slice())
    }
}

impl<T> Cell for Array<T> {
    fn free(next: u32) -> Self {
        Self::Free(next)
    }

    fn next_free(&self) -> u32 {
        match self {
            Self::Used(_) => NONE,
            Self::Free(next) => *next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BlockHash;

    #[test]
    fn freed_places_are_used_again_and_chunks_are_counted() {
        let mut slab = Slab::new();
        let array = |length: usize| Array::Used(vec![BlockHash(7); length].into());
        let ids: Vec<u32> = (0..CHUNK + 1).map(|length| slab.add(array(length))).collect();
        assert_eq!((slab.len(), slab.bytes()), (CHUNK + 1, 2 * CHUNK * size_of::<Array<BlockHash>>()));
        assert_eq!(Slab::<Array<BlockHash>>::max_bytes(CHUNK + 1), slab.bytes());
        slab.remove(ids[3]);
        slab.remove(ids[9]);
        assert_eq!((slab.add(array(1)), slab.add(array(2))), (ids[9], ids[3]));
        assert_eq!(slab[ids[3]].as_slice().len(), 2);
        assert_eq!((slab.len(), slab.bytes()), (CHUNK + 1, 2 * CHUNK * size_of::<Array<BlockHash>>()));
        assert_eq!(size_of::<Array<BlockHash>>(), 16, "the variant costs nothing");
    }
}
