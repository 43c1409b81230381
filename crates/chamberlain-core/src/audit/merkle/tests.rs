//! Against the published vectors of Certificate Transparency, and against RFC 6962 section 2.1 as
//! it is written, without a thought for speed.

use proptest::prelude::*;

use super::*;

/// The leaves of the vectors that the Certificate Transparency implementations share.
pub(in crate::audit) const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// The root over the first 0, 1, … 8 of them.
pub(in crate::audit) const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// MTH of RFC 6962 section 2.1 over leaf hashes.
pub(in crate::audit) fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let split = many.len().next_power_of_two() / 2;
            node_hash(&naive_root(&many[..split]), &naive_root(&many[split..]))
        }
    }
}

/// Distinct leaf hashes.
pub(in crate::audit) fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

#[test]
fn roots_are_the_published_ones() {
    let mut frontier = Frontier::default();
    assert_eq!(to_hex(&frontier.root()), ROOTS[0]);
    for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
        frontier.append(leaf_hash(leaf));
        assert_eq!(to_hex(&frontier.root()), *root);
    }
}

#[test]
fn every_root_up_to_300_is_the_naive_one() {
    let leaves = leaves(300);
    let mut frontier = Frontier::default();
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(frontier.root(), naive_root(&leaves[..index]));
        frontier.append(*leaf);
    }
}

#[test]
fn completed_nodes_are_roots_of_their_leaves() {
    let leaves = leaves(100);
    let mut frontier = Frontier::default();
    let mut seen = Vec::new();
    for leaf in &leaves {
        frontier.append_with(*leaf, |node, hash| seen.push((node, *hash)));
    }
    for (node, hash) in &seen {
        let first = (node.index << node.level) as usize;
        assert_eq!(*hash, naive_root(&leaves[first..first + (1 << node.level)]));
    }
    let complete: usize = (1..7).map(|level| 100 >> level).sum();
    assert_eq!(seen.len(), complete);
}

#[test]
fn hexadecimal_has_one_spelling() {
    let hash = leaf_hash(b"x");
    assert_eq!(from_hex(to_hex(&hash).as_bytes()), Some(hash));
    assert_eq!(from_hex(to_hex(&hash).to_uppercase().as_bytes()), None);
    assert_eq!(from_hex(&to_hex(&hash).as_bytes()[..63]), None);
}

proptest! {
    #[test]
    fn a_stored_frontier_grows_on(before in 0u64..200, after in 0u64..50) {
        let leaves = leaves(before + after);
        let (first, rest) = leaves.split_at(before as usize);
        let mut frontier = Frontier::default();
        first.iter().for_each(|leaf| frontier.append(*leaf));
        let bytes = frontier.to_bytes();
        let mut again = Frontier::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&again, &frontier);
        rest.iter().for_each(|leaf| again.append(*leaf));
        prop_assert_eq!(again.root(), naive_root(&leaves));
        prop_assert_eq!(again.size(), before + after);
        // A state cut short or made longer is not a state.
        prop_assert!(Frontier::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        prop_assert!(Frontier::from_bytes(&[&bytes[..], &[0; 32]].concat()).is_none());
    }
}
