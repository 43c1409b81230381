use std::collections::VecDeque;

use chamberlain_core::keys::listed::{KeyPrincipal, KeyScope};
use chamberlain_core::secret::Secret;
use chamberlain_vault::admin_key::AdminKey;
use chamberlain_vault::master::Master;
use chamberlain_vault::vault::Vault;
use parking_lot::Mutex;

use super::*;
use crate::testing::Dice;

/// Answers with what it was given, and keeps what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Result<Response<Bytes>, WebFault>>>,
    asked: Mutex<Vec<(String, String, bool)>>,
}

impl Script {
    fn of(answers: impl IntoIterator<Item = (u16, Value)>) -> Script {
        let script = Script::default();
        for (status, body) in answers {
            script.push(status, &body.to_string());
        }
        script
    }

    fn push(&self, status: u16, body: &str) {
        let answer = Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        self.answers.lock().push_back(Ok(answer));
    }

    fn urls(&self) -> Vec<String> {
        self.asked.lock().iter().map(|(url, ..)| url.clone()).collect()
    }
}

impl Web for Script {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Result<Response<Bytes>, WebFault> {
        let line = format!("{} {}", request.method(), request.uri());
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let sensitive = request.headers()["x-api-key"].is_sensitive();
        self.asked.lock().push((line, body, sensitive));
        self.answers.lock().pop_front().expect("asked once too often")
    }
}

fn opened() -> UpstreamSecret {
    let dice = Dice::new();
    let master = Master::from_text(&Master::generate(&dice)).unwrap();
    let (vault, _) = Vault::create(&master, &dice).unwrap();
    let text = format!("sk-ant-{}-{}AA", "admin01", "k".repeat(93));
    let key = AdminKey::check(&Secret::new(text)).unwrap();
    vault.open_admin_key(&vault.seal_admin_key(&key, &dice)).unwrap()
}

fn with<T>(script: &Script, ask: impl FnOnce(&AdminApi<'_>) -> T) -> T {
    let key = opened();
    ask(&AdminApi::new(script, "http://h/base/", &key))
}

fn shown(id: &str) -> Value {
    json!({
        "id": id, "type": "api_key", "name": "ci", "status": "active",
        "partial_key_hint": "sk-ant-api03-Ab1...xYAA", "created_at": "2026-10-02T10:00:00Z",
        "created_by": { "id": "user_1", "type": "user" }, "expires_at": null,
        "principal": { "type": "service_account_actor", "service_account_id": "svac_1" },
        "scope": { "type": "workspace", "workspace_id": "wrkspc_1" },
    })
}

fn page(entries: Vec<Value>, more: bool) -> Value {
    let last = entries.last().map(|entry| entry["id"].clone());
    json!({ "data": entries, "has_more": more, "first_id": null, "last_id": last })
}

#[test]
fn a_list_is_walked_to_its_end() {
    let script = Script::of([
        (200, page(vec![shown("apikey_1"), shown("apikey_2")], true)),
        (200, page(vec![shown("apikey_3")], false)),
    ]);
    let keys = with(&script, |api| api.keys()).unwrap();
    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["apikey_1", "apikey_2", "apikey_3"]);
    assert_eq!(
        script.urls(),
        [
            "GET http://h/base/v1/organizations/api_keys?limit=500",
            "GET http://h/base/v1/organizations/api_keys?limit=500&after_id=apikey_2",
        ]
    );
    assert!(script.asked.lock().iter().all(|(_, _, sensitive)| *sensitive));
    let key = &keys[0];
    assert_eq!(key.scope, KeyScope::Workspace { id: "wrkspc_1".into() });
    assert_eq!(key.principal, Some(KeyPrincipal::ServiceAccount { id: "svac_1".into() }));
    assert_eq!(key.created_by.as_deref(), Some("user_1"));
}

#[test]
fn both_shapes_of_a_scope_are_read() {
    for (scope, expected) in [
        (json!({ "workspace_id": null }), KeyScope::DefaultWorkspace),
        (json!({ "workspace_id": "wrkspc_2" }), KeyScope::Workspace { id: "wrkspc_2".into() }),
        (json!({ "scope": { "type": "organization" } }), KeyScope::Organization),
        (json!({ "scope": { "type": "planet" } }), KeyScope::Unknown),
        (json!({}), KeyScope::Unknown),
    ] {
        let mut key = shown("apikey_1");
        let fields = key.as_object_mut().unwrap();
        fields.remove("scope");
        fields.extend(scope.as_object().unwrap().clone());
        assert_eq!(read::key(&key).unwrap().scope, expected);
    }
}

#[test]
fn each_way_to_fail_has_its_name() {
    let error = |message: &str| json!({ "type": "error", "error": { "message": message } });
    for (status, expected) in [
        (401, AdminFault::Unauthorized("no".into())),
        (403, AdminFault::Forbidden("no".into())),
        (404, AdminFault::NotFound("no".into())),
        (429, AdminFault::RateLimited { retry_after_s: None }),
        (400, AdminFault::Refused { status: 400, message: "no".into() }),
        (500, AdminFault::Broken { status: 500, message: "no".into() }),
        (529, AdminFault::Broken { status: 529, message: "no".into() }),
    ] {
        let script = Script::of([(status, error("no"))]);
        assert_eq!(with(&script, |api| api.key("apikey_1")), Err(expected));
    }
    for (fault, expected) in [
        (WebFault::NotSent("x".into()), AdminFault::NotSent("x".into())),
        (WebFault::Lost("x".into()), AdminFault::Lost("x".into())),
    ] {
        let script = Script::default();
        script.answers.lock().push_back(Err(fault));
        assert_eq!(with(&script, |api| api.key("apikey_1")), Err(expected));
    }
}

#[test]
fn what_cannot_be_true_is_not_believed() {
    let lies = |script: Script, ask: fn(&AdminApi<'_>) -> Result<(), AdminFault>| {
        let answer = with(&script, ask);
        assert!(matches!(answer, Err(AdminFault::Lying(_))), "{answer:?}");
    };
    let key = |api: &AdminApi<'_>| api.key("apikey_1").map(drop);
    let keys = |api: &AdminApi<'_>| api.keys().map(drop);
    let update = |api: &AdminApi<'_>| {
        let status = Some(ListedStatus::Inactive);
        api.update_key("apikey_1", &KeyUpdate { name: None, status }).map(drop)
    };
    let html = Script::default();
    html.push(200, "<html>");
    lies(html, key);
    lies(Script::of([(200, shown("apikey_2"))]), key);
    lies(Script::of([(200, shown("apikey_1"))]), update);
    let mut bare = shown("apikey_1");
    bare.as_object_mut().unwrap().remove("status");
    lies(Script::of([(200, bare)]), key);
    lies(Script::of([(302, json!({}))]), key);
    lies(Script::of([(200, json!({ "data": [] }))]), keys);
    lies(Script::of([(200, page(vec![], true))]), keys);
    let same = || (200, page(vec![shown("apikey_1")], true));
    lies(Script::of([same(), same()]), keys);
    let odd = with(&Script::default(), |api| api.key("../../v1/messages"));
    assert!(matches!(odd, Err(AdminFault::Lying(_))), "nothing is sent");
}

#[test]
fn a_change_is_what_was_asked_for() {
    let mut off = shown("apikey_1");
    off["status"] = json!("inactive");
    off["name"] = json!("new");
    let script = Script::of([(200, off)]);
    let update = KeyUpdate { name: Some("new".into()), status: Some(ListedStatus::Inactive) };
    let changed = with(&script, |api| api.update_key("apikey_1", &update)).unwrap();
    assert_eq!(changed.status, ListedStatus::Inactive);
    let asked = script.asked.lock();
    assert_eq!(asked[0].1, r#"{"name":"new","status":"inactive"}"#);
}

#[test]
fn their_words_carry_no_key() {
    let echoed = format!("bad key sk-ant-{}-{}", "admin01", "s".repeat(95));
    let script = Script::of([(401, json!({ "error": { "message": echoed } }))]);
    let fault = with(&script, |api| api.keys()).unwrap_err();
    assert!(!format!("{fault} {fault:?}").contains("sss"), "{fault}");
    let key = opened();
    assert!(!format!("{:?}", AdminApi::new(&script, "http://h", &key)).contains("kkk"));
}
