//! Which upstream keys calls are on their way with: from the moment a key is chosen for a call, over
//! every wait and every attempt, to the last byte of its answer. A key that is to be switched off
//! waits until there are none.

use std::sync::Arc;

use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::quick::QuickMap;
use parking_lot::Mutex;

/// Every upstream key that calls were made with.
#[derive(Default)]
pub(crate) struct Uses {
    keys: Mutex<QuickMap<UpstreamKeyId, Use>>,
}

/// Held by a call for as long as it is on its way with a key.
pub(crate) type Use = Arc<()>;

impl Uses {
    /// Counts a call, until what it is given is dropped.
    pub(crate) fn begin(&self, key: &UpstreamKeyId) -> Use {
        let mut keys = self.keys.lock();
        if let Some(held) = keys.get(key) {
            return held.clone();
        }
        let held = Use::default();
        keys.insert(key.clone(), held.clone());
        held
    }

    /// Calls on their way with a key.
    pub(crate) fn of(&self, key: &UpstreamKeyId) -> u64 {
        // One is the table's own.
        self.keys.lock().get(key).map_or(0, |held| Arc::strong_count(held) as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_use_until_the_last_call_lets_it_go() {
        let uses = Uses::default();
        let (one, other) = (UpstreamKeyId::new("uk_1"), UpstreamKeyId::new("uk_2"));
        assert_eq!(uses.of(&one), 0);
        let (first, second) = (uses.begin(&one), uses.begin(&one));
        assert_eq!((uses.of(&one), uses.of(&other)), (2, 0));
        drop(first);
        assert_eq!(uses.of(&one), 1);
        drop(second);
        assert_eq!(uses.of(&one), 0);
    }
}
