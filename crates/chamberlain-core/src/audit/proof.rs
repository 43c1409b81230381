//! Proofs over the tree of RFC 6962: that a leaf is in it, and that it only grew.
//!
//! Making a proof reads hashes of complete subtrees ([`Node`]) from wherever they are kept;
//! checking one needs nothing but the proof. Checking follows RFC 9162 sections 2.1.3.2 and
//! 2.1.4.2, making follows RFC 6962 sections 2.1.1 and 2.1.2.

use std::ops::Range;

use super::merkle::{Hash, Node, empty_root, node_hash};

/// Why a proof was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError<E> {
    /// The tree has no such leaf, or the older size is larger than the newer.
    #[error("{wanted} lies outside of a log of {size} records")]
    OutOfRange {
        /// The leaf or older size asked for.
        wanted: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A stored hash could not be read.
    #[error("a hash of the tree could not be read: {0}")]
    Read(E),
}

/// The hashes that lead from leaf `index` to the root of the tree of `size` leaves, the leaf's
/// sibling first. `read` answers with the hash of a complete subtree.
///
/// # Errors
/// When there is no such leaf, or when `read` fails.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    mut read: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProofError<E>> {
    if index >= size {
        return Err(ProofError::OutOfRange { wanted: index, size });
    }
    let mut siblings = Vec::new();
    let mut range = 0..size;
    while range.end - range.start > 1 {
        let middle = split(&range);
        let (inside, sibling) = if index < middle {
            (range.start..middle, middle..range.end)
        } else {
            (middle..range.end, range.start..middle)
        };
        siblings.push(sibling);
        range = inside;
    }
    siblings.into_iter().rev().map(|range| root_of(range, &mut read)).collect()
}

/// Whether `proof` shows that `leaf` is number `index` of the `size` leaves under `root`.
pub fn includes(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            // On the right edge, levels without a sibling are skipped.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// The hashes that show that the tree of `new` leaves begins with the tree of `old` leaves.
///
/// # Errors
/// When `old` is larger than `new`, or when `read` fails.
pub fn consistency<E>(
    old: u64,
    new: u64,
    mut read: impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProofError<E>> {
    if old > new {
        return Err(ProofError::OutOfRange { wanted: old, size: new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let mut range = 0..new;
    while range.end != old {
        let middle = split(&range);
        let (inside, outside) = if old <= middle {
            (range.start..middle, middle..range.end)
        } else {
            (middle..range.end, range.start..middle)
        };
        parts.push(outside);
        range = inside;
    }
    // The old tree itself is known to whoever checks, unless it is only a part on the right.
    if range.start != 0 {
        parts.push(range);
    }
    parts.into_iter().rev().map(|range| root_of(range, &mut read)).collect()
}

/// Whether `proof` shows that the tree of `new` leaves under `new_root` begins with the tree of
/// `old` leaves under `old_root`.
pub fn is_consistent(old: u64, new: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> bool {
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    if old > new {
        return false;
    }
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // An old tree that is one complete subtree is left out of the proof.
    let (mut old_hash, rest) = match proof.split_first() {
        _ if old.is_power_of_two() => (*old_root, proof),
        Some((first, rest)) => (*first, rest),
        None => return false,
    };
    let mut new_hash = old_hash;
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// Where the tree over `range` (of two leaves or more) parts: after the largest power of two that
/// leaves something on the right.
fn split(range: &Range<u64>) -> u64 {
    range.start + (1 << (range.end - range.start - 1).ilog2())
}

/// The root over `range`, put together from complete subtrees.
fn root_of<E>(
    range: Range<u64>,
    read: &mut impl FnMut(Node) -> Result<Hash, E>,
) -> Result<Hash, ProofError<E>> {
    let count = range.end - range.start;
    if count.is_power_of_two() {
        let level = count.ilog2() as u8;
        return read(Node { level, index: range.start >> level }).map_err(ProofError::Read);
    }
    let middle = split(&range);
    let left = root_of(range.start..middle, read)?;
    let right = root_of(middle..range.end, read)?;
    Ok(node_hash(&left, &right))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::audit::merkle::tests::{LEAVES, ROOTS, leaves, naive_root};
    use crate::audit::merkle::{from_hex, leaf_hash};

    fn reader(leaves: &[Hash]) -> impl FnMut(Node) -> Result<Hash, Infallible> {
        move |node| {
            let first = (node.index << node.level) as usize;
            Ok(naive_root(&leaves[first..first + (1 << node.level)]))
        }
    }

    fn hashes(hex: &[&str]) -> Vec<Hash> {
        hex.iter().map(|hex| from_hex(hex.as_bytes()).unwrap()).collect()
    }

    fn published() -> Vec<Hash> {
        LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect()
    }

    #[test]
    fn inclusion_proofs_are_the_published_ones() {
        let leaves = published();
        let proof = |index, size| inclusion(index, size, reader(&leaves)).unwrap();
        assert_eq!(proof(0, 1), hashes(&[]));
        assert_eq!(
            proof(0, 8),
            hashes(&[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ])
        );
        assert_eq!(
            proof(5, 8),
            hashes(&[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ])
        );
    }

    #[test]
    fn consistency_proofs_are_the_published_ones() {
        let leaves = published();
        let proof = |old, new| consistency(old, new, reader(&leaves)).unwrap();
        assert_eq!(proof(1, 1), hashes(&[]));
        assert_eq!(
            proof(6, 8),
            hashes(&[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ])
        );
        assert_eq!(
            proof(2, 5),
            hashes(&[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ])
        );
        let root = |size: usize| from_hex(ROOTS[size].as_bytes()).unwrap();
        assert!(is_consistent(6, 8, &root(6), &root(8), &proof(6, 8)));
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_and_no_other() {
        for size in 1..40 {
            let leaves = leaves(size);
            let root = naive_root(&leaves);
            for index in 0..size {
                let proof = inclusion(index, size, reader(&leaves)).unwrap();
                for other in 0..size {
                    let leaf = &leaves[other as usize];
                    let holds = includes(index, size, leaf, &proof, &root);
                    assert_eq!(holds, other == index, "{index} of {size}, leaf {other}");
                    let holds = includes(other, size, &leaves[index as usize], &proof, &root);
                    assert_eq!(holds, other == index, "{index} of {size}, at {other}");
                }
                refuses_damage(&proof, |proof| {
                    includes(index, size, &leaves[index as usize], proof, &root)
                });
            }
        }
    }

    #[test]
    fn every_growth_of_every_small_tree_is_proved_and_no_other() {
        let leaves = leaves(40);
        let root = |size: u64| naive_root(&leaves[..size as usize]);
        for new in 0..=40 {
            for old in 0..=new {
                let proof = consistency(old, new, reader(&leaves)).unwrap();
                assert!(is_consistent(old, new, &root(old), &root(new), &proof));
                refuses_damage(&proof, |proof| {
                    is_consistent(old, new, &root(old), &root(new), proof)
                });
                let other = leaf_hash(b"other");
                assert!(!is_consistent(old, new, &other, &root(new), &proof));
                // Nothing is claimed of an empty tree but that it was empty.
                assert!(old == 0 || !is_consistent(old, new, &root(old), &other, &proof));
            }
        }
    }

    fn refuses_damage(proof: &[Hash], holds: impl Fn(&[Hash]) -> bool) {
        assert!(holds(proof));
        assert!(!holds(&[proof, &[[7; 32]]].concat()), "longer");
        assert!(proof.is_empty() || !holds(&proof[1..]), "shorter in front");
        assert!(proof.is_empty() || !holds(&proof[..proof.len() - 1]), "shorter behind");
        for place in 0..proof.len() {
            let mut damaged = proof.to_vec();
            damaged[place][31] ^= 1;
            assert!(!holds(&damaged), "flipped at {place}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_proved() {
        let leaves = leaves(5);
        let error = inclusion(5, 5, reader(&leaves)).unwrap_err();
        assert_eq!(error.to_string(), "5 lies outside of a log of 5 records");
        assert!(consistency(6, 5, reader(&leaves)).is_err());
        let failing = inclusion(1, 5, |_| Err("disk")).unwrap_err();
        assert_eq!(failing, ProofError::Read("disk"));
        assert!(!includes(5, 5, &leaves[4], &[], &naive_root(&leaves)));
        assert!(!is_consistent(6, 5, &leaves[0], &leaves[0], &[]));
    }
}
