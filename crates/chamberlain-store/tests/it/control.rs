//! The control plane's nouns: keys, overrides, effects.

use chamberlain_core::admission::key::{KeyState, VirtualKey, mint};
use chamberlain_core::admission::policy::Policy;
use chamberlain_core::id::{EnvironmentName, UpstreamKeyId};
use chamberlain_core::keys::finding::{Finding, FindingKind};
use chamberlain_core::keys::profile::Profile;
use chamberlain_core::ledger::account::Scope;
use chamberlain_core::money::Money;
use chamberlain_core::overrides::{Override, Overrides};
use chamberlain_core::record::Severity;
use chamberlain_core::snapshot::{Budgets, Limits, Pause};
use chamberlain_core::time::Timestamp;
use chamberlain_store::{
    Change, Credential, EffectState, Facts, NOTIFY, SealedPlace, Store, StoreFault, UpstreamKey,
    UpstreamKeyState,
};

use crate::support::*;

/// Makes a change with a record.
fn change<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Change<'_>) -> Result<T, StoreFault> + Send + 'static,
) -> Result<T, StoreFault> {
    store.change(actor(), |change| {
        let answer = work(change)?;
        change.audit("test.changed", "test", &Facts::default())?;
        Ok(answer)
    })
}

fn key(seed: u8, name: &str) -> VirtualKey {
    let minted = mint([seed; 16], [seed; 43]);
    VirtualKey {
        id: minted.id,
        name: name.into(),
        environment: EnvironmentName::new("production"),
        secret_hash: minted.secret_hash,
        policy: Policy { models_allow: vec!["claude-*".into()], ..Policy::default() },
        budgets: Budgets { daily: Some(Money::from_pico(1)), monthly: None },
        limits: Limits { concurrency: Some(3), ..Limits::default() },
        operation: Some("translation".into()),
        expires_at: Some(now().plus_ms(1)),
        state: KeyState::Active,
        pause: Some(Pause {
            since: now(),
            until: None,
            by: "ada".into(),
            reason: "why".into(),
            ends_calls: false,
        }),
        test_mode: true,
        created_at: now().plus_ms(i64::from(seed)),
    }
}

fn insert(store: &Store, key: &VirtualKey) -> Result<(), StoreFault> {
    let key = key.clone();
    change(store, move |change| change.insert_virtual_key(&key))
}

fn save(store: &Store, key: &VirtualKey) -> Result<(), StoreFault> {
    let key = key.clone();
    change(store, move |change| change.save_virtual_key(&key))
}

#[test]
fn a_virtual_key_is_read_back_whole() {
    let house = House::new();
    let store = house.open();
    let (first, mut second) = (key(1, "ci"), key(2, "web"));
    insert(&store, &first).unwrap();
    insert(&store, &second).unwrap();
    assert_eq!(store.virtual_keys().unwrap(), [second.clone(), first.clone()]);
    second.state = KeyState::Frozen;
    second.pause = None;
    second.policy = Policy::default();
    save(&store, &second).unwrap();
    assert_eq!(store.virtual_keys().unwrap(), [second, first]);
}

#[test]
fn a_name_is_taken_until_its_key_is_revoked() {
    let house = House::new();
    let store = house.open();
    let mut first = key(1, "ci");
    insert(&store, &first).unwrap();
    let fault = insert(&store, &key(2, "ci")).unwrap_err();
    assert!(fault.to_string().contains("\"ci\" is in use already"), "{fault}");
    first.state = KeyState::Revoked;
    save(&store, &first).unwrap();
    insert(&store, &key(2, "ci")).unwrap();
    first.state = KeyState::Active;
    let fault = save(&store, &first).unwrap_err();
    assert!(matches!(fault, StoreFault::Conflict(_)), "revoked is for good: {fault}");
    let fault = save(&store, &key(3, "nobody")).unwrap_err();
    assert!(matches!(fault, StoreFault::Missing(_)), "{fault}");
}

fn upstream(id: &str, environment: Option<&str>, state: UpstreamKeyState) -> UpstreamKey {
    UpstreamKey {
        id: UpstreamKeyId::new(id),
        name: format!("key {id}"),
        environment: environment.map(EnvironmentName::new),
        state,
        fingerprint: format!("print of {id}"),
        hint: "sk-ant-…xyz".into(),
        created_at: now(),
        removed_at: None,
        last_used_at: None,
        profile: Profile::default(),
    }
}

fn hold(store: &Store, key: UpstreamKey) -> Result<(), StoreFault> {
    let sealed = format!("sealed {}", key.id).into_bytes();
    change(store, move |change| change.insert_upstream_key(&key, &sealed))
}

fn states(store: &Store) -> Vec<(String, UpstreamKeyState)> {
    let keys = store.upstream_keys().unwrap();
    keys.into_iter().map(|key| (key.id.to_string(), key.state)).collect()
}

#[test]
fn one_upstream_key_is_current_per_environment() {
    use UpstreamKeyState::{Current, Previous, Staged};
    let house = House::new();
    let store = house.open();
    hold(&store, upstream("uk_a", Some("production"), Current)).unwrap();
    hold(&store, upstream("uk_b", None, Current)).unwrap();
    hold(&store, upstream("uk_c", Some("production"), Current)).unwrap();
    hold(&store, upstream("uk_d", None, Staged)).unwrap();
    let expected = [("uk_a", Previous), ("uk_b", Current), ("uk_c", Current), ("uk_d", Staged)];
    assert_eq!(states(&store), expected.map(|(id, state)| (id.to_owned(), state)));
    change(&store, |change| change.promote_upstream_key(&UpstreamKeyId::new("uk_d"))).unwrap();
    let expected = [("uk_a", Previous), ("uk_b", Previous), ("uk_c", Current), ("uk_d", Current)];
    assert_eq!(states(&store), expected.map(|(id, state)| (id.to_owned(), state)));
}

#[test]
fn a_key_is_held_once_and_its_seal_is_erased_with_it() {
    let house = House::new();
    let store = house.open();
    let id = UpstreamKeyId::new("uk_a");
    hold(&store, upstream("uk_a", None, UpstreamKeyState::Current)).unwrap();
    assert_eq!(store.sealed_upstream_key(&id).unwrap().unwrap(), b"sealed uk_a");
    let double =
        UpstreamKey { name: "other".into(), ..upstream("uk_b", None, UpstreamKeyState::Staged) };
    let double = UpstreamKey { fingerprint: "print of uk_a".into(), ..double };
    let fault = hold(&store, double).unwrap_err();
    assert!(fault.to_string().contains("held already, under the name \"key uk_a\""), "{fault}");
    let fault = change(&store, |change| change.reseal_all("vault.header", b"of the new", &[]));
    assert!(fault.is_err(), "a seal was left behind under the old master key");
    let elsewhere = (SealedPlace::UpstreamKey(UpstreamKeyId::new("uk_z")), b"anew".to_vec());
    let fault = change(&store, |change| change.reseal_all("vault.header", b"", &[elsewhere]));
    assert!(matches!(fault, Err(StoreFault::Missing(_))), "{fault:?}");
    assert_eq!(store.sealed_upstream_key(&id).unwrap().unwrap(), b"sealed uk_a");
    let resealed = vec![(SealedPlace::UpstreamKey(id.clone()), b"anew".to_vec())];
    let known = resealed.clone();
    change(&store, move |change| change.reseal_all("vault.header", b"of the new", &resealed))
        .unwrap();
    assert_eq!(store.all_sealed().unwrap(), known);
    assert_eq!(store.meta("vault.header").unwrap().unwrap(), b"of the new");
    assert_eq!(store.sealed_upstream_key(&id).unwrap().unwrap(), b"anew");
    let gone = id.clone();
    change(&store, move |change| change.revoke_upstream_key(&gone)).unwrap();
    assert_eq!(store.sealed_upstream_key(&id).unwrap(), None);
    let key = store.upstream_keys().unwrap().remove(0);
    assert_eq!((key.state, key.removed_at), (UpstreamKeyState::Revoked, Some(now())));
    let fault = change(&store, move |change| change.promote_upstream_key(&id)).unwrap_err();
    assert!(matches!(fault, StoreFault::Conflict(_)), "{fault}");
    store.close().unwrap();
    drop(store);
    for (name, _) in modes(house.folder.path()) {
        let bytes = std::fs::read(house.folder.path().join(&name)).unwrap();
        let found = bytes.windows(11).any(|window| window == b"sealed uk_a");
        assert!(!found, "{name} still has what was sealed");
    }
}

#[test]
fn a_key_is_listed_before_and_after_its_value() {
    use UpstreamKeyState::{Current, Listed, Revoked};
    let house = House::new();
    let store = house.open();
    let bare = |id: &str, state| UpstreamKey {
        fingerprint: String::new(),
        hint: String::new(),
        profile: Profile { team: Some("search".into()), ..Profile::default() },
        ..upstream(id, Some("production"), state)
    };
    let list = |key: UpstreamKey| change(&store, move |change| change.list_upstream_key(&key));
    list(bare("uk_a", Listed)).unwrap();
    list(bare("uk_b", Listed)).unwrap();
    let past = UpstreamKey { removed_at: Some(now()), ..bare("uk_c", Revoked) };
    list(past.clone()).unwrap();
    let again = UpstreamKey { name: "key uk_a".into(), ..bare("uk_d", Listed) };
    assert!(matches!(list(again), Err(StoreFault::Conflict(_))), "a name is held once");
    assert!(matches!(list(bare("uk_e", Current)), Err(StoreFault::Mistake(_))));
    let promoted =
        change(&store, |change| change.promote_upstream_key(&UpstreamKeyId::new("uk_a")));
    assert!(matches!(promoted, Err(StoreFault::Conflict(_))), "there is nothing to use");
    assert_eq!(store.sealed_upstream_key(&UpstreamKeyId::new("uk_a")).unwrap(), None);

    let filled = UpstreamKey {
        profile: bare("uk_a", Listed).profile,
        ..upstream("uk_a", Some("production"), Current)
    };
    let fill =
        |key: UpstreamKey| change(&store, move |change| change.fill_upstream_key(&key, b"s"));
    fill(filled.clone()).unwrap();
    assert!(matches!(fill(filled.clone()), Err(StoreFault::Conflict(_))), "once");
    let all = store.upstream_keys().unwrap();
    assert_eq!(all[0], filled);
    assert_eq!(all[2], past);
}

#[test]
fn a_key_gets_another_name_and_profile_and_keeps_its_seal() {
    let house = House::new();
    let store = house.open();
    hold(&store, upstream("uk_a", None, UpstreamKeyState::Current)).unwrap();
    hold(&store, upstream("uk_b", None, UpstreamKeyState::Staged)).unwrap();
    let rename = |name: &'static str| {
        change(&store, move |change| change.rename_upstream_key(&UpstreamKeyId::new("uk_a"), name))
    };
    assert!(matches!(rename("key uk_b"), Err(StoreFault::Conflict(_))));
    rename("better").unwrap();
    rename("better").unwrap();
    let profile = Profile { purpose: Some("translation".into()), ..Profile::default() };
    let new = profile.clone();
    change(&store, move |change| {
        change.set_upstream_profile(&UpstreamKeyId::new("uk_a"), &new)?;
        assert!(change.set_upstream_profile(&UpstreamKeyId::new("uk_x"), &new).is_err());
        Ok(())
    })
    .unwrap();
    let key = store.upstream_keys().unwrap().remove(0);
    assert_eq!((key.name.as_str(), key.profile), ("better", profile));
    let id = UpstreamKeyId::new("uk_a");
    assert_eq!(store.sealed_upstream_key(&id).unwrap().unwrap(), b"sealed uk_a");
}

#[test]
fn a_finding_is_new_once_and_keeps_its_beginning() {
    let house = House::new();
    let store = house.open();
    let finding = |subject: &str, message: &str| Finding {
        kind: FindingKind::Shadow,
        subject: subject.to_owned(),
        name: "laptop".into(),
        severity: Severity::Warning,
        message: message.to_owned(),
        advice: "look".into(),
    };
    let replace = |findings: Vec<Finding>| {
        store
            .change(actor(), move |change| {
                let new = change.replace_key_findings(&findings)?;
                change.audit("test", "findings", &Facts::default())?;
                Ok(new)
            })
            .unwrap()
    };
    let first = finding("apikey_1", "a");
    let new = replace(vec![first.clone(), first.clone()]);
    assert_eq!(new, vec![first.clone()], "one of two alike");
    let (same, second) = (finding("apikey_1", "b"), finding("apikey_2", "a"));
    assert_eq!(replace(vec![same.clone(), second.clone()]), vec![second.clone()]);
    let kept = store.key_findings().unwrap();
    assert_eq!((kept.len(), &kept[0].finding), (2, &same), "the newest words");
    assert_eq!(replace(vec![second.clone()]), []);
    assert_eq!(replace(vec![first.clone(), second]), [first], "it came back");
}

#[test]
fn a_credential_is_kept_once_and_erased_whole() {
    let house = House::new();
    let store = house.open();
    let credential = Credential {
        name: "admin".into(),
        fingerprint: "print".into(),
        hint: "sk-ant-admin01-...".into(),
        created_at: now(),
    };
    for sealed in [b"sealed first", b"sealed other"] {
        let put = credential.clone();
        change(&store, move |change| change.put_credential(&put, sealed)).unwrap();
    }
    assert_eq!(store.credential("admin").unwrap(), Some(credential));
    assert_eq!(store.sealed_credential("admin").unwrap().unwrap(), b"sealed other");
    assert!(change(&store, |change| change.remove_credential("admin").map(drop)).is_ok());
    assert_eq!(store.credential("admin").unwrap(), None);
    store.close().unwrap();
    drop(store);
    for (name, _) in modes(house.folder.path()) {
        let bytes = std::fs::read(house.folder.path().join(&name)).unwrap();
        for sealed in [b"sealed first", b"sealed other"] {
            let found = bytes.windows(12).any(|window| window == sealed);
            assert!(!found, "{name} still has what was sealed");
        }
    }
}

#[test]
fn the_last_use_of_a_key_is_known_to_the_minute() {
    let house = House::new();
    let store = house.open();
    hold(&store, upstream("uk_1", None, UpstreamKeyState::Current)).unwrap();
    for ms in [0, 10_000, 70_000, 80_000] {
        intend(&store, &intent_at("alpha", usd(1), now().plus_ms(ms)));
    }
    let key = store.upstream_keys().unwrap().remove(0);
    assert_eq!(key.last_used_at, Some(now().plus_ms(70_000)));
    let id = accounts("alpha", now()).pop().map(|account| account.scope);
    let Some(Scope::VirtualKey(id)) = id else { panic!("the last account is the key's") };
    assert_eq!(store.virtual_key_last_used(&id).unwrap(), Some(now().plus_ms(80_000)));
}

#[test]
fn overrides_are_kept_per_scope() {
    let house = House::new();
    let store = house.open();
    let production = Scope::Environment(EnvironmentName::new("production"));
    let overrides = Overrides { daily: Some(Override::Set(usd(40))), ..Overrides::default() };
    let (of, saved) = (production.clone(), overrides.clone());
    change(&store, move |change| {
        assert_eq!(change.overrides(&of)?, Overrides::default());
        change.save_overrides(&of, &saved)?;
        assert_eq!(change.overrides(&of)?, saved);
        change.save_overrides(&Scope::Organization, &saved)
    })
    .unwrap();
    let expected = [(production, overrides.clone()), (Scope::Organization, overrides)];
    assert_eq!(store.overrides().unwrap(), expected);
}

#[test]
fn an_effect_waits_until_it_is_done_or_given_up() {
    let house = House::new();
    let store = house.open();
    store.note(notice("budget.threshold", Severity::High));
    store.note(notice("budget.threshold", Severity::High));
    settle_down(&store);
    let [first, second] = <[_; 2]>::try_from(store.effects_due(now(), 9).unwrap()).unwrap();
    assert_eq!((first.kind.as_str(), first.state), (NOTIFY, EffectState::Waiting));
    assert_eq!(first.payload["kind"], "budget.threshold");
    store.effect_failed(first.id.clone(), "no network".into(), now().plus_ms(5_000)).unwrap();
    store.effect_given_up(second.id.clone(), "no such channel".into()).unwrap();
    assert_eq!(store.effects_due(now(), 9).unwrap(), []);
    let later = store.effects_due(now().plus_ms(5_000), 9).unwrap();
    assert_eq!((later.len(), later[0].attempts), (1, 1));
    assert_eq!(later[0].last_error.as_deref(), Some("no network"));
    store.effect_done(first.id.clone()).unwrap();
    assert!(store.effect_done(first.id).is_err(), "done once");
    let states: Vec<_> =
        store.effects_newest(9).unwrap().iter().map(|effect| effect.state).collect();
    assert!(states.contains(&EffectState::Done) && states.contains(&EffectState::GivenUp));
    assert_eq!(kinds(&store).last().unwrap(), "effect.given_up");
}

#[test]
fn a_change_writes_its_effect_with_its_record() {
    let house = House::new();
    let store = house.open();
    let payload = serde_json::json!({ "key": "uk_a" });
    let id = store
        .change(actor(), move |change| {
            let cause = change.audit("key.added", "uk_a", &Facts::default())?;
            change.effect(cause, "probe", &payload)
        })
        .unwrap();
    let effect = store.effects_due(Timestamp::from_ms(i64::MAX), 9).unwrap().remove(0);
    assert_eq!((effect.id, effect.kind.as_str(), effect.cause_seq), (id, "probe", 0));
}
