//! What a header may ask for: the table of `docs/spending.md`, tried on a real connection.

use std::path::Path;

use http::{HeaderName, HeaderValue};

use crate::world::World;

/// The headers that the page must speak of.
const HEADERS: [&str; 22] = [
    "anthropic-version: 2023-06-01",
    "anthropic-version: 2026-10-21",
    "anthropic-version: 2027-01-01",
    "anthropic-beta: output-300k-2026-03-24",
    "anthropic-beta: a-beta-nobody-knows",
    "anthropic-dangerous-direct-browser-access: true",
    "anthropic-workspace-id: wrkspc_1",
    "anthropic-user-profile-id: uprof_1",
    "anthropic-organization-id: org_1",
    "anthropic_workspace_id: wrkspc_1",
    "anthropic-workspace_id: wrkspc_1",
    "anthropic_beta: fast-mode-2026-02-01",
    "x_api_key: another",
    "x-http-method-override: DELETE",
    "x-http-method: DELETE",
    "x-method-override: DELETE",
    "x-original-url: /v1/complete",
    "x-rewrite-url: /v1/complete",
    "cookie: session=1",
    "proxy-authorization: Basic eA==",
    "x-forwarded-for: 203.0.113.7",
    "traceparent: 00-0-0-01",
];

/// The rows of the page's table of headers.
fn rows() -> Vec<(String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spending.md");
    let text = std::fs::read_to_string(page).unwrap();
    let table = text.split("## What a header may ask for").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(cells);
    rows.map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone())).collect()
}

/// Sends a message with that header in place of any other of its name, and says what became of it.
async fn fate(world: &World, line: &str) -> String {
    let (name, value) = line.split_once(": ").unwrap();
    let name = HeaderName::try_from(name).unwrap();
    let mut request = world.message();
    request.headers_mut().insert(name.clone(), HeaderValue::try_from(value).unwrap());
    let before = world.upstream.arrived().len();
    let answered = world.ask(request).await;
    let arrived = world.upstream.arrived();
    let Some(arrived) = arrived.get(before) else {
        return format!("refused as `{}`", answered.header("x-chamberlain-code").unwrap());
    };
    assert_eq!((arrived.method.as_str(), arrived.target.as_str()), ("POST", "/v1/messages"));
    let passed = arrived.headers.get(&name).is_some_and(|there| there == value);
    let warned = answered
        .header("x-chamberlain-warning")
        .is_some_and(|warning| warning.starts_with(name.as_str()));
    match (passed, warned) {
        (true, false) => "passes".to_owned(),
        (false, true) => "left out, with a warning".to_owned(),
        (false, false) => "left out".to_owned(),
        (true, true) => panic!("{line} passes with a warning"),
    }
}

#[tokio::test]
async fn every_header_passes_or_does_not_as_the_page_says() {
    let world = World::new().await;
    let rows = rows();
    let named: Vec<&str> = rows.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(named, HEADERS, "left: docs/spending.md");
    let mut wrong = Vec::new();
    for (line, written) in &rows {
        let fate = fate(&world, line).await;
        if fate != *written {
            wrong.push(format!("| `{line}` | {fate} |"));
        }
    }
    assert!(wrong.is_empty(), "docs/spending.md should say:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_payer_may_be_chosen_where_the_operator_says_so_and_spelt_right() {
    let world = World::new().await;
    world.publish(|snapshot| snapshot.settings.forward_billing_headers = true);
    for (line, expected) in [
        ("anthropic-workspace-id: wrkspc_1", "passes"),
        ("anthropic-user-profile-id: uprof_1", "passes"),
        ("anthropic_workspace_id: wrkspc_1", "left out, with a warning"),
        ("anthropic-organization-id: org_1", "left out, with a warning"),
    ] {
        assert_eq!(fate(&world, line).await, expected, "{line}");
    }
}

#[tokio::test]
async fn a_version_that_is_sent_twice_is_refused() {
    let world = World::new().await;
    let mut request = world.message();
    request.headers_mut().append("anthropic-version", HeaderValue::from_static("2026-10-21"));
    let answered = world.ask(request).await;
    assert_eq!(answered.header("x-chamberlain-code"), Some("malformed_request"));
    assert!(world.upstream.arrived().is_empty());
}

#[tokio::test]
async fn a_header_folded_over_two_lines_is_refused() {
    let world = World::new().await;
    let body = crate::world::body("");
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: gateway.example\r\nx-api-key: {}\r\n\
         anthropic-version: 2023-06-01\r\nx-a: 1\r\n anthropic-workspace-id: wrkspc_1\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        world.key,
        body.len()
    );
    let answer = crate::client::raw(world.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(world.upstream.arrived().is_empty());
}

#[tokio::test]
async fn an_unknown_field_passes_only_when_the_operator_vouches_for_it() {
    let world = World::new().await;
    let request = || world.request("/v1/messages", crate::world::body(r#","n":5"#));
    let answered = world.ask(request()).await;
    assert_eq!(answered.header("x-chamberlain-code"), Some("unbounded_cost"));
    assert!(world.upstream.arrived().is_empty());
    world.publish(|snapshot| snapshot.settings.fields_allowed = vec!["n".to_owned()]);
    assert_eq!(world.ask(request()).await.status.as_u16(), 200);
}
