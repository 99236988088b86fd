//! The secret of block hashes.

use twox_hash::XxHash3_64;

/// Bytes of an XXH3 secret.
const SECRET: usize = 192;

/// The secret that a process hashes prompts with. Who does not know it cannot make prompts whose hashes collide or repeat, nor
/// search a list of hashes for a known prompt.
#[derive(Clone)]
pub struct BlockKey {
    secret: [u8; SECRET],
    /// The initial state of every chain.
    pub(super) state: u64,
}

impl BlockKey {
    /// The key from two random numbers.
    #[must_use]
    pub fn new(random: [u64; 2]) -> Self {
        let [seed, salt] = random;
        let word = |number: u64| {
            let mut input = [0; 16];
            input[..8].copy_from_slice(&salt.to_le_bytes());
            input[8..].copy_from_slice(&number.to_le_bytes());
            XxHash3_64::oneshot_with_seed(seed, &input)
        };
        let mut secret = [0; SECRET];
        for (number, bytes) in (0_u64..).zip(secret.as_chunks_mut::<8>().0) {
            *bytes = word(number).to_le_bytes();
        }
        Self { secret, state: word(u64::MAX) }
    }

    /// The keyed hash of some bytes.
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        // It fails for a secret that is too short only.
        XxHash3_64::oneshot_with_secret(&self.secret, bytes).unwrap_or_default()
    }
}

/// Without the secret.
impl std::fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlockKey")
    }
}
