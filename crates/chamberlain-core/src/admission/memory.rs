//! Who may hold how much of the memory that all request bodies share.
//!
//! A virtual key may hold no more than what it leaves free for others. Alone it gets to one half,
//! two of them to a third each, three to a quarter: nobody takes the last of it, and a key that
//! holds little gets in long after one that holds much is refused.

/// Why a body may not be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// All keys together hold so much.
    All,
    /// This key holds its share.
    Key,
}

/// Whether a key that holds `own` of the `used` bytes may hold `more`, when all may hold `limit`.
///
/// # Errors
/// Whose limit it is.
pub fn may_hold(limit: usize, used: usize, own: usize, more: usize) -> Result<(), Full> {
    let all = used.checked_add(more).filter(|all| *all <= limit).ok_or(Full::All)?;
    if own.saturating_add(more) > limit - all { Err(Full::Key) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes one byte at a time for as long as a key may.
    fn fill(limit: usize, held: &mut [usize], key: usize) {
        while may_hold(limit, held.iter().sum(), held[key], 1).is_ok() {
            held[key] += 1;
        }
    }

    #[test]
    fn keys_that_take_all_they_can_share_evenly_and_leave_a_share() {
        for (keys, share) in [(1, 60), (2, 40), (3, 30), (5, 20)] {
            let mut held = vec![0; keys];
            for round in 0..120 {
                let key = round % keys;
                if may_hold(120, held.iter().sum(), held[key], 1).is_ok() {
                    held[key] += 1;
                }
            }
            assert_eq!(held, vec![share; keys]);
        }
    }

    #[test]
    fn it_is_told_whose_limit_it_is() {
        assert_eq!(may_hold(100, 0, 0, 50), Ok(()));
        assert_eq!(may_hold(100, 0, 0, 51), Err(Full::Key));
        assert_eq!(may_hold(100, 0, 0, 101), Err(Full::All));
        assert_eq!(may_hold(100, 90, 0, 5), Ok(()));
        assert_eq!(may_hold(100, 90, 0, 11), Err(Full::All));
        assert_eq!(may_hold(100, 90, 5, 5), Err(Full::Key));
        assert_eq!(may_hold(100, usize::MAX, 0, 1), Err(Full::All));
    }

    proptest! {
        #[test]
        fn the_limit_holds_and_a_newcomer_always_finds_room(
            limit in 2_usize..4_000,
            asked in prop::collection::vec((0_usize..6, 1_usize..1_000), 0..60),
        ) {
            let mut held = [0; 6];
            for (key, more) in asked {
                if may_hold(limit, held.iter().sum(), held[key], more).is_ok() {
                    held[key] += more;
                }
                let used: usize = held.iter().sum();
                prop_assert!(used <= limit);
                prop_assert!(held.iter().all(|own| *own <= limit / 2));
            }
            // Whatever the others did, somebody who holds nothing gets half of what is free.
            let free = limit - held.iter().sum::<usize>();
            prop_assert_eq!(may_hold(limit, limit - free, 0, free / 2), Ok(()));
            let mut alone = [0];
            fill(limit, &mut alone, 0);
            prop_assert_eq!(alone[0], limit / 2);
        }
    }
}
