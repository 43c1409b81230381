//! The Admin API over HTTP, and what a person does in the Console beside it.

use chamberlain_mock::RunningMock;
use serde_json::{Value, json};

use crate::client::*;

/// A key whose value nobody made, of the form of an admin key.
fn admin() -> String {
    format!("sk-ant-{}-{}", "admin01", "x".repeat(30))
}

async fn as_admin(mock: &RunningMock, method: &str, path: &str, body: &str) -> Answer {
    let asked = http::Request::builder()
        .method(method)
        .uri(path)
        .header("x-api-key", admin())
        .header("anthropic-version", "2026-10-21");
    send(mock, whole(asked, body.to_owned())).await
}

async fn console(mock: &RunningMock, method: &str, path: &str) -> Value {
    let answer = send(mock, whole(request(method, path), "")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// What a call with that key is answered.
async fn call(mock: &RunningMock, key: &str) -> u16 {
    let asked = http::Request::builder()
        .method("GET")
        .uri("/v1/models")
        .header("x-api-key", key)
        .header("anthropic-version", "2023-06-01");
    send(mock, whole(asked, "")).await.status.as_u16()
}

#[tokio::test]
async fn a_key_is_made_shown_once_and_refused_when_it_is_off() {
    let mock = start().await;
    let made = console(&mock, "POST", "/mock/keys?name=ci&workspace_id=wrkspc_01Default").await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!((key.len(), &key[..13]), (108, "sk-ant-api03-"));
    let path = format!("/v1/organizations/api_keys/{id}");
    let shown = as_admin(&mock, "GET", &path, "").await;
    assert!(!shown.text().contains(key), "the value is shown once");
    let shown = shown.json();
    assert_eq!((&shown["name"], &shown["status"]), (&json!("ci"), &json!("active")));
    assert_eq!(shown["scope"], json!({ "type": "workspace", "workspace_id": "wrkspc_01Default" }));
    let hint = shown["partial_key_hint"].as_str().unwrap();
    let (begin, end) = hint.split_once("...").unwrap();
    assert!(key.starts_with(begin) && key.ends_with(end), "{hint}");

    assert_eq!(call(&mock, key).await, 200);
    let off = as_admin(&mock, "POST", &path, r#"{"status":"inactive"}"#).await.json();
    assert_eq!(off["status"], "inactive");
    assert_eq!(call(&mock, key).await, 401);
    as_admin(&mock, "POST", &path, r#"{"status":"active","name":"ci-2"}"#).await;
    assert_eq!(call(&mock, key).await, 200, "off is reversible");
    as_admin(&mock, "POST", &path, r#"{"status":"archived"}"#).await;
    assert_eq!(call(&mock, key).await, 401);
    let back = as_admin(&mock, "POST", &path, r#"{"status":"active"}"#).await;
    assert_eq!(back.status, 400, "archived is for good");
    assert_eq!(call(&mock, "any-other-credential").await, 200, "what was not made here is let in");
}

#[tokio::test]
async fn a_key_ends_with_its_time_and_with_its_deletion() {
    let mock = start().await;
    let made = console(&mock, "POST", "/mock/keys?expires_in_s=60").await;
    let key = made["key"].as_str().unwrap();
    assert_eq!(call(&mock, key).await, 200);
    console(&mock, "POST", "/mock/clock?advance_s=61").await;
    assert_eq!(call(&mock, key).await, 401);
    let path = "/v1/organizations/api_keys?status=expired";
    let listed = as_admin(&mock, "GET", path, "").await.json();
    assert_eq!(listed["data"][0]["id"], made["id"]);

    let other = console(&mock, "POST", "/mock/keys").await;
    console(&mock, "DELETE", &format!("/mock/keys/{}", other["id"].as_str().unwrap())).await;
    assert_eq!(call(&mock, other["key"].as_str().unwrap()).await, 401);
}

#[tokio::test]
async fn a_change_of_status_may_work_later() {
    let mock = start().await;
    console(&mock, "POST", "/mock/admin/lag?ms=60000").await;
    let made = console(&mock, "POST", "/mock/keys").await;
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let path = format!("/mock/keys/{id}?status=inactive");
    assert_eq!(console(&mock, "POST", &path).await["status"], "inactive", "it is shown at once");
    assert_eq!(call(&mock, key).await, 200);
    console(&mock, "POST", "/mock/clock?advance_s=61").await;
    assert_eq!(call(&mock, key).await, 401);
}

#[tokio::test]
async fn lists_are_walked_in_pages_in_both_versions() {
    let mock = start().await;
    for n in 0..45 {
        console(&mock, "POST", &format!("/mock/keys?name=k{n}")).await;
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/organizations/api_keys?limit=20{after}");
        let page = as_admin(&mock, "GET", &path, "").await.json();
        let data = page["data"].as_array().unwrap();
        names.extend(data.iter().map(|key| key["name"].as_str().unwrap().to_owned()));
        if page["has_more"] == false {
            break;
        }
        after = format!("&after_id={}", page["last_id"].as_str().unwrap());
    }
    assert_eq!(names, (0..45).map(|n| format!("k{n}")).collect::<Vec<_>>());
    let old = request("GET", "/v1/organizations/api_keys").header("x-api-key", admin());
    let old = send(&mock, whole(old, "")).await;
    assert_eq!(old.status, 401, "two credentials");
    let old = http::Request::builder()
        .uri("/v1/organizations/api_keys")
        .header("x-api-key", admin())
        .header("anthropic-version", "2023-06-01");
    let old = send(&mock, whole(old, "")).await.json();
    let key = &old["data"][0];
    assert!(key["workspace_id"].is_null() && key.get("scope").is_none(), "{key}");
}

#[tokio::test]
async fn only_admin_keys_come_in_and_only_what_exists_is_there() {
    let mock = start().await;
    let made = console(&mock, "POST", "/mock/keys").await;
    let as_key = http::Request::builder()
        .uri("/v1/organizations/api_keys")
        .header("x-api-key", made["key"].as_str().unwrap())
        .header("anthropic-version", "2026-10-21");
    let answer = send(&mock, whole(as_key, "")).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (403, "permission_error"));
    for (method, path, body, status) in [
        ("POST", "/v1/organizations/api_keys", "{}", 405),
        ("DELETE", "/v1/organizations/api_keys/apikey_1", "", 405),
        ("GET", "/v1/organizations/api_keys/apikey_1", "", 404),
        ("GET", "/v1/organizations/rbac_roles", "", 404),
        ("GET", "/v1/organizations/api_keys?limit=0", "", 400),
        ("GET", "/v1/organizations/api_keys?status=gone", "", 400),
        ("GET", "/v1/organizations/workspaces/wrkspc_1/members", "", 404),
        ("GET", "/v1/organizations/me", "", 200),
    ] {
        assert_eq!(as_admin(&mock, method, path, body).await.status, status, "{method} {path}");
    }
    let id = made["id"].as_str().unwrap();
    for body in [r#"{"expires_at":"2030-01-01T00:00:00Z"}"#, r#"{"status":"expired"}"#, "[]", "{"] {
        let path = format!("/v1/organizations/api_keys/{id}");
        assert_eq!(as_admin(&mock, "POST", &path, body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn workspaces_have_members() {
    let mock = start().await;
    console(&mock, "POST", "/mock/workspaces?id=wrkspc_p&name=a-production").await;
    let put = "/mock/workspaces/wrkspc_p/members?user_id=user_1&role=workspace_admin";
    console(&mock, "POST", put).await;
    let path = "/v1/organizations/workspaces?include_default=true";
    let listed = as_admin(&mock, "GET", path, "").await.json();
    let ids: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|w| w["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["wrkspc_01Default", "wrkspc_p"]);
    let path = "/v1/organizations/workspaces/wrkspc_p/members";
    let members = as_admin(&mock, "GET", path, "").await.json();
    let member = &members["data"][0];
    assert_eq!(
        (&member["user_id"], &member["workspace_role"]),
        (&json!("user_1"), &json!("workspace_admin"))
    );
    console(&mock, "DELETE", "/mock/workspaces/wrkspc_p/members/user_1").await;
    let members = as_admin(&mock, "GET", path, "").await.json();
    assert_eq!(members["data"], json!([]));
}

#[tokio::test]
async fn it_lies_when_it_is_asked_to() {
    let mock = start().await;
    let made = console(&mock, "POST", "/mock/keys").await;
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/organizations/api_keys/{id}");
    let off = r#"{"status":"inactive"}"#;
    console(&mock, "POST", "/mock/admin/lie?kind=not_changed").await;
    assert_eq!(as_admin(&mock, "POST", &path, off).await.json()["status"], "active");
    console(&mock, "POST", "/mock/admin/lie?kind=other_key").await;
    assert_ne!(as_admin(&mock, "POST", &path, off).await.json()["id"], id);
    console(&mock, "POST", "/mock/admin/lie?kind=not_json").await;
    assert!(as_admin(&mock, "GET", &path, "").await.text().starts_with("<html>"));
    assert_eq!(as_admin(&mock, "GET", &path, "").await.json()["status"], "inactive", "once each");
    let wrong = send(&mock, whole(request("POST", "/mock/admin/lie?kind=none"), "")).await;
    assert_eq!(wrong.status, 400);
}
