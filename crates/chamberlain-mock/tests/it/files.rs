//! The Files API over HTTP.

use chamberlain_mock::{MockConfig, RunningMock};
use serde_json::{Value, json};

use crate::client::*;

const BETA: (&str, &str) = ("anthropic-beta", "one,files-api-2025-04-14");
const DOWNLOADABLE: (&str, &str) = ("x-mock-scenario", "downloadable");

fn form(filename: &str, content: &str, more: &str) -> String {
    format!(
        "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\
         content-type: text/plain\r\n\r\n{content}\r\n{more}--edge--\r\n"
    )
}

fn field(name: &str, value: &str) -> String {
    format!("--edge\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

async fn upload(mock: &RunningMock, body: String, headers: &[(&str, &str)]) -> Answer {
    let mut builder = request("POST", "/v1/files");
    builder.headers_mut().unwrap().remove("content-type");
    let builder =
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    send(mock, whole(builder.header("content-type", "multipart/form-data; boundary=edge"), body))
        .await
}

async fn get(mock: &RunningMock, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let builder = headers
        .iter()
        .fold(request(method, path), |builder, (name, value)| builder.header(*name, *value));
    send(mock, whole(builder, "")).await
}

#[tokio::test]
async fn a_file_from_its_upload_to_its_end() {
    let mock = start().await;
    let content = "one\r\n--edg\r\ntwo";
    let uploaded = upload(&mock, form("a/b.txt", content, ""), &[DOWNLOADABLE]).await;
    assert_eq!(uploaded.status, 200, "{}", uploaded.text());
    let file = uploaded.json();
    let id = file["id"].as_str().unwrap();
    assert!(id.starts_with("file_"), "{id}");
    let shown = json!({"id": id, "type": "file", "filename": "b.txt", "mime_type": "text/plain",
        "size_bytes": content.len(), "created_at": file["created_at"], "downloadable": true,
        "expires_at": null});
    assert_eq!(file, shown);
    let path = format!("/v1/files/{id}");
    assert_eq!(get(&mock, "GET", &path, &[]).await.json(), file);
    // Any key of the mock sees it: it belongs to the workspace.
    let mut other = request("GET", &path);
    other.headers_mut().unwrap().insert("x-api-key", "another-key-0123456789".parse().unwrap());
    assert_eq!(send(&mock, whole(other, "")).await.json(), file);
    let answer = get(&mock, "GET", &format!("{path}/content"), &[]).await;
    assert_eq!((answer.text().as_str(), answer.header("content-type")), (content, "text/plain"));
    let gone = get(&mock, "DELETE", &path, &[]).await.json();
    assert_eq!(gone, json!({"id": id, "type": "file_deleted"}));
    for method in ["GET", "DELETE"] {
        let answer = get(&mock, method, &path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (404, "not_found_error"));
    }
}

#[tokio::test]
async fn what_was_uploaded_cannot_be_downloaded_unless_so_asked() {
    let mock = start().await;
    let file = upload(&mock, form("a", "x", ""), &[]).await.json();
    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    let answer = get(&mock, "GET", &path, &[]).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["details"]["error_code"], "file_not_downloadable");
}

#[tokio::test]
async fn forms_that_the_api_refuses() {
    let config = MockConfig { file_bytes_max: 1_000, ..MockConfig::default() };
    let mock = start_with(config).await;
    let expires = |seconds: &str| form("a", "x", &field("expires_in_seconds", seconds));
    for wrong in ["3599", "7776001", "soon", ""] {
        assert_eq!(upload(&mock, expires(wrong), &[]).await.status, 400, "{wrong}");
    }
    let file = upload(&mock, expires("3600"), &[]).await.json();
    let time = |name: &str| file[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("expires_at").duration_since(time("created_at")).as_secs(), 3_600);
    let nameless = upload(&mock, "--edge\r\n\r\n--edge--\r\n".to_owned(), &[]).await;
    assert_eq!(nameless.status, 400);
    let other = format!("{}--edge--", field("other", "x"));
    assert!(upload(&mock, other, &[]).await.error().1.contains("file: Field required"));
    let large = upload(&mock, form("a", &"x".repeat(1_001), ""), &[]).await;
    assert_eq!((large.status.as_u16(), large.error().0.as_str()), (413, "request_too_large"));
    let huge = upload(&mock, form("a", &"x".repeat(100_000), ""), &[]).await;
    assert_eq!(huge.status, 413);
}

#[tokio::test]
async fn lists_in_both_styles() {
    let mock = start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let file = upload(&mock, form(&format!("{n}"), "x", ""), &[]).await.json();
        ids.insert(0, file["id"].as_str().unwrap().to_owned());
    }
    let (mut walked, mut path) = (Vec::new(), "/v1/files?limit=2".to_owned());
    loop {
        let page = get(&mock, "GET", &path, &[]).await.json();
        walked.extend(page["data"].as_array().unwrap().iter().map(|file| file["id"].clone()));
        let Some(next) = page["next_page"].as_str() else { break };
        path = format!("/v1/files?limit=2&page={next}");
    }
    assert_eq!(json!(walked), json!(ids), "newest first");
    let named = format!("/v1/files?ids%5B%5D={}&ids[]=nobody&ids={}", ids[3], ids[1]);
    let page = get(&mock, "GET", &named, &[]).await.json();
    let found: Vec<_> = page["data"].as_array().unwrap().iter().map(|file| &file["id"]).collect();
    assert_eq!(json!(found), json!([ids[1], ids[3]]));
    assert_eq!(page["next_page"], Value::Null);

    let old = |path: String| {
        let mock = &mock;
        async move { get(mock, "GET", &path, &[BETA]).await.json() }
    };
    let page = old(format!("/v1/files?limit=2&after_id={}", ids[0])).await;
    assert_eq!(page["first_id"], ids[1]);
    assert_eq!((&page["last_id"], &page["has_more"]), (&json!(ids[2]), &json!(true)));
    assert_eq!(page["data"][0].get("expires_at"), None);
    let page = old(format!("/v1/files?limit=2&before_id={}", ids[4])).await;
    assert_eq!((&page["first_id"], &page["has_more"]), (&json!(ids[2]), &json!(true)));
    for wrong in ["limit=0", "page=page_nobody", "ids=a&limit=3"] {
        let answer = get(&mock, "GET", &format!("/v1/files?{wrong}"), &[]).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_message_reads_files_that_are_there_only() {
    let mock = start().await;
    let file = upload(&mock, form("a", "x", ""), &[]).await.json();
    let ask_about = |id: &str| {
        let source = json!({"type": "file", "file_id": id});
        let block = json!({"type": "document", "source": source});
        with(ask(""), json!({"messages": [{"role": "user", "content": [block]}]}))
    };
    let read = message(&mock, &ask_about(file["id"].as_str().unwrap())).await;
    assert_eq!(read["usage"]["input_tokens"], 3 + 8 + 2_000);
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let answer = post(&mock, path, &ask_about("file_nobody")).await;
        assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (404, "not_found_error"));
    }
}
