//! The model list over HTTP.

use serde_json::Value;

use crate::client::*;

async fn get(mock: &chamberlain_mock::RunningMock, path: &str) -> Answer {
    send(mock, whole(request("GET", path), "")).await
}

#[tokio::test]
async fn a_list_and_each_of_its_models() {
    let mock = start().await;
    let page = get(&mock, "/v1/models?limit=1000").await.json();
    let models = page["data"].as_array().unwrap();
    assert_eq!(page["first_id"], models[0]["id"]);
    assert_eq!(page["last_id"], models[models.len() - 1]["id"]);
    assert_eq!(page["has_more"], Value::Bool(false));
    for model in models {
        let id = model["id"].as_str().unwrap();
        assert_eq!(&get(&mock, &format!("/v1/models/{id}")).await.json(), model);
        assert!(
            model["max_tokens"].as_u64().unwrap() <= model["max_input_tokens"].as_u64().unwrap()
        );
        for capability in ["batch", "thinking", "effort", "server_tools", "structured_outputs"] {
            assert!(
                model["capabilities"][capability]["supported"].is_boolean(),
                "{id} {capability}"
            );
        }
    }
    let deprecated: Vec<_> =
        models.iter().filter(|model| model["lifecycle"] == "deprecated").collect();
    assert_eq!(deprecated.len(), 1);
    assert_eq!(deprecated[0]["retires_at"], "2026-11-30T00:00:00Z");
}

#[tokio::test]
async fn what_is_not_a_model_is_not_found() {
    let mock = start().await;
    for path in ["/v1/models/claude-nobody", "/v1/models/", "/v1/models/a/b"] {
        let answer = get(&mock, path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.error().0.as_str()),
            (404, "not_found_error"),
            "{path}"
        );
    }
    assert_eq!(get(&mock, "/v1/models?limit=0").await.status, 400);
}

#[tokio::test]
async fn a_header_scenario_reaches_every_path() {
    let mock = start().await;
    let asked = request("GET", "/v1/models").header("x-mock-scenario", "overloaded times=1");
    let answer = send(&mock, whole(asked, "")).await;
    assert_eq!((answer.status.as_u16(), answer.error().0.as_str()), (529, "overloaded_error"));
    let asked = request("GET", "/v1/models").header("x-mock-scenario", "overloaded times=1");
    assert_eq!(send(&mock, whole(asked, "")).await.status, 200);
}
