use std::collections::HashMap;

use chamberlain_core::admission::key::{MintedKey, mint};
use chamberlain_core::ledger::price::PriceBook;
use chamberlain_core::snapshot::{GatewaySettings, Organization};
use chamberlain_core::time::Calendar;

use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_790_000_000_000);

fn environment(name: &str) -> Environment {
    Environment {
        name: EnvironmentName::new(name),
        policy: Policy::default(),
        budgets: Budgets::default(),
        pause_on_exceed: false,
        limits: Limits::default(),
        upstream_key: None,
        is_contained: false,
        pause: None,
    }
}

fn key(minted: &MintedKey, change: impl FnOnce(&mut VirtualKey)) -> Arc<VirtualKey> {
    let mut key = VirtualKey {
        id: minted.id.clone(),
        secret_hash: minted.secret_hash,
        environment: EnvironmentName::new("dev"),
        state: KeyState::Active,
        ..NOBODY.clone()
    };
    change(&mut key);
    Arc::new(key)
}

fn snapshot(keys: Vec<Arc<VirtualKey>>) -> Arc<Snapshot> {
    let dev = Arc::new(environment("dev"));
    Arc::new(Snapshot {
        generation: 1,
        calendar: Calendar::utc(),
        organization: Organization::default(),
        environments: HashMap::from([(dev.name.clone(), dev)]),
        virtual_keys: keys.into_iter().map(|key| (key.id.clone(), key)).collect(),
        prices: Arc::new(PriceBook::builtin()),
        settings: GatewaySettings::default(),
    })
}

fn ask(keys: Vec<Arc<VirtualKey>>, headers: &[(&str, &str)]) -> (Result<Call, Stop>, Witness) {
    let mut request = http::Request::builder().uri("/v1/messages");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let id = CallId::mint(NOW, [1; 10]);
    let peer = "192.0.2.1".parse().unwrap();
    let mut witness = Witness::new(id, NOW, peer);
    let head = request.body(()).unwrap().into_parts().0;
    let arrival = Arrival { id, at: NOW, snapshot: snapshot(keys), head, peer };
    let answer = identify(arrival, &mut witness).map(|identified| identified.call);
    (answer, witness)
}

fn refusal(answer: (Result<Call, Stop>, Witness)) -> Refusal {
    match answer.0 {
        Err(Stop::Refused(refusal)) => refusal,
        Err(stop) => panic!("{stop:?}"),
        Ok(_) => panic!("let in"),
    }
}

#[test]
fn either_header_identifies_and_both_must_agree() {
    let minted = mint([1; 16], [2; 43]);
    let (other, text) = (mint([3; 16], [4; 43]), minted.text.expose());
    let bearer = format!("Bearer {text}");
    let keys = || vec![key(&minted, |_| {}), key(&other, |_| {})];
    for headers in [
        vec![("x-api-key", text)],
        vec![("authorization", bearer.as_str())],
        vec![("Authorization", bearer.as_str()), ("x-api-key", text)],
        vec![("x-api-key", text), ("x-api-key", text)],
        vec![("x-api-key", ""), ("authorization", bearer.as_str())],
    ] {
        let (call, witness) = ask(keys(), &headers);
        assert_eq!(call.ok().unwrap().key.id, minted.id, "{}", headers.len());
        assert_eq!(witness.key.as_ref(), Some(&minted.id));
    }
    for headers in [
        vec![("x-api-key", other.text.expose()), ("authorization", bearer.as_str())],
        vec![("x-api-key", text), ("x-api-key", other.text.expose())],
        vec![("x-api-key", text), ("authorization", "Basic abc")],
    ] {
        assert_eq!(refusal(ask(keys(), &headers)), Refusal::CredentialsDiffer);
    }
    assert_eq!(refusal(ask(keys(), &[])), Refusal::NoCredential);
    assert_eq!(refusal(ask(keys(), &[("authorization", "Basic abc")])), Refusal::UnknownKey);
}

#[test]
fn a_wrong_secret_says_nothing_about_the_key() {
    let (minted, wrong) = (mint([1; 16], [2; 43]), mint([1; 16], [9; 43]));
    let revoked = key(&minted, |key| key.state = KeyState::Revoked);
    let answer = ask(vec![revoked], &[("x-api-key", wrong.text.expose())]);
    assert_eq!(answer.1.offered.as_ref(), Some(&minted.id));
    assert_eq!(answer.1.key, None);
    assert_eq!(refusal(answer), Refusal::UnknownKey);
    assert_eq!(refusal(ask(vec![], &[("x-api-key", "chm_nope")])), Refusal::UnknownKey);
    assert_eq!(refusal(ask(vec![], &[("x-api-key", minted.text.expose())])), Refusal::UnknownKey);
}

#[test]
fn stopped_and_expired_keys_are_told_so() {
    let minted = mint([1; 16], [2; 43]);
    let with = |change: fn(&mut VirtualKey)| {
        ask(vec![key(&minted, change)], &[("x-api-key", minted.text.expose())])
    };
    for state in [KeyState::Frozen, KeyState::Revoked] {
        let keys = vec![key(&minted, |key| key.state = state)];
        let refused = refusal(ask(keys, &[("x-api-key", minted.text.expose())]));
        assert_eq!(refused, Refusal::KeyStopped(state));
    }
    let expired = with(|key| key.expires_at = Some(NOW));
    assert_eq!(refusal(expired), Refusal::KeyExpired { at: NOW });
    assert!(with(|key| key.expires_at = Some(NOW.plus_ms(1))).0.is_ok());
    let homeless = with(|key| key.environment = EnvironmentName::new("gone"));
    assert!(matches!(homeless.0, Err(Stop::Failed(Fault::NoEnvironment(_)))));
}

#[test]
fn a_real_key_is_refused_wherever_it_hides() {
    let minted = mint([1; 16], [2; 43]);
    let real = format!("{}api03-{}", REAL_PREFIX, "x".repeat(12));
    let bearer = format!("Bearer {real}");
    for headers in [
        vec![("x-api-key", real.as_str())],
        vec![("authorization", bearer.as_str())],
        vec![("authorization", real.as_str())],
        vec![("x-api-key", minted.text.expose()), ("authorization", bearer.as_str())],
        vec![("x-api-key", real.as_str()), ("authorization", "Basic abc")],
    ] {
        let answer = ask(vec![key(&minted, |_| {})], &headers);
        assert_eq!(answer.1.real_key_kind.as_deref(), Some("sk-ant-api03"));
        assert_eq!(refusal(answer), Refusal::RealKeyOffered);
    }
    let odd = HeaderValue::from_str(&format!("{REAL_PREFIX}{}", "y".repeat(30))).unwrap();
    assert_eq!(real_key(&odd).as_deref(), Some("sk-ant-..."), "nothing of the key is kept");
}

#[test]
fn only_trusted_proxies_are_believed() {
    let proxies: Vec<IpNet> =
        ["10.0.0.0/8", "2001:db8::/32"].iter().map(|net| net.parse().unwrap()).collect();
    let from = |peer: &str, lines: &[&'static str], trusted: &[IpNet]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let settings =
            GatewaySettings { trusted_proxies: trusted.to_vec(), ..GatewaySettings::default() };
        source(peer.parse().unwrap(), &headers, &settings).to_string()
    };
    assert_eq!(from("local", &["1.1.1.1"], &proxies), "local", "the socket is no proxy");
    assert_eq!(from("192.0.2.1", &["1.1.1.1"], &proxies), "192.0.2.1", "not a proxy");
    assert_eq!(from("10.0.0.1", &["1.1.1.1"], &[]), "10.0.0.1", "no proxy is trusted");
    assert_eq!(from("10.0.0.1", &[], &proxies), "10.0.0.1");
    assert_eq!(from("10.0.0.1", &["9.9.9.9, 1.1.1.1"], &proxies), "1.1.1.1");
    assert_eq!(from("::ffff:10.0.0.1", &["1.1.1.1:443"], &proxies), "1.1.1.1");
    assert_eq!(from("2001:db8::1", &["[2001:4860::8]:443"], &proxies), "2001:4860::8");
    assert_eq!(from("10.0.0.1", &["9.9.9.9", "1.1.1.1,10.2.2.2"], &proxies), "1.1.1.1");
    assert_eq!(from("10.0.0.1", &["10.3.3.3"], &proxies), "10.3.3.3", "the furthest known hop");
    assert_eq!(from("10.0.0.1", &["1.1.1.1, unknown"], &proxies), "0.0.0.0");
    assert_eq!(from("10.0.0.1", &["1.1.1.1,"], &proxies), "0.0.0.0");
}
