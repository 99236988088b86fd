//! The list of one holder's holds in the order of their eviction.

use super::nodes::{Hold, U24};
use super::slab::{NONE, Slab};

/// A doubly linked list through the holds of one holder, from the most to the least recently used.
#[derive(Clone, Copy, Debug)]
pub(super) struct LruList {
    pub(super) newest: u32,
    pub(super) oldest: u32,
}

impl Default for LruList {
    fn default() -> Self {
        Self { newest: NONE, oldest: NONE }
    }
}

impl LruList {
    /// Links a hold that is in no list as the most recently used.
    pub(super) fn push_newest(&mut self, holds: &mut Slab<Hold>, id: u32) {
        holds[id].older = U24::new(self.newest);
        holds[id].newer = U24::new(NONE);
        match self.newest {
            NONE => self.oldest = id,
            newest => holds[newest].newer = U24::new(id),
        }
        self.newest = id;
    }

    /// Links a hold that is in no list behind one of this list, as the next older one.
    pub(super) fn push_behind(&mut self, holds: &mut Slab<Hold>, id: u32, newer: u32) {
        let older = holds[newer].older.get();
        holds[id].older = U24::new(older);
        holds[id].newer = U24::new(newer);
        holds[newer].older = U24::new(id);
        match older {
            NONE => self.oldest = id,
            older => holds[older].newer = U24::new(id),
        }
    }

    pub(super) fn unlink(&mut self, holds: &mut Slab<Hold>, id: u32) {
        let (newer, older) = (holds[id].newer.get(), holds[id].older.get());
        match newer {
            NONE => self.newest = older,
            newer => holds[newer].older = U24::new(older),
        }
        match older {
            NONE => self.oldest = newer,
            older => holds[older].newer = U24::new(newer),
        }
    }
}
