use proptest::prelude::*;

use super::*;
use crate::testing::Seeded;

fn root(seed: u8) -> Root {
    Root::new(Zeroizing::new([seed; 32]))
}

const PLACE: Place<'_> = Place { purpose: Purpose::UpstreamKey, id: "uk_1" };

proptest! {
    #[test]
    fn what_is_sealed_opens_and_only_in_its_place(
        secret in prop::collection::vec(any::<u8>(), 0..200),
        id in "\\PC{0,20}",
        other in "\\PC{0,20}",
        seed in any::<u64>(),
    ) {
        let entropy = Seeded::new(seed);
        let place = Place { purpose: Purpose::UpstreamKey, id: &id };
        let sealed = seal(&root(1), place, &secret, &entropy);
        prop_assert_eq!(&*open(&root(1), place, &sealed).unwrap(), &secret);
        let again = Sealed::from_bytes(sealed.as_bytes().to_vec()).unwrap();
        prop_assert_eq!(&again, &sealed);
        let elsewhere = Place { id: &other, ..place };
        prop_assert_eq!(open(&root(1), elsewhere, &sealed).is_ok(), other == id);
        let otherwise = Place { purpose: Purpose::AuditSeed, ..place };
        let damaged = SealError::Damaged { purpose: Purpose::AuditSeed, id: id.clone() };
        prop_assert_eq!(open(&root(1), otherwise, &sealed), Err(damaged));
        let root_id = hex(&root(1).id);
        prop_assert_eq!(open(&root(2), place, &sealed), Err(SealError::OtherRoot { root_id }));
    }

    #[test]
    fn a_new_root_opens_what_was_rewrapped(secret in any::<[u8; 40]>(), seed in any::<u64>()) {
        let entropy = Seeded::new(seed);
        let (old, new) = (root(1), root(2));
        let sealed = seal(&old, PLACE, &secret, &entropy);
        let again = rewrap(&old, &new, PLACE, &sealed, &entropy).unwrap();
        prop_assert_eq!(&open(&new, PLACE, &again).unwrap()[..], &secret);
        prop_assert!(new.sealed(&again) && old.sealed(&sealed));
        prop_assert_eq!(again.body(), sealed.body());
        prop_assert!(open(&old, PLACE, &again).is_err());
        prop_assert!(rewrap(&new, &old, PLACE, &sealed, &entropy).is_err());
    }
}

#[test]
fn every_changed_bit_is_refused() {
    let sealed = seal(&root(1), PLACE, b"a secret", &Seeded::new(1));
    for place in 0..sealed.0.len() {
        for bit in 0..8 {
            let mut bytes = sealed.0.clone();
            bytes[place] ^= 1 << bit;
            let opened = Sealed::from_bytes(bytes).and_then(|sealed| {
                // What does not open is not rewrapped into something that looks whole.
                assert!(rewrap(&root(1), &root(2), PLACE, &sealed, &Seeded::new(2)).is_err());
                open(&root(1), PLACE, &sealed)
            });
            let error = opened.unwrap_err();
            match place {
                0..3 => assert_eq!(error, SealError::Form),
                3..5 => assert!(matches!(error, SealError::Unsupported { .. })),
                5..HEAD => assert!(matches!(error, SealError::OtherRoot { .. })),
                _ => assert!(matches!(error, SealError::Damaged { .. }), "byte {place}: {error}"),
            }
        }
    }
}

#[test]
fn every_cut_or_longer_text_is_refused() {
    let sealed = seal(&root(1), PLACE, b"a secret", &Seeded::new(1));
    let opens = |bytes: Vec<u8>| {
        Sealed::from_bytes(bytes).is_ok_and(|sealed| open(&root(1), PLACE, &sealed).is_ok())
    };
    assert!(opens(sealed.0.clone()));
    for length in 0..sealed.0.len() {
        assert!(!opens(sealed.0[..length].to_vec()), "{length}");
    }
    assert!(!opens([&sealed.0[..], b"x"].concat()));
}

#[test]
fn halves_of_two_sealed_secrets_do_not_fit() {
    let entropy = Seeded::new(1);
    let (one, other) =
        (seal(&root(1), PLACE, b"first", &entropy), seal(&root(1), PLACE, b"other", &entropy));
    let mixed = Sealed([&one.0[..BODY], other.body()].concat());
    assert!(matches!(open(&root(1), PLACE, &mixed), Err(SealError::Damaged { .. })));
}

#[test]
fn the_same_secret_is_never_sealed_alike() {
    let entropy = Seeded::new(1);
    let sealed = [(); 2].map(|()| seal(&root(1), PLACE, b"a secret", &entropy));
    let same = sealed[0].0.iter().zip(&sealed[1].0).filter(|(a, b)| a == b).count();
    assert!(same < HEAD + 12, "{same} bytes are the same");
}

#[test]
fn the_format_is_pinned() {
    // Whatever changes this locks everything that was ever sealed.
    let sealed = seal(&root(1), PLACE, b"a secret", &Seeded::new(1));
    let expected = [
        "4348530101fe036cf6ad125b6eb9b501d1d854bb7180021590ff0b4dc3a53c36d76cec99e0c0",
        "2977d69227f265622ecdde987043f2f45fc4e2dc96d9bc3974d8476f01b6ea4083c110db1d44",
        "fb5956e3ea9cbfa650758527120fbbe785a83d7e35de181749966761748e5c43cb9f4dd46ae3",
        "9836bc5e64994ba22ef6c5f5777bab3c355669",
    ];
    assert_eq!(hex(&sealed.0), expected.concat());
}

#[test]
fn the_json_form_is_read_back() {
    let sealed = seal(&root(1), PLACE, b"a secret", &Seeded::new(1));
    let json = serde_json::to_string(&sealed).unwrap();
    assert_eq!(serde_json::from_str::<Sealed>(&json).unwrap(), sealed);
    for bad in ["\"\"", "\"!\"", "\"Q0hT\"", "3"] {
        assert!(serde_json::from_str::<Sealed>(bad).is_err(), "{bad}");
    }
}

#[test]
fn nothing_is_printed() {
    let sealed = seal(&root(7), PLACE, b"plain text", &Seeded::new(1));
    let printed = format!("{:?} {sealed:?} {sealed:#?} {PLACE:?}", root(7));
    assert!(!printed.contains("plain") && !printed.contains("0707"), "{printed}");
    let error = open(&root(8), PLACE, &sealed).unwrap_err();
    assert!(error.to_string().starts_with("sealed under another master key (root "), "{error}");
}
