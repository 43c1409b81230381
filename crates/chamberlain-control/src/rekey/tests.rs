use std::path::Path;
use std::sync::Arc;

use chamberlain_core::id::UpstreamKeyId;
use chamberlain_core::secret::Secret;
use chamberlain_store::{Credential, OpenOptions, UpstreamKey, UpstreamKeyState};
use chamberlain_vault::admin_key::AdminKey;
use chamberlain_vault::upstream_key::UpstreamKey as VaultKey;

use super::*;
use crate::error::ErrorCode;
use crate::testing::{Dice, Hands, NOON, real_key};

static DICE: Dice = Dice::new();

fn a_master() -> Master {
    Master::from_text(&Master::generate(&DICE)).unwrap()
}

fn open_store(folder: &Path) -> Store {
    let clock = Arc::new(Hands::at(NOON));
    let options =
        OpenOptions { clock, boot_id: "one".to_owned(), read_only: false, bytes_max: None };
    Store::open(&folder.join("chamberlain.db"), options).unwrap()
}

/// A vault with three upstream keys, one of them erased, and an admin key.
fn house(folder: &Path, master: &Master) -> Store {
    let store = open_store(folder);
    let (vault, header) = Vault::create(master, &DICE).unwrap();
    let header = serde_json::to_vec(&header).unwrap();
    let key = |letter: char| {
        let id = UpstreamKeyId::new(format!("uk_{letter}"));
        let key = VaultKey::check(&Secret::new(real_key(letter))).unwrap();
        let row = UpstreamKey {
            id: id.clone(),
            name: format!("key {letter}"),
            environment: None,
            state: UpstreamKeyState::Staged,
            fingerprint: vault.fingerprint(&key).to_string(),
            hint: key.hint(),
            created_at: NOON,
            removed_at: None,
            last_used_at: None,
            profile: Default::default(),
        };
        (row, vault.seal_upstream_key(&id, &key, &DICE).as_bytes().to_vec())
    };
    let keys = ['a', 'b', 'c'].map(key);
    let text = format!("sk-ant-{}-{}AA", "admin01", "d".repeat(93));
    let admin = AdminKey::check(&Secret::new(text)).unwrap();
    let admin_sealed = vault.seal_admin_key(&admin, &DICE);
    let credential = Credential {
        name: ADMIN.to_owned(),
        fingerprint: vault.admin_fingerprint(&admin).to_string(),
        hint: admin.hint(),
        created_at: NOON,
    };
    store
        .change(Principal::Chamberlain, move |change| {
            change.put_meta(VAULT_HEADER, &header)?;
            for (row, sealed) in &keys {
                change.insert_upstream_key(row, sealed)?;
            }
            change.revoke_upstream_key(&UpstreamKeyId::new("uk_b"))?;
            change.put_credential(&credential, admin_sealed.as_bytes())?;
            change.audit("vault.create", "vault", &Facts::default())?;
            Ok(())
        })
        .unwrap();
    store
}

fn vault_of(store: &Store, master: &Master) -> Result<Vault, VaultError> {
    Vault::open(master, &header(store).unwrap())
}

/// The fingerprints of everything sealed, opened.
fn prints(store: &Store, master: &Master) -> Vec<String> {
    let vault = vault_of(store, master).unwrap();
    let all = store.all_sealed().unwrap();
    let print = |(place, bytes): &(SealedPlace, Vec<u8>)| {
        open(&vault, place, bytes).unwrap().fingerprint().to_string()
    };
    all.iter().map(print).collect()
}

#[test]
fn everything_opens_with_the_new_key_and_nothing_with_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (a_master(), a_master());
    let store = house(folder.path(), &old);
    let before = prints(&store, &old);
    let vault = vault_of(&store, &old).unwrap();
    let signs = vault.audit_public_key();
    let done = rekey(&store, vault, &new, &DICE, Principal::Chamberlain).unwrap();
    assert_eq!(done, Rekeyed { upstream_keys: 2, credentials: 1, passphrase: false });
    assert_eq!(prints(&store, &new), before);
    assert_eq!(vault_of(&store, &new).unwrap().audit_public_key(), signs);
    assert!(matches!(vault_of(&store, &old), Err(VaultError::WrongKey { .. })));
    assert!(!header(&store).unwrap().is_rewrapping(), "the old key is still sealed in it");
}

#[test]
fn a_passphrase_can_take_the_place_of_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let old = a_master();
    let store = house(folder.path(), &old);
    let words = Secret::new("five random words are good".to_owned());
    let new = Master::from_passphrase(&words).unwrap();
    let vault = vault_of(&store, &old).unwrap();
    let before = prints(&store, &old);
    assert!(rekey(&store, vault, &new, &DICE, Principal::Chamberlain).unwrap().passphrase);
    assert_eq!(prints(&store, &new), before);
}

#[test]
fn what_does_not_open_stops_it_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let old = a_master();
    let store = house(folder.path(), &old);
    let mut sealed = store.all_sealed().unwrap();
    let last = sealed[1].1.len() - 1;
    sealed[1].1[last] ^= 1;
    let bytes = store.meta(VAULT_HEADER).unwrap().unwrap();
    let damaged = sealed.clone();
    store
        .change(Principal::Chamberlain, move |change| {
            change.reseal_all(VAULT_HEADER, &bytes, &damaged)?;
            change.audit("test.damaged", "vault", &Facts::default()).map(drop)
        })
        .unwrap();
    let vault = vault_of(&store, &old).unwrap();
    let refused = rekey(&store, vault, &a_master(), &DICE, Principal::Chamberlain).unwrap_err();
    assert!(refused.message.contains("does not open"), "{}", refused.message);
    assert_eq!(store.all_sealed().unwrap(), sealed);
    vault_of(&store, &old).unwrap();
}

#[test]
fn the_same_key_again_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let old = a_master();
    let store = house(folder.path(), &old);
    let vault = vault_of(&store, &old).unwrap();
    let refused = rekey(&store, vault, &old, &DICE, Principal::Chamberlain).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
}

/// R-CU-04 wants ten thousand within five seconds; what it took is printed, and never judged here.
#[test]
#[ignore = "a measurement, run by hand"]
fn ten_thousand_keys() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (a_master(), a_master());
    let store = house(folder.path(), &old);
    let vault = vault_of(&store, &old).unwrap();
    let mut rows = Vec::new();
    for number in 0..10_000 {
        let id = UpstreamKeyId::new(format!("uk_{number}"));
        let text = format!("sk-ant-{}-{number:093}AA", "api03");
        let key = VaultKey::check(&Secret::new(text)).unwrap();
        let row = UpstreamKey {
            id: id.clone(),
            name: format!("key {number}"),
            environment: None,
            state: UpstreamKeyState::Staged,
            fingerprint: vault.fingerprint(&key).to_string(),
            hint: key.hint(),
            created_at: NOON,
            removed_at: None,
            last_used_at: None,
            profile: Default::default(),
        };
        rows.push((row, vault.seal_upstream_key(&id, &key, &DICE).as_bytes().to_vec()));
    }
    store
        .change(Principal::Chamberlain, move |change| {
            for (row, sealed) in &rows {
                change.insert_upstream_key(row, sealed)?;
            }
            change.audit("test.filled", "vault", &Facts::default()).map(drop)
        })
        .unwrap();
    let began = std::time::Instant::now();
    let done = rekey(&store, vault, &new, &DICE, Principal::Chamberlain).unwrap();
    println!("{} keys in {} ms", done.upstream_keys, began.elapsed().as_millis());
    assert_eq!(done.upstream_keys, 10_002);
}
