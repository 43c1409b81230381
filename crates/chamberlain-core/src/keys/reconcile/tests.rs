use proptest::prelude::*;

use super::*;
use crate::keys::listed::sample;
use crate::keys::profile::Exemption;

const DAY: i64 = 86_400_000;

fn now() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-24T12:00:00Z").unwrap()
}

fn environment(name: &str) -> EnvironmentName {
    EnvironmentName::new(name)
}

fn own(name: &str, hint: &str) -> OwnKey {
    OwnKey {
        id: format!("uk_{name}"),
        name: name.to_owned(),
        environment: Some(environment("production")),
        stands: Stands::InUse,
        hint: hint.to_owned(),
        profile: Profile::default(),
        added_at: now().plus_ms(-DAY),
        last_used_at: Some(now()),
        serves: vec![environment("production")],
        interval_days: 180,
    }
}

fn listed(id: &str, name: &str, hint: &str) -> ListedKey {
    ListedKey { hint: hint.to_owned(), ..sample(id, name) }
}

fn places() -> Places {
    let environments = ["production", "staging", "development"].map(environment).to_vec();
    Places { workspaces: BTreeMap::new(), environments }
}

const NAME: &str = "a-prod-b-2026-11-23";
const HINT: &str = "sk-ant-api03-R2D...igAA";

fn kinds(own: &[OwnKey], listed: &[ListedKey], places: &Places) -> Vec<FindingKind> {
    let calendar = Calendar::utc();
    let measures = Measures { places, calendar: &calendar, now: now(), unused_days: 30 };
    let workspaces = [
        Workspace { id: "wrkspc_p".into(), name: "a-production".into(), archived_at: None },
        Workspace { id: "wrkspc_s".into(), name: "a-staging".into(), archived_at: None },
    ];
    let mut found = own_findings(own, measures);
    found.extend(listed_findings(own, listed, &workspaces, measures));
    found.iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_key_in_order_gives_nothing() {
    let theirs = [listed("apikey_1", NAME, HINT)];
    assert_eq!(kinds(&[own(NAME, HINT)], &theirs, &places()), []);
}

#[test]
fn a_key_is_met_by_its_id_and_else_by_its_hint() {
    let mut ours = [own("x", HINT), own("y", HINT)];
    let theirs =
        [listed("apikey_1", "x", HINT), listed("apikey_2", "y", "sk-ant-api03-R2D...igAA")];
    let unsure = matches(&ours, &theirs);
    assert_eq!((unsure.pairs.len(), unsure.ambiguous.len()), (0, 2), "two look alike");
    ours[0].profile.anthropic_id = Some("apikey_2".to_owned());
    assert_eq!(matches(&ours, &theirs).pairs, [(0, 1), (1, 0)], "the other is then the one left");
    let short = own("z", "sk-ant-...");
    assert_eq!(matches(&[short], &theirs), Matches::default(), "a hint that says nothing");
}

#[test]
fn what_nobody_here_knows_is_a_shadow_while_it_works() {
    let mut theirs = [listed("apikey_9", "laptop", "sk-ant-api03-Zzz...zzAA")];
    assert_eq!(kinds(&[], &theirs, &places()), [FindingKind::Shadow]);
    theirs[0].status = ListedStatus::Inactive;
    assert_eq!(kinds(&[], &theirs, &places()), []);
    theirs[0].status = ListedStatus::Other("paused".into());
    assert_eq!(kinds(&[], &theirs, &places()), [FindingKind::Shadow], "unknown is not off");
}

#[test]
fn a_key_that_is_off_at_anthropic_is_critical_where_it_serves() {
    let mut theirs = [listed("apikey_1", NAME, HINT)];
    for (status, kind) in [
        (ListedStatus::Inactive, FindingKind::Inactive),
        (ListedStatus::Archived, FindingKind::Inactive),
        (ListedStatus::Expired, FindingKind::Expired),
        (ListedStatus::Other("held".into()), FindingKind::Inactive),
    ] {
        theirs[0].status = status;
        assert_eq!(kinds(&[own(NAME, HINT)], &theirs, &places()), [kind]);
    }
}

#[test]
fn a_removed_key_that_still_works_is_found() {
    let mut removed = own(NAME, HINT);
    removed.stands = Stands::Removed;
    removed.environment = Some(environment("gone"));
    let theirs = [listed("apikey_1", "other", HINT)];
    assert_eq!(kinds(&[removed.clone()], &theirs, &places()), [FindingKind::StillAlive]);
    assert_eq!(kinds(&[removed], &[], &places()), [], "and nothing else is said of it");
}

#[test]
fn a_key_that_anthropic_does_not_list_is_missing() {
    assert_eq!(kinds(&[own(NAME, HINT)], &[], &places()), [FindingKind::Missing]);
    let mut waiting = own(NAME, "");
    waiting.stands = Stands::Listed;
    assert_eq!(kinds(&[waiting], &[], &places()), [], "its value was never given");
}

#[test]
fn a_key_belongs_in_its_environments_workspace() {
    let mut theirs = [listed("apikey_1", NAME, HINT)];
    let put = |theirs: &mut [ListedKey; 1], id: &str| {
        theirs[0].scope = KeyScope::Workspace { id: id.to_owned() };
    };
    let ours = [own(NAME, HINT)];
    put(&mut theirs, "wrkspc_p");
    assert_eq!(kinds(&ours, &theirs, &places()), []);
    put(&mut theirs, "wrkspc_s");
    assert_eq!(kinds(&ours, &theirs, &places()), [FindingKind::Misplaced], "named after staging");
    put(&mut theirs, "wrkspc_elsewhere");
    assert_eq!(kinds(&ours, &theirs, &places()), [], "nothing says that it is wrong");
    for wanted in ["wrkspc_p", "a-production"] {
        let mut places = places();
        places.workspaces.insert(environment("production"), wanted.to_owned());
        assert_eq!(kinds(&ours, &theirs, &places), [FindingKind::Misplaced]);
        put(&mut theirs, "wrkspc_p");
        assert_eq!(kinds(&ours, &theirs, &places), []);
        theirs[0].scope = KeyScope::DefaultWorkspace;
        assert_eq!(kinds(&ours, &theirs, &places), [FindingKind::Misplaced]);
        put(&mut theirs, "wrkspc_elsewhere");
    }
    theirs[0].scope = KeyScope::Organization;
    assert_eq!(kinds(&ours, &theirs, &places()), [FindingKind::OrganizationWide]);
}

#[test]
fn names_are_compared_with_the_convention_and_with_the_console() {
    let theirs = [listed("apikey_1", "my-key", HINT)];
    assert_eq!(kinds(&[own("my-key", HINT)], &theirs, &places()), [FindingKind::Misnamed]);
    assert_eq!(kinds(&[own(NAME, HINT)], &theirs, &places()), [FindingKind::Misnamed]);
    let mut ours = own(NAME, HINT);
    ours.profile.created_on = Date::parse("2026-11-22");
    let theirs = [listed("apikey_1", NAME, HINT)];
    assert_eq!(kinds(&[ours], &theirs, &places()), [FindingKind::Misnamed]);
}

#[test]
fn an_end_is_seen_two_weeks_ahead_and_at_intake() {
    let theirs = [listed("apikey_1", NAME, HINT)];
    let with = |ms: i64| {
        let mut ours = own(NAME, HINT);
        ours.profile.expires_at = Some(now().plus_ms(ms));
        kinds(&[ours], &theirs, &places())
    };
    assert_eq!(with(-1), [FindingKind::Expired]);
    assert_eq!(with(0), [FindingKind::Expired]);
    assert_eq!(with(1), [FindingKind::Expiring]);
    assert_eq!(with(14 * DAY), [FindingKind::Expiring]);
    assert_eq!(with(15 * DAY), [FindingKind::ExpiresEarly]);
    assert_eq!(with(400 * DAY), []);
}

#[test]
fn a_key_at_rest_is_unused_after_thirty_days_unless_it_is_exempt() {
    let theirs = [listed("apikey_1", NAME, HINT)];
    let mut ours = own(NAME, HINT);
    ours.last_used_at = Some(now().plus_ms(-30 * DAY + 1));
    assert_eq!(kinds(&[ours.clone()], &theirs, &places()), []);
    ours.last_used_at = Some(now().plus_ms(-30 * DAY));
    assert_eq!(kinds(&[ours.clone()], &theirs, &places()), [FindingKind::Unused]);
    let until = |text: &str| {
        Some(Exemption { reason: "nightly".into(), until: Date::parse(text).unwrap() })
    };
    ours.profile.exemption = until("2026-11-24");
    assert_eq!(kinds(&[ours.clone()], &theirs, &places()), []);
    ours.profile.exemption = until("2026-11-23");
    assert_eq!(kinds(&[ours], &theirs, &places()), [FindingKind::Unused], "it is over");
}

#[test]
fn one_key_for_several_environments_is_a_finding() {
    let theirs = [listed("apikey_1", NAME, HINT)];
    let mut ours = own(NAME, HINT);
    ours.serves = vec![environment("production"), environment("staging")];
    assert_eq!(kinds(&[ours], &theirs, &places()), [FindingKind::Shared]);
}

#[test]
fn members_come_and_go() {
    let member = |id: &str, role: &str| Member { user_id: id.to_owned(), role: role.to_owned() };
    let before = [member("user_1", "workspace_admin"), member("user_2", "workspace_user")];
    let after = [member("user_2", "workspace_admin"), member("user_1", "workspace_admin")];
    let (came, went) = member_changes(&before, &after);
    assert_eq!(came, [member("user_2", "workspace_admin")]);
    assert_eq!(went, [member("user_2", "workspace_user")], "a new role is a change");
}

proptest! {
    /// However hints and ids fall together, no key of theirs is given to two of ours, and no key
    /// of ours is two of theirs.
    #[test]
    fn nobody_is_matched_twice(
        ours in prop::collection::vec((0_u8..4, prop::option::of(0_u8..6)), 0..8),
        theirs in prop::collection::vec((0_u8..6, 0_u8..4), 0..8),
    ) {
        let hint = |n: u8| format!("sk-ant-api03-ab{n}...cd{n}AA");
        let own: Vec<OwnKey> = ours.iter().enumerate().map(|(at, (n, id))| {
            let mut key = own(&format!("k{at}"), &hint(*n));
            key.profile.anthropic_id = id.map(|id| format!("apikey_{id}"));
            key
        }).collect();
        let listed: Vec<ListedKey> = theirs.iter().map(|(id, n)| {
            listed(&format!("apikey_{id}"), "x", &hint(*n))
        }).collect();
        let found = matches(&own, &listed);
        let left: BTreeSet<_> = found.pairs.iter().map(|(ours, _)| ours).collect();
        let right: BTreeSet<_> = found.pairs.iter().map(|(_, theirs)| theirs).collect();
        prop_assert_eq!(left.len(), found.pairs.len());
        prop_assert_eq!(right.len(), found.pairs.len());
        for (ours, _) in &found.ambiguous {
            prop_assert!(!left.contains(ours));
        }
    }
}
