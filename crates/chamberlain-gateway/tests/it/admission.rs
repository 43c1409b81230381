//! The route table, walked whole: a route that is added without admission fails here.

use chamberlain_core::id::{EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::resource::{Resource, ResourceId, ResourceKind};
use chamberlain_gateway::{Access, PathPattern, ROUTES, RouteSpec};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use serde_json::Map;

use crate::journal::Mood;
use crate::upstream::{Answer, message};
use crate::world::{World, body};

const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\
                    Content-Type: text/plain\r\n\r\nHello\r\n--x--\r\n";

fn path(spec: &RouteSpec) -> String {
    match spec.path {
        PathPattern::Exact(whole) => whole.to_owned(),
        PathPattern::OneUnder(prefix) => format!("{prefix}one_1"),
        PathPattern::Within(prefix, suffix) => format!("{prefix}one_1{suffix}"),
    }
}

/// A request that the route takes.
fn request(world: &World, spec: &RouteSpec) -> Request<Full<bytes::Bytes>> {
    let path = path(spec);
    let posts = spec.method == Method::POST;
    let is_form = posts && path == "/v1/files";
    let is_batch = posts && path == "/v1/messages/batches";
    let content = match (posts && !path.ends_with("/cancel"), is_form, is_batch) {
        (false, ..) => String::new(),
        (_, true, _) => FORM.to_owned(),
        (.., true) => {
            format!(r#"{{"requests":[{{"custom_id":"a","params":{}}}]}}"#, body(""))
        }
        _ => body(""),
    };
    let mut request = world.request(&path, content);
    *request.method_mut() = spec.method.clone();
    if is_form {
        let kind = HeaderValue::from_static("multipart/form-data; boundary=x");
        request.headers_mut().insert("content-type", kind);
    }
    request
}

/// A world whose upstream answers every route.
async fn world() -> World {
    let world = World::new().await;
    world.upstream.otherwise(|arrived| {
        let file = r#"{"id":"file_new","type":"file","filename":"a.txt","size_bytes":5}"#;
        let is_new = arrived.target == "/v1/messages/batches";
        let id = if is_new { "msgbatch_new" } else { "one_1" };
        let batch = format!(r#"{{"id":"{id}","processing_status":"in_progress"}}"#);
        let of_files = arrived.target.starts_with("/v1/files");
        if arrived.target.starts_with("/v1/messages/batches") {
            return Answer::json(200, batch);
        }
        Answer::json(200, if of_files { file } else { message() })
    });
    own(&world);
    world
}

/// Puts something of the key's own under every path.
fn own(world: &World) {
    for kind in [ResourceKind::File, ResourceKind::Batch] {
        world.journal.has(Resource {
            kind,
            id: ResourceId::parse("one_1").unwrap(),
            virtual_key: VirtualKeyId::new(world.key.split('_').nth(1).unwrap()),
            environment: EnvironmentName::new("dev"),
            upstream_key: Some(UpstreamKeyId::new("uk_test")),
            created: chamberlain_core::time::Timestamp::default(),
            expires: None,
            about: Map::new(),
        });
    }
}

#[tokio::test]
async fn every_route_but_the_probes_wants_a_virtual_key() {
    let world = world().await;
    let open = ROUTES.iter().filter(|spec| spec.access == Access::Open);
    let open: Vec<_> = open.map(|spec| (spec.method.as_str(), path(spec))).collect();
    assert_eq!(open, [("HEAD", "/".to_owned()), ("HEAD", "/api/hello".to_owned())]);
    for spec in &ROUTES {
        let what = format!("{} {}", spec.method, path(spec));
        let mut nameless = request(&world, spec);
        nameless.headers_mut().remove("x-api-key");
        let mut wrong = request(&world, spec);
        let key = HeaderValue::from_static("chm_0000000000000000_wrong");
        wrong.headers_mut().insert("x-api-key", key);
        for (request, code) in [(nameless, "no_credential"), (wrong, "unknown_key")] {
            let answered = world.ask(request).await;
            let expected = match spec.access {
                Access::Open => (200, None),
                Access::Metered | Access::Free => (401, Some(code)),
            };
            assert_eq!((answered.status.as_u16(), answered.code()), expected, "{what}");
        }
    }
    assert_eq!(world.upstream.arrived().len(), 0);
}

#[tokio::test]
async fn no_route_forwards_what_is_not_on_record() {
    let world = world().await;
    world.journal.intents_are(Mood::Broken);
    for spec in &ROUTES {
        let what = format!("{} {}", spec.method, path(spec));
        let answered = world.ask(request(&world, spec)).await;
        assert_eq!(world.upstream.arrived().len(), 0, "{what} left without a record");
        if spec.access == Access::Metered {
            assert_eq!(answered.code(), Some("not_on_record"), "{what}");
        }
    }
    world.journal.intents_are(Mood::Willing);
    let mut forwarded = 0;
    for spec in &ROUTES {
        let what = format!("{} {}", spec.method, path(spec));
        // The route before may have deleted it.
        own(&world);
        let before = (world.upstream.arrived().len(), world.journal.intents().len());
        let answered = world.ask(request(&world, spec)).await;
        let left = world.upstream.arrived().len() - before.0;
        let recorded = world.journal.intents().len() - before.1;
        assert!(answered.status.is_success(), "{what}: {}", answered.text());
        assert!(left <= recorded, "{what}: {left} left and {recorded} are on record");
        forwarded += left;
    }
    assert!(forwarded >= 5, "only {forwarded} routes were forwarded, so little was tried");
}
