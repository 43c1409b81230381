use chamberlain_core::audit::note::{self, VerifierKey};
use proptest::prelude::*;

use super::*;
use crate::keyring::Keyring;
use crate::testing::{Seeded, credential, leaks, secret};

fn master(seed: u64) -> Master {
    Master::from_text(&Master::generate(&Seeded::new(seed))).unwrap()
}

fn passphrase(text: &str) -> Master {
    Master::from_passphrase(&secret(text)).unwrap()
}

fn key(seed: u64) -> (String, UpstreamKey) {
    let text = credential("api03", &Seeded::new(seed));
    let key = UpstreamKey::check(&secret(&text)).unwrap();
    (text, key)
}

fn id(seed: u8) -> UpstreamKeyId {
    UpstreamKeyId::mint([seed; 16])
}

/// As a store would bring it back.
fn stored(header: &VaultHeader) -> VaultHeader {
    serde_json::from_str(&serde_json::to_string(header).unwrap()).unwrap()
}

#[test]
fn a_vault_opens_again_with_all_it_had() {
    let (made, header) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let (text, upstream) = key(3);
    let sealed = made.seal_upstream_key(&id(1), &upstream, &Seeded::new(4));
    let vault = Vault::open(&master(1), &stored(&header)).unwrap();
    let opened = vault.open_upstream_key(&id(1), &sealed).unwrap();
    assert_eq!(opened.expose_header_value(), text.as_bytes());
    assert_eq!(opened.hint(), upstream.hint());
    assert_eq!(opened.fingerprint(), &made.fingerprint(&upstream));
    assert_eq!(vault.audit_public_key(), made.audit_public_key());
    assert_eq!(vault.sign(b"x"), made.sign(b"x"));
    assert_eq!(header.id().len(), 32);
    assert!(!header.wants_passphrase() && !header.is_rewrapping());
}

#[test]
fn no_two_vaults_are_alike() {
    let (one, first) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let (other, second) = Vault::create(&master(1), &Seeded::new(3)).unwrap();
    let (_, upstream) = key(3);
    assert_ne!(one.fingerprint(&upstream), other.fingerprint(&upstream));
    assert_ne!(one.audit_public_key(), other.audit_public_key());
    assert_ne!(first.id(), second.id());
}

#[test]
fn a_fingerprint_is_sixteen_digits_and_one_to_one() {
    let (vault, _) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let prints: std::collections::BTreeSet<_> =
        (0..100).map(|seed| vault.fingerprint(&key(seed).1)).collect();
    assert_eq!(prints.len(), 100);
    for print in prints {
        assert_eq!(print.as_str().len(), 16);
        assert!(print.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}

#[test]
fn the_wrong_master_is_told_from_damage() {
    let (_, header) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let error = Vault::open(&master(9), &header).unwrap_err();
    assert!(matches!(error, VaultError::WrongKey { .. }), "{error}");
    let expected = format!("this is not the master key of vault {}.", &header.id()[..8]);
    assert!(error.to_string().starts_with(&expected), "{error}");
    let damaged = VaultHeader { check: header.check.to_lowercase(), ..header.clone() };
    assert!(matches!(Vault::open(&master(1), &damaged), Err(VaultError::Damaged)));
    let newer = VaultHeader { version: 2, ..header.clone() };
    assert!(matches!(Vault::open(&master(1), &newer), Err(VaultError::Unsupported(2))));
    let error = Vault::open(&passphrase("twelve chars"), &header).unwrap_err();
    assert!(matches!(error, VaultError::WantsKey));
}

#[test]
fn a_passphrase_opens_its_vault() {
    let (made, header) = Vault::create(&passphrase("five words of mine"), &Seeded::new(2)).unwrap();
    assert!(header.wants_passphrase());
    let header = stored(&header);
    let vault = Vault::open(&passphrase("five words of mine\n"), &header).unwrap();
    assert_eq!(vault.audit_public_key(), made.audit_public_key());
    let error = Vault::open(&passphrase("five words of yours"), &header).unwrap_err();
    assert!(matches!(error, VaultError::WrongPassphrase { .. }), "{error}");
    let error = Vault::open(&master(1), &header).unwrap_err();
    assert!(matches!(error, VaultError::WantsPassphrase));
}

#[test]
fn a_changed_header_is_never_taken() {
    let (_, header) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let json = serde_json::to_string(&header).unwrap();
    for (place, byte) in json.bytes().enumerate() {
        let mut changed = json.clone().into_bytes();
        changed[place] = if byte == b'1' { b'2' } else { b'1' };
        // A changed name of a member that is empty anyway changes nothing.
        let Ok(read) = serde_json::from_slice::<VaultHeader>(&changed) else { continue };
        assert!(read == header || Vault::open(&master(1), &read).is_err(), "at {place}");
    }
}

#[test]
fn a_header_with_a_checksum_to_fit_is_still_not_taken() {
    let (_, header) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let (_, other) = Vault::create(&master(1), &Seeded::new(3)).unwrap();
    // The secrets of another vault under the same master key.
    let (fingerprint_key, audit_seed) = (other.fingerprint_key, other.audit_seed);
    for mixed in [
        VaultHeader { fingerprint_key: fingerprint_key.clone(), ..header.clone() },
        VaultHeader { audit_seed: audit_seed.clone(), ..header.clone() },
        VaultHeader { audit_seed: header.fingerprint_key.clone(), ..header.clone() },
        VaultHeader { previous_root: Some(audit_seed), ..header.clone() },
    ] {
        let error = Vault::open(&master(1), &mixed.with_checksum()).unwrap_err();
        assert!(matches!(error, VaultError::Seal(SealError::Damaged { .. })), "{error}");
    }
    let renamed = VaultHeader { id: other.id, ..header }.with_checksum();
    assert!(matches!(Vault::open(&master(1), &renamed), Err(VaultError::WrongKey { .. })));
}

#[test]
fn a_sealed_key_opens_under_its_own_id_only() {
    let (vault, _) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let sealed = vault.seal_upstream_key(&id(1), &key(3).1, &Seeded::new(4));
    let error = vault.open_upstream_key(&id(2), &sealed).unwrap_err();
    assert!(matches!(error, VaultError::Seal(SealError::Damaged { .. })));
    let (stranger, _) = Vault::create(&master(9), &Seeded::new(2)).unwrap();
    let error = stranger.open_upstream_key(&id(1), &sealed).unwrap_err();
    assert!(matches!(error, VaultError::Seal(SealError::OtherRoot { .. })));
}

#[test]
fn a_change_of_the_master_key_survives_a_crash_at_every_step() {
    let entropy = Seeded::new(5);
    let (mut vault, before) = Vault::create(&master(1), &entropy).unwrap();
    let texts: Vec<String> = (0..4).map(|seed| key(seed).0).collect();
    let mut sealed: Vec<Sealed> = (0..4)
        .map(|seed| vault.seal_upstream_key(&id(seed as u8), &key(seed).1, &entropy))
        .collect();
    let public = vault.audit_public_key();
    let print = vault.fingerprint(&key(0).1);
    let all_open = |vault: &Vault, sealed: &[Sealed]| {
        for (seed, (text, sealed)) in texts.iter().zip(sealed).enumerate() {
            let opened = vault.open_upstream_key(&id(seed as u8), sealed).unwrap();
            assert_eq!(opened.expose_header_value(), text.as_bytes());
        }
    };
    // To a passphrase, and the process dies before the new header is stored.
    let new = passphrase("five words of mine");
    vault.begin_rewrapping(&new, &entropy).unwrap();
    vault = Vault::open(&master(1), &before).unwrap();
    all_open(&vault, &sealed);
    let during = vault.begin_rewrapping(&new, &entropy).unwrap();
    assert!(during.is_rewrapping() && during.wants_passphrase());
    assert!(matches!(
        vault.begin_rewrapping(&master(3), &entropy),
        Err(VaultError::RewrappingUnderWay)
    ));
    assert!(matches!(Vault::open(&master(1), &during), Err(VaultError::WantsPassphrase)));
    for step in 0..4u8 {
        // It dies again before each key is stored.
        vault = Vault::open(&new, &stored(&during)).unwrap();
        all_open(&vault, &sealed);
        let place = usize::from(step);
        let rewrapped = vault.rewrap_upstream_key(&id(step), &sealed[place], &entropy);
        sealed[place] = rewrapped.unwrap().unwrap();
        assert!(vault.rewrap_upstream_key(&id(step), &sealed[place], &entropy).unwrap().is_none());
    }
    let after = vault.finish_rewrapping(&during);
    assert!(!after.is_rewrapping());
    vault = Vault::open(&new, &stored(&after)).unwrap();
    all_open(&vault, &sealed);
    assert_eq!((vault.audit_public_key(), vault.fingerprint(&key(0).1)), (public, print));
}

#[test]
fn the_old_root_is_gone_once_the_change_is_finished() {
    let entropy = Seeded::new(5);
    let (mut vault, _) = Vault::create(&master(1), &entropy).unwrap();
    let left = vault.seal_upstream_key(&id(1), &key(1).1, &entropy);
    let during = vault.begin_rewrapping(&master(2), &entropy).unwrap();
    assert!(vault.open_upstream_key(&id(1), &left).is_ok());
    let after = vault.finish_rewrapping(&during);
    let reopened = Vault::open(&master(2), &after).unwrap();
    for vault in [vault, reopened] {
        let error = vault.open_upstream_key(&id(1), &left).unwrap_err();
        assert!(matches!(error, VaultError::Seal(SealError::OtherRoot { .. })));
    }
}

#[test]
fn checkpoints_are_signed_with_a_key_that_others_can_check() {
    let (vault, _) = Vault::create(&master(1), &Seeded::new(2)).unwrap();
    let public = VerifierKey::new("chamberlain.example/audit", &vault.audit_public_key()).unwrap();
    let note = note::sign("text\n", &public, |text| vault.sign(text)).unwrap();
    assert!(note::open(&note, &[public]).is_ok());
}

#[test]
fn nothing_that_is_printed_or_stored_holds_a_secret() {
    let entropy = Seeded::new(7);
    let (vault, header) = Vault::create(&master(1), &entropy).unwrap();
    let (text, upstream) = key(3);
    let sealed = vault.seal_upstream_key(&id(1), &upstream, &entropy);
    let opened = vault.open_upstream_key(&id(1), &sealed).unwrap();
    let ring = Keyring::default();
    let mut printed = format!("{vault:?} {vault:#?} {header:?} {upstream:?} {sealed:?} {opened:?}");
    ring.insert(id(1), opened);
    printed += &format!("{ring:?} {}", vault.fingerprint(&upstream));
    printed += &serde_json::to_string(&(&header, &sealed)).unwrap();
    assert!(!leaks(&printed, &text));
    let seed = vault.audit_key.to_bytes();
    for (name, bytes) in [("seed", seed), ("fingerprint key", *vault.fingerprint_key)] {
        let decimal = format!("{:?}", &bytes[..4]);
        for shown in [hex(&bytes), BASE64.encode(bytes), decimal.trim_matches(['[', ']']).into()] {
            assert!(!printed.contains(&shown), "the {name} is printed");
        }
    }
    let raw = String::from_utf8_lossy(sealed.as_bytes()).into_owned();
    assert!(!leaks(&raw, &text));
}

#[test]
fn no_error_holds_a_secret() {
    let words = "five words of mine";
    let entropy = Seeded::new(7);
    let (vault, header) = Vault::create(&passphrase(words), &entropy).unwrap();
    let (text, upstream) = key(3);
    let sealed = vault.seal_upstream_key(&id(1), &upstream, &entropy);
    let mut broken = sealed.as_bytes().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let broken = Sealed::from_bytes(broken).unwrap();
    let errors = [
        Vault::open(&passphrase("five words of yours"), &header).unwrap_err(),
        Vault::open(&master(1), &header).unwrap_err(),
        vault.open_upstream_key(&id(1), &broken).unwrap_err(),
        vault.open_upstream_key(&id(2), &sealed).unwrap_err(),
        Vault::create(&master(3), &entropy)
            .unwrap()
            .0
            .open_upstream_key(&id(1), &sealed)
            .unwrap_err(),
    ];
    for error in errors {
        let printed = format!("{error} {error:?} {error:#?}");
        assert!(!leaks(&printed, &text) && !printed.contains("five words"), "{printed}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens(master_seed in any::<u64>(), key_seed in any::<u64>()) {
        let entropy = Seeded::new(master_seed ^ 1);
        let (vault, header) = Vault::create(&master(master_seed), &entropy).unwrap();
        let (text, upstream) = key(key_seed);
        let id = UpstreamKeyId::new(format!("uk_{key_seed}"));
        let sealed = vault.seal_upstream_key(&id, &upstream, &entropy);
        let vault = Vault::open(&master(master_seed), &header).unwrap();
        let opened = vault.open_upstream_key(&id, &sealed).unwrap();
        prop_assert_eq!(opened.expose_header_value(), text.as_bytes());
    }
}
