//! Against hosts that answer as scripted; the faithful fakes are in the end-to-end tests.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{Request, Response};
use parking_lot::Mutex;

use super::*;
use crate::web::WebFault;

type Answer = Result<Response<Bytes>, WebFault>;

/// A host that gives these answers, and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<(String, String)>>,
}

impl Web for Scripted {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Answer {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        self.asked.lock().push((asked, body));
        self.answers.lock().pop_front().unwrap_or_else(|| panic!("asked more than was scripted"))
    }
}

fn answer(status: u16, body: Value) -> Answer {
    let body = Bytes::from(body.to_string());
    let date = "Tue, 24 Nov 2026 12:00:00 GMT";
    Ok(Response::builder().status(status).header("date", date).body(body).unwrap())
}

fn lost() -> Answer {
    Err(WebFault::Lost("no answer within 30000 ms".to_owned()))
}

struct Host {
    ground: Ground,
    web: Arc<Scripted>,
}

impl Host {
    fn new(answers: Vec<Answer>) -> Host {
        let ground = Ground::new();
        let token = ground.path("token");
        fs::write(&token, "planted-token-1\n").unwrap();
        fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
        let web = Arc::new(Scripted { answers: Mutex::new(answers.into()), ..Default::default() });
        Host { ground, web }
    }

    fn github(&self) -> Box<dyn Sink> {
        sink_on(
            self.web.clone(),
            json!({ "kind": "github", "environment": "staging", "repository": "a/b",
                    "secret": "KEY", "token_file": self.ground.path("token").to_str().unwrap() }),
        )
    }

    fn gitlab(&self) -> Box<dyn Sink> {
        sink_on(
            self.web.clone(),
            json!({ "kind": "gitlab", "environment": "staging", "project": "a/b",
                    "variable": "KEY", "token_file": self.ground.path("token").to_str().unwrap() }),
        )
    }

    fn asked(&self) -> Vec<String> {
        self.web.asked.lock().iter().map(|(asked, _)| asked.clone()).collect()
    }
}

fn public_key() -> Answer {
    answer(200, json!({ "key_id": "7", "key": "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=" }))
}

fn listed(at: &str) -> Answer {
    answer(200, json!({ "name": "KEY", "created_at": at, "updated_at": at }))
}

const BEFORE: &str = "2026-01-01T00:00:00Z";
const AFTER: &str = "2026-11-24T12:00:00Z";

#[test]
fn a_secret_counts_when_it_is_listed_anew() {
    let host = Host::new(vec![public_key(), listed(BEFORE), answer(204, json!({})), listed(AFTER)]);
    let receipt = host.github().deliver(&host.ground.parcel()).unwrap();
    assert_eq!(receipt.mark, AFTER);
    assert_eq!(
        host.asked(),
        [
            "GET /repos/a/b/actions/secrets/public-key",
            "GET /repos/a/b/actions/secrets/KEY",
            "PUT /repos/a/b/actions/secrets/KEY",
            "GET /repos/a/b/actions/secrets/KEY",
        ]
    );
    let asked = host.web.asked.lock();
    assert!(asked.iter().all(|(_, body)| !body.contains(host.ground.text())));
    assert!(asked[2].1.contains("\"key_id\":\"7\""), "{}", asked[2].1);
}

#[test]
fn a_host_that_says_yes_and_does_nothing_is_found_out() {
    let mut answers = vec![public_key(), listed(BEFORE), answer(204, json!({}))];
    answers.extend((0..5).map(|_| listed(BEFORE)));
    let host = Host::new(answers);
    let fault = host.github().deliver(&host.ground.parcel()).unwrap_err();
    assert_eq!((fault.effect, fault.again), (Effect::Unknown, Again::Later), "{fault}");
}

#[test]
fn what_a_refusal_left_behind_is_told_from_what_a_lost_answer_may_have() {
    for (put, effect, again) in [
        (answer(403, json!({ "message": "no" })), Effect::Nothing, Again::Never),
        (answer(422, json!({ "message": "bad" })), Effect::Nothing, Again::Never),
        (answer(429, json!({})), Effect::Nothing, Again::Later),
        (answer(503, json!({})), Effect::Unknown, Again::Later),
        (lost(), Effect::Unknown, Again::Later),
        (Err(WebFault::NotSent("refused".to_owned())), Effect::Nothing, Again::Later),
    ] {
        let host = Host::new(vec![public_key(), listed(BEFORE), put]);
        let fault = host.github().deliver(&host.ground.parcel()).unwrap_err();
        assert_eq!((fault.effect, fault.again), (effect, again), "{fault}");
    }
    // A look changes nothing, whatever becomes of it.
    let host = Host::new(vec![lost()]);
    let fault = host.github().deliver(&host.ground.parcel()).unwrap_err();
    assert_eq!(fault.effect, Effect::Nothing);
}

#[test]
fn a_change_by_somebody_else_is_seen_later() {
    let verify = |now: Answer, mark| {
        let host = Host::new(vec![now]);
        host.github().verify(&host.ground.parcel(), mark)
    };
    assert_eq!(verify(listed(AFTER), Some(AFTER)), Ok(Standing::Untouched));
    assert!(matches!(verify(listed(AFTER), Some(BEFORE)), Ok(Standing::Differs(_))));
    assert!(matches!(verify(answer(404, json!({})), Some(AFTER)), Ok(Standing::Differs(_))));
    assert!(matches!(verify(listed(AFTER), None), Ok(Standing::Unknown(_))));
}

fn variable(value: &str, protected: bool, masked: bool) -> Answer {
    answer(
        200,
        json!({ "key": "KEY", "value": value, "protected": protected, "masked": masked,
                "environment_scope": "*", "variable_type": "env_var", "raw": true }),
    )
}

#[test]
fn a_variable_is_protected_and_masked_after_the_write_or_it_is_a_fault() {
    let project = || answer(200, json!({ "id": 1 }));
    let missing = || answer(404, json!({ "message": "404 Variable Not Found" }));
    for (protected, masked, effect) in [
        (true, true, None),
        (false, true, Some(Effect::Done)),
        (true, false, Some(Effect::Done)),
        (false, false, Some(Effect::Done)),
    ] {
        let ground = Ground::new();
        let after = variable(ground.text(), protected, masked);
        let host = Host::new(vec![project(), missing(), answer(201, json!({})), after]);
        let done = host.gitlab().deliver(&host.ground.parcel());
        assert_eq!(done.as_ref().err().map(|fault| fault.effect), effect, "{done:?}");
        let asked = host.web.asked.lock();
        assert_eq!(asked[2].0, "POST /api/v4/projects/a%2Fb/variables");
        let sent: Value = serde_json::from_str(&asked[2].1).unwrap();
        assert_eq!((&sent["protected"], &sent["masked"]), (&json!(true), &json!(true)));
    }
    let host = Host::new(vec![
        project(),
        variable("old", true, true),
        answer(200, json!({})),
        variable("old", true, true),
    ]);
    let fault = host.gitlab().deliver(&host.ground.parcel()).unwrap_err();
    assert!(fault.message.contains("another value"), "{fault}");
}

#[test]
fn a_variable_that_has_the_key_is_not_written_again() {
    let ground = Ground::new();
    let host =
        Host::new(vec![answer(200, json!({ "id": 1 })), variable(ground.text(), true, true)]);
    assert!(host.gitlab().deliver(&host.ground.parcel()).unwrap().was_there);
}

#[test]
fn a_token_that_others_can_read_is_not_used_and_none_is_shown() {
    let host = Host::new(Vec::new());
    let token = host.ground.path("token");
    fs::set_permissions(&token, Permissions::from_mode(0o640)).unwrap();
    let fault = host.github().check().unwrap_err();
    assert!(fault.message.contains("can be read by others"), "{fault}");
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    fs::write(&token, "planted token 1").unwrap();
    let fault = host.gitlab().check().unwrap_err();
    assert!(!format!("{fault:?}").contains("planted"), "{fault}");
    assert_eq!(host.asked(), [""; 0]);
}

#[test]
fn what_a_host_says_is_shown_short_and_without_keys() {
    let key = format!("sk-ant-{}-{}AA", "api03", "a".repeat(93));
    let said = json!({ "message": format!("bad\n\u{1b}[2J {key} {}", "x".repeat(999)) });
    let host = Host::new(vec![answer(422, said)]);
    let fault = host.github().check().unwrap_err();
    assert!(!fault.message.contains("aaaa") && !fault.message.contains('\u{1b}'), "{fault}");
    assert!(fault.message.len() < 400);
}
