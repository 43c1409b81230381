//! Whose is what upstream keeps: bound once, for good, and there after a kill.

use chamberlain_core::id::{EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::resource::{
    Binding, PageFrom, Resource, ResourceId, ResourceKind, ResourcePage,
};
use chamberlain_store::{Store, StoreFault};
use serde_json::{Map, json};

use crate::support::*;

fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

fn resource(kind: ResourceKind, text: &str, key: &str, age_ms: i64) -> Resource {
    Resource {
        kind,
        id: id(text),
        virtual_key: VirtualKeyId::new(key),
        environment: EnvironmentName::new("production"),
        upstream_key: Some(UpstreamKeyId::new("uk_1")),
        created: now().plus_ms(-age_ms),
        expires: None,
        about: Map::new(),
    }
}

fn bind(store: &Store, resource: &Resource) -> Binding {
    store.bind(resource.clone()).blocking_recv().unwrap().unwrap()
}

fn find(store: &Store, kind: ResourceKind, text: &str) -> Option<Resource> {
    store.resources(&[(kind, id(text))]).unwrap().remove(0)
}

fn page(store: &Store, from: PageFrom, count: usize) -> Option<(Vec<String>, bool)> {
    let virtual_key = VirtualKeyId::new("alpha");
    let page = ResourcePage { virtual_key, kind: ResourceKind::File, now: now(), from, count };
    let list = store.resources_of(&page).unwrap()?;
    let ids = list.resources.iter().map(|it| it.id.to_string()).collect();
    Some((ids, list.has_more))
}

#[test]
fn what_was_bound_is_read_back_whole_after_a_kill() {
    let house = House::new();
    let store = house.open();
    let mut container = resource(ResourceKind::Container, "cont_1", "alpha", 0);
    container.expires = Some(now().plus_ms(60_000));
    container.about.insert("tokens".into(), json!(7));
    let mut of_mock = resource(ResourceKind::Message, "msg_1", "beta", 0);
    of_mock.upstream_key = None;
    assert_eq!(bind(&store, &container), Binding::Bound);
    assert_eq!(bind(&store, &of_mock), Binding::Bound);
    let after = house.killed(store);
    let store = after.open();
    assert_eq!(find(&store, ResourceKind::Container, "cont_1"), Some(container));
    assert_eq!(find(&store, ResourceKind::Message, "msg_1"), Some(of_mock));
    assert_eq!(find(&store, ResourceKind::File, "msg_1"), None, "ids are of one kind");
}

#[test]
fn a_resource_never_changes_its_owner() {
    let house = House::new();
    let store = house.open();
    let first = resource(ResourceKind::File, "file_1", "alpha", 5);
    assert_eq!(bind(&store, &first), Binding::Bound);
    let mut again = resource(ResourceKind::File, "file_1", "alpha", 0);
    again.about.insert("size".into(), json!(3));
    assert_eq!(bind(&store, &again), Binding::Bound);
    let named_by_an_answer = resource(ResourceKind::File, "file_1", "alpha", 0);
    assert_eq!(bind(&store, &named_by_an_answer), Binding::Bound, "and its size is not forgotten");
    let thief = resource(ResourceKind::File, "file_1", "beta", 0);
    assert_eq!(bind(&store, &thief), Binding::Taken);
    let kept = Resource { created: first.created, ..again };
    assert_eq!(find(&store, ResourceKind::File, "file_1"), Some(kept));
    let kinds = kinds(&store);
    let count = |kind: &str| kinds.iter().filter(|it| *it == kind).count();
    assert_eq!((count("file.created"), count("resource.taken")), (1, 1));
    // Upstream handing out an id twice is told to people.
    assert_eq!(store.effects_newest(9).unwrap().len(), 1);
}

#[test]
fn what_is_remembered_can_be_changed_and_forgotten() {
    let house = House::new();
    let store = house.open();
    bind(&store, &resource(ResourceKind::Batch, "batch_1", "alpha", 0));
    let about = Map::from_iter([("ended".to_owned(), json!(true))]);
    let describe = |text: &str| {
        store.describe(ResourceKind::Batch, id(text), about.clone()).blocking_recv().unwrap()
    };
    describe("batch_1").unwrap();
    assert_eq!(find(&store, ResourceKind::Batch, "batch_1").unwrap().about, about);
    assert!(matches!(describe("batch_2"), Err(StoreFault::Missing(_))));
    for _ in 0..2 {
        let gone = store.forget(ResourceKind::Batch, id("batch_1"), now());
        gone.blocking_recv().unwrap().unwrap();
    }
    assert_eq!(find(&store, ResourceKind::Batch, "batch_1"), None);
    let kinds = kinds(&store);
    let of_batch: Vec<_> = kinds.iter().filter(|kind| kind.starts_with("batch.")).collect();
    assert_eq!(of_batch, ["batch.created", "batch.deleted"]);
    assert!(verified(&store, &[], &[]).is_sound());
}

#[test]
fn a_list_has_only_ones_own_the_newest_first() {
    let house = House::new();
    let store = house.open();
    for age in 1..=5 {
        bind(&store, &resource(ResourceKind::File, &format!("file_{age}"), "alpha", age));
    }
    bind(&store, &resource(ResourceKind::File, "file_of_beta", "beta", 2));
    bind(&store, &resource(ResourceKind::Batch, "batch_1", "alpha", 2));
    let mut expired = resource(ResourceKind::File, "file_expired", "alpha", 2);
    expired.expires = Some(now());
    bind(&store, &expired);
    let names = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let first = page(&store, PageFrom::Newest, 2).unwrap();
    assert_eq!(first, (names(&["file_1", "file_2"]), true));
    let second = page(&store, PageFrom::After(id("file_2")), 3).unwrap();
    assert_eq!(second, (names(&["file_3", "file_4", "file_5"]), false));
    let back = page(&store, PageFrom::Before(id("file_4")), 2).unwrap();
    assert_eq!(back, (names(&["file_2", "file_3"]), true));
    let all_back = page(&store, PageFrom::Before(id("file_3")), 2).unwrap();
    assert_eq!(all_back, (names(&["file_1", "file_2"]), false));
    for not_own in ["file_of_beta", "file_unknown", "batch_1"] {
        assert_eq!(page(&store, PageFrom::After(id(not_own)), 2), None, "{not_own}");
    }
}

#[test]
fn what_expired_is_forgotten_in_time() {
    let house = House::new();
    let store = house.open();
    for (text, expires) in [("c_1", Some(-2)), ("c_2", Some(0)), ("c_3", None)] {
        let mut it = resource(ResourceKind::Container, text, "alpha", 9);
        it.expires = expires.map(|ms| now().plus_ms(ms));
        bind(&store, &it);
    }
    for (text, state) in [("batch_open", "open"), ("batch_known", "settled")] {
        let mut it = resource(ResourceKind::Batch, text, "alpha", 9);
        it.expires = Some(now().plus_ms(-2));
        it.about.insert("state".into(), json!(state));
        bind(&store, &it);
    }
    assert_eq!(store.prune_resources(now()).unwrap(), 2);
    assert_eq!(store.prune_resources(now()).unwrap(), 0);
    assert_eq!(find(&store, ResourceKind::Batch, "batch_known"), None);
    assert_eq!(store.open_batches().unwrap().len(), 1, "its cost is still to be learned");
    assert_eq!(find(&store, ResourceKind::Container, "c_1"), None);
    assert!(find(&store, ResourceKind::Container, "c_2").is_some());
    assert!(find(&store, ResourceKind::Container, "c_3").is_some());
    assert_eq!(kinds(&store).iter().filter(|kind| *kind == "resources.pruned").count(), 1);
}
