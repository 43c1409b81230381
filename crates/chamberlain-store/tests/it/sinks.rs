//! What is on record of sinks.

use chamberlain_core::sink::fault::Effect;
use chamberlain_store::{Change, DeliveryState, Facts, NamedKey, SinkRow, Store, StoreFault};

use crate::support::*;

fn change<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut Change<'_>) -> Result<T, StoreFault> + Send + 'static,
) -> Result<T, StoreFault> {
    store.change(actor(), |change| {
        let done = work(change)?;
        change.audit("sink.tried", "sink:app", &Facts::default())?;
        Ok(done)
    })
}

fn key(name: &str) -> NamedKey {
    NamedKey { key: format!("uk_{name}"), stands_for: format!("of {name}") }
}

fn begin(store: &Store, place: &'static str, name: &'static str) {
    change(store, move |change| change.begin_delivery("app", place, &key(name))).unwrap();
}

fn fail(store: &Store, effect: Effect) {
    change(store, move |change| change.fail_delivery("app", effect, "it broke")).unwrap();
}

fn row(store: &Store) -> SinkRow {
    let [row] = store.sinks().unwrap().try_into().unwrap();
    row
}

fn held(store: &Store) -> Option<String> {
    row(store).held.map(|held| held.key.key)
}

#[test]
fn what_a_sink_holds_follows_from_what_is_known() {
    let house = House::new();
    let store = house.open();
    begin(&store, "/a", "one");
    assert_eq!((row(&store).state, held(&store)), (DeliveryState::Begun, None));
    change(&store, |change| change.end_delivery("app", "m1")).unwrap();
    assert_eq!(
        (row(&store).state, held(&store)),
        (DeliveryState::Delivered, Some("uk_one".into()))
    );
    for (effect, holds) in
        [(Effect::Nothing, "uk_one"), (Effect::Unknown, "uk_one"), (Effect::Done, "uk_two")]
    {
        begin(&store, "/a", "two");
        assert_eq!(held(&store).as_deref(), Some("uk_one"), "an intent is no delivery");
        fail(&store, effect);
        let row = row(&store);
        assert_eq!((row.state, row.effect), (DeliveryState::Failed, Some(effect)));
        assert_eq!(held(&store).as_deref(), Some(holds), "{effect:?}");
    }
    // Another place: what lies there nobody knows.
    begin(&store, "/b", "two");
    assert_eq!(held(&store), None);
    // And all of it after a restart.
    let before = row(&store);
    drop(store);
    assert_eq!(row(&house.open()), before);
}

#[test]
fn only_what_was_begun_ends_and_once() {
    let house = House::new();
    let store = house.open();
    let ends = || change(&store, |change| change.end_delivery("app", "m"));
    assert!(matches!(ends(), Err(StoreFault::Missing(_))));
    begin(&store, "/a", "one");
    ends().unwrap();
    assert!(matches!(ends(), Err(StoreFault::Missing(_))));
    assert!(change(&store, |change| change.forget_sink("app")).unwrap());
    assert_eq!(store.sinks().unwrap(), []);
}
