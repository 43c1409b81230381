//! Every path of Anthropic's API: either a call on it is admitted and on record, or it is refused
//! by name. None is forwarded unseen.

use http::{Method, Request};
use http_body_util::Full;

use crate::world::{World, body};

/// What becomes of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Its call is on record, whatever the answer.
    Recorded,
    /// It is refused before it is on record, because it names something that is not the key's own.
    NotOwn,
    /// It is refused, and the message names it.
    Barred,
}
use Fate::{Barred, NotOwn, Recorded};

/// Every path that is known of Anthropic's API. What may stand under a path is one example.
const PATHS: [(&str, &str, Fate); 63] = [
    ("POST", "/v1/messages", Recorded),
    ("POST", "/v1/messages/count_tokens", Recorded),
    ("GET", "/v1/models", Recorded),
    ("GET", "/v1/models/claude-haiku-4-5", Recorded),
    ("POST", "/v1/files", Recorded),
    ("GET", "/v1/files", Recorded),
    ("GET", "/v1/files/file_1", NotOwn),
    ("GET", "/v1/files/file_1/content", NotOwn),
    ("DELETE", "/v1/files/file_1", NotOwn),
    ("POST", "/v1/complete", Barred),
    ("POST", "/v1/chat/completions", Barred),
    ("POST", "/v1/oauth/token", Barred),
    ("GET", "/v1/skills", Barred),
    ("POST", "/v1/skills", Barred),
    ("GET", "/v1/skills/x_1", Barred),
    ("DELETE", "/v1/skills/x_1", Barred),
    ("GET", "/v1/skills/x_1/versions", Barred),
    ("POST", "/v1/skills/x_1/versions", Barred),
    ("GET", "/v1/skills/x_1/versions/1", Barred),
    ("GET", "/v1/skills/x_1/versions/1/content", Barred),
    ("POST", "/v1/agents", Barred),
    ("GET", "/v1/agents/x_1/versions", Barred),
    ("POST", "/v1/agents/x_1/archive", Barred),
    ("POST", "/v1/sessions", Barred),
    ("GET", "/v1/sessions/x_1", Barred),
    ("POST", "/v1/sessions/x_1/events", Barred),
    ("GET", "/v1/sessions/x_1/events/stream", Barred),
    ("GET", "/v1/sessions/x_1/resources", Barred),
    ("GET", "/v1/sessions/x_1/threads", Barred),
    ("POST", "/v1/sessions/x_1/archive", Barred),
    ("POST", "/v1/environments", Barred),
    ("POST", "/v1/environments/x_1/work", Barred),
    ("GET", "/v1/environments/x_1/work/poll", Barred),
    ("POST", "/v1/deployments", Barred),
    ("POST", "/v1/deployments/x_1/run", Barred),
    ("POST", "/v1/deployments/x_1/pause", Barred),
    ("GET", "/v1/deployment_runs", Barred),
    ("GET", "/v1/deployment_runs/x_1", Barred),
    ("POST", "/v1/memory_stores", Barred),
    ("GET", "/v1/memory_stores/x_1/memories", Barred),
    ("GET", "/v1/memory_stores/x_1/versions", Barred),
    ("POST", "/v1/vaults", Barred),
    ("POST", "/v1/vaults/x_1/credentials", Barred),
    ("POST", "/v1/dreams", Barred),
    ("GET", "/v1/dreams/x_1", Barred),
    ("POST", "/v1/tunnels", Barred),
    ("POST", "/v1/tunnels/x_1/certificates", Barred),
    ("POST", "/v1/tunnels/x_1/reveal_token", Barred),
    ("POST", "/v1/tunnels/x_1/rotate_token", Barred),
    ("POST", "/v1/user_profiles", Barred),
    ("GET", "/v1/user_profiles/x_1", Barred),
    ("POST", "/v1/user_profiles/x_1/action_urls", Barred),
    ("POST", "/v1/claude_code/routines/trig_1/fire", Barred),
    ("GET", "/v1/organizations/me", Barred),
    ("GET", "/v1/organizations/api_keys", Barred),
    ("POST", "/v1/organizations/api_keys/x_1", Barred),
    ("GET", "/v1/organizations/workspaces", Barred),
    ("GET", "/v1/organizations/usage_report/messages", Barred),
    ("GET", "/v1/organizations/cost_report", Barred),
    ("GET", "/v1/organizations/spend_limits", Barred),
    ("GET", "/v1/organizations/invites", Barred),
    ("GET", "/v1/compliance/activities", Barred),
    ("POST", "/v1/experimental/generate_prompt", Barred),
];

fn request(world: &World, method: &str, path: &str) -> Request<Full<bytes::Bytes>> {
    let has_body = method == "POST";
    let mut request = world.request(path, if has_body { body("") } else { String::new() });
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    request
}

#[tokio::test]
async fn every_path_is_admitted_or_refused_by_name() {
    let world = World::new().await;
    for (method, path, fate) in PATHS {
        let (sent, recorded) = (world.upstream.arrived().len(), world.journal.intents().len());
        let answer = world.ask(request(&world, method, path)).await;
        let newly = world.journal.intents().len() - recorded;
        match fate {
            Recorded => {
                assert_eq!(newly, 1, "{method} {path}: {answer:?}");
                assert_ne!(answer.status, 403, "{method} {path}");
            }
            NotOwn => answer.is_refused(404, "not_found_error", "unknown_resource"),
            Barred => {
                answer.is_refused(403, "permission_error", "route_not_forwarded");
                let text = answer.json()["error"]["message"].as_str().unwrap().to_owned();
                assert!(text.contains(&format!("{method} {path}: ")), "{text}");
            }
        }
        if fate != Recorded {
            assert_eq!((newly, world.upstream.arrived().len()), (0, sent), "{method} {path}");
        }
        let mut unknown = request(&world, method, path);
        unknown.headers_mut().remove("x-api-key");
        let unknown = world.ask(unknown).await;
        unknown.is_refused(401, "authentication_error", "no_credential");
    }
    let intents = world.journal.intents().len();
    world.settled(intents).await;
}
