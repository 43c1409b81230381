//! What ends calls in flight, from the command line: asked for in so many words, shown, and on
//! record.

use crate::house::Place;

#[test]
fn a_key_is_cut_for_want_of_money_only_when_asked_and_it_is_shown_and_on_record() {
    let place = Place::new();
    place.run("virtual create --name ci --environment staging").ok();
    let shown = || {
        let facts = place.run("virtual show ci").ok();
        let line = facts.lines().find(|line| line.starts_with("on shortage")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("it is not shown: {facts}"))
    };
    assert!(shown().ends_with("refuse"), "{}", shown());
    place.run("virtual update ci --on-shortage cut").ok();
    assert!(shown().ends_with("cut"), "{}", shown());
    let wrong = place.run("virtual update ci --on-shortage borrow");
    assert_eq!(wrong.code, Some(2), "{wrong:#?}");
    place.run("virtual update ci --daily 5").ok();
    assert!(shown().ends_with("cut"), "another change leaves it: {}", shown());
    place.run("virtual update ci --on-shortage refuse").ok();
    assert!(shown().ends_with("refuse"), "{}", shown());
    place.run("virtual create --name short --environment staging --on-shortage cut").ok();

    let records = place.run("audit export").ok();
    let cut = |kind: &str| {
        let of_kind = records.lines().filter(|line| line.contains(kind));
        of_kind.filter(|line| line.contains(r#""on_shortage":"cut""#)).count()
    };
    // To cut, with another change, and back to refuse; and the key that began so.
    assert_eq!((cut("virtual_key.changed"), cut("virtual_key.created")), (3, 1), "{records}");
    assert!(place.run("audit verify").code == Some(0));
    let help = place.run("virtual create --help").ok();
    assert!(help.contains("does not promise"), "the help says what is not promised: {help}");
}

#[test]
fn a_pause_ends_calls_only_when_asked_and_it_is_shown_and_on_record() {
    let place = Place::new();
    let pause = |more: &str| place.run(&format!("pause staging --reason spike {more}")).ok();
    let shown = pause("--end-calls");
    assert!(shown.contains("calls in flight ended"), "{shown}");
    place.run("resume staging").ok();
    let shown = pause("");
    assert!(!shown.contains("calls in flight"), "{shown}");
    let records = place.run("audit export").ok();
    let paused: Vec<&str> = records.lines().filter(|line| line.contains("scope.paused")).collect();
    let ends = |line: &&str| line.contains(r#""ends_calls":true"#);
    assert_eq!(paused.iter().map(ends).collect::<Vec<_>>(), [true, false], "{records}");
}
