//! Rotations on a real store, with an Anthropic that is played: killed at every point there is.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use chamberlain_core::rotation::{Rotation, Stage, What};
use http::{Request, Response};
use parking_lot::Mutex as Lock;
use serde_json::Value;

use super::*;
use crate::command::{
    AdminKeyAdd, AuditVerify, KeyAdd, RotationApprove, RotationGiveKey, RotationShow,
    RotationStart, RotationVouch,
};
use crate::reply::{Rotation as Shown, RotationLine};
use crate::web::{Web, WebFault};
use crate::wire::SecretText;

/// Anthropic: which keys it takes, and what it was asked.
#[derive(Default)]
struct Anthropic {
    /// Every key that was made, by its text; false once it is off.
    keys: Lock<BTreeMap<String, bool>>,
    /// Requests to the Admin API that changed something.
    changes: Lock<Vec<String>>,
    /// The process is killed when the next answer is on its way.
    kills: AtomicBool,
    /// Every answer is this status.
    broken: Lock<Option<u16>>,
    asked: Lock<u32>,
}

impl Anthropic {
    fn answer(&self, request: &Request<Bytes>) -> (u16, Value) {
        *self.asked.lock() += 1;
        if let Some(status) = *self.broken.lock() {
            return (status, json!({ "error": { "type": "api_error", "message": "broken" } }));
        }
        let path = request.uri().path();
        if path == "/v1/models" {
            let text = String::from_utf8(request.headers()["x-api-key"].as_bytes().to_vec());
            let taken = self.keys.lock().get(&text.unwrap()).copied().unwrap_or_default();
            let refused = json!({ "error": { "type": "authentication_error" } });
            return if taken { (200, json!({ "data": [] })) } else { (401, refused) };
        }
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let mut keys = self.keys.lock();
        let Some(status) = body["status"].as_str() else {
            let all: Vec<Value> = keys.iter().map(|(text, on)| listed(text, *on)).collect();
            return (200, json!({ "data": all, "has_more": false, "last_id": null }));
        };
        self.changes.lock().push(format!("{path} {status}"));
        let (text, on) =
            keys.iter_mut().find(|(text, _)| path.ends_with(&id_of(text))).expect("a key it has");
        *on = false;
        let mut shown = listed(text, false);
        shown["status"] = json!(status);
        (200, shown)
    }
}

impl Web for Anthropic {
    fn send(&self, request: Request<Bytes>, _: Duration) -> Result<Response<Bytes>, WebFault> {
        let (status, body) = self.answer(&request);
        assert!(!self.kills.swap(false, Ordering::SeqCst), "killed on purpose");
        Ok(Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap())
    }
}

fn id_of(text: &str) -> String {
    format!("apikey_{}", &text[15..18])
}

fn listed(text: &str, on: bool) -> Value {
    json!({
        "id": id_of(text), "type": "api_key", "name": "a key",
        "status": if on { "active" } else { "inactive" },
        "partial_key_hint": format!("sk-ant-api03-{}...{}", &text[13..16], &text[text.len() - 4..]),
        "created_at": "2026-10-02T10:00:00Z", "expires_at": null,
        "scope": { "type": "workspace", "workspace_id": "wrkspc_1" },
    })
}

/// A gateway in which every key does well and nothing is on its way.
struct Calm;

impl Live for Calm {
    fn running(&self) -> Running {
        Running { upstream: "http://anthropic.test/".to_owned(), ..Running::default() }
    }

    fn balances(&self) -> Vec<(AccountId, Balance)> {
        Vec::new()
    }

    fn jobs(&self) -> Vec<JobLine> {
        Vec::new()
    }

    fn use_of(&self, _key: &UpstreamKeyId) -> (u64, Traffic) {
        (0, Traffic { succeeded: 100, ..Traffic::default() })
    }

    fn written_off(&self, _: &[AccountId], _: Money, _: Money) {}
}

/// A house whose production leaves with one key, and an Anthropic beside it.
struct Scene {
    world: World,
    anthropic: Arc<Anthropic>,
    old: String,
    new: String,
}

fn scene() -> Scene {
    let anthropic = Arc::new(Anthropic::default());
    let (old, new) = (real_key('o'), real_key('n'));
    for key in [&old, &new] {
        anthropic.keys.lock().insert(key.clone(), true);
    }
    let world = World::beside(Settings::default(), anthropic.clone());
    world.commander.attach_live(Arc::new(Calm));
    let secret = SecretText::new(Secret::new(old.clone()));
    let environment = Some("production".to_owned());
    let about = crate::command::KeyAbout::default();
    let add = KeyAdd { name: "main".to_owned(), environment, secret, about, staged: false };
    world.ask(add).unwrap();
    let admin = format!("sk-ant-{}-{}AA", "admin01", "k".repeat(93));
    let secret = SecretText::new(Secret::new(admin));
    world.ask(AdminKeyAdd { secret, unchecked: true }).unwrap();
    Scene { world, anthropic, old, new }
}

impl Scene {
    fn begin(&self, emergency: bool) -> Shown {
        let (key, reason) = ("production".to_owned(), "scheduled".to_owned());
        self.world
            .ask(RotationStart { key, reason, emergency, ..RotationStart::default() })
            .unwrap()
    }

    fn shown(&self) -> Shown {
        self.world.ask(RotationShow::default()).unwrap()
    }

    /// What a person would say to that, if anything.
    fn speak(&self, shown: &Shown) {
        let vouch = |what| {
            let note = "seen".to_owned();
            self.world.ask(RotationVouch { rotation: None, what, note }).map(drop)
        };
        let break_glass = Some("nobody else is here".to_owned());
        let said = match shown.stage {
            Stage::Planned => vouch(What::Notified),
            Stage::Notified => {
                let approve = RotationApprove { break_glass, ..RotationApprove::default() };
                self.world.ask(approve).map(drop)
            }
            Stage::Approved => vouch(What::BackedUp),
            Stage::AwaitKey => {
                let secret = SecretText::new(Secret::new(self.new.clone()));
                let give = RotationGiveKey { rotation: None, name: None, secret };
                self.world.ask(give).map(drop)
            }
            Stage::Recorded => vouch(What::BackedUpAgain),
            _ => Ok(()),
        };
        said.unwrap();
    }

    fn open(&self) -> Vec<Rotation> {
        self.world.commander.store.open_rotations().unwrap()
    }

    /// One thing of what Chamberlain does by itself; false when nothing was to be done.
    fn next(&self) -> bool {
        let open = self.open();
        let Some(rotation) = open.first() else { return false };
        self.world.commander.next_effect(&rotation.id).unwrap()
    }

    fn restarted(mut self) -> Scene {
        self.world = self.world.restarted();
        self.world.commander.attach_live(Arc::new(Calm));
        self
    }

    /// Lives a rotation to its end. `kill` says after which effects the process is killed, and
    /// whether that is when the effect is done and its result not written yet.
    fn lived(mut self, kill: impl Fn(usize) -> Option<bool>) -> (Scene, usize) {
        let mut effects = 0;
        for _ in 0..400 {
            let shown = self.shown();
            if shown.stage.is_end() {
                return (self, effects);
            }
            let in_the_middle = kill(effects) == Some(true);
            self.anthropic.kills.store(in_the_middle, Ordering::SeqCst);
            let went_on = catch_unwind(AssertUnwindSafe(|| self.next()));
            self.anthropic.kills.store(false, Ordering::SeqCst);
            if went_on.is_err() || kill(effects).is_some() {
                self = self.restarted();
            }
            match went_on {
                Ok(false) => {
                    self.speak(&shown);
                    self.world.clock.turn(30_000);
                }
                _ => effects += 1,
            }
        }
        panic!("no end: {:?}", self.shown());
    }

    /// What must be so at the end of every planned rotation, whatever happened on the way.
    fn check(&self, what: &str) {
        let shown = self.shown();
        assert_eq!(shown.stage, Stage::Done, "{what}");
        let keys = self.anthropic.keys.lock().clone();
        assert_eq!((keys[&self.old], keys[&self.new]), (false, true), "{what}");
        let house = self.world.commander.house().unwrap();
        let in_use = house.upstream_key_of(&EnvironmentName::new("production")).unwrap();
        assert_eq!(Some(in_use.id.to_string()), shown.new_key, "{what}");
        let leaves = self.world.keyring.get(&in_use.id).unwrap();
        assert_eq!(leaves.expose_header_value(), self.new.as_bytes(), "{what}");
        // In use once, in the log once, and every result after its intent.
        let lines = &shown.timeline;
        let count = |kind: &str, detail: &str| {
            let same = |line: &&RotationLine| line.kind == kind && line.detail == detail;
            lines.iter().filter(same).count()
        };
        assert_eq!(count("result", "promote"), 1, "{what}");
        let log = self.world.folder.path().join("logs/secrets-rotation.log");
        assert_eq!(std::fs::read_to_string(log).unwrap().lines().count(), 1, "{what}");
        for line in lines.iter().filter(|line| line.kind == "result") {
            assert_eq!(count("intent", &line.detail), 1, "{what}: {}", line.detail);
        }
        let seqs: Vec<u64> = lines.iter().map(|line| line.audit_seq).collect();
        assert!(seqs.is_sorted(), "{what}");
        assert!(self.world.ask(AuditVerify::default()).unwrap().ok, "{what}");
    }
}

#[test]
fn a_kill_at_any_point_changes_nothing_at_the_end() {
    let calm = scene();
    calm.begin(false);
    let (calm, effects) = calm.lived(|_| None);
    calm.check("never killed");
    assert!(effects >= 25, "{effects} effects");
    for at in 0..effects {
        for in_the_middle in [false, true] {
            let scene = scene();
            scene.begin(false);
            let kill = |effect| (effect == at).then_some(in_the_middle);
            let (scene, _) = scene.lived(kill);
            scene.check(&format!("killed at effect {at}, in the middle of it: {in_the_middle}"));
        }
    }
    let scene = scene();
    scene.begin(false);
    let (scene, _) = scene.lived(|_| Some(false));
    scene.check("killed after every effect");
}

#[test]
fn an_emergency_that_is_killed_at_any_point_is_contained() {
    for at in 0..20 {
        for in_the_middle in [false, true] {
            let scene = scene();
            scene.begin(true);
            let kill = |effect| (effect == at).then_some(in_the_middle);
            let (scene, _) = scene.lived(kill);
            let what = format!("killed at effect {at}, in the middle of it: {in_the_middle}");
            assert_eq!(scene.shown().stage, Stage::Done, "{what}");
            let keys = scene.anthropic.keys.lock().clone();
            assert_eq!((keys[&scene.old], keys[&scene.new]), (false, true), "{what}");
        }
    }
}

#[test]
fn before_the_command_answers_the_leak_is_closed() {
    let scene = scene();
    let shown = scene.begin(true);
    assert_eq!(shown.cut, Some(Stage::OldInactive));
    let production = EnvironmentName::new("production");
    assert_eq!(scene.world.published().environments[&production].upstream_key, None);
    assert!(scene.world.keyring.is_empty(), "nothing can leave with it");
    assert!(!scene.anthropic.keys.lock()[&scene.old]);
}

#[test]
fn a_swap_that_was_sabotaged_is_found_out_by_its_fingerprint() {
    let scene = scene();
    scene.begin(false);
    for _ in 0..100 {
        let shown = scene.shown();
        if shown.stage == Stage::ServingNew {
            break;
        }
        if !scene.next() {
            scene.speak(&shown);
            scene.world.clock.turn(1_000);
        }
    }
    let shown = scene.shown();
    assert_eq!(shown.stage, Stage::ServingNew);
    // The key on the ring under the new id is the old one: what leaves is not what was swapped in.
    let (old, new) =
        (UpstreamKeyId::new(shown.old_key), UpstreamKeyId::new(shown.new_key.unwrap()));
    let secret = scene.world.commander.open_key(&old).unwrap();
    scene.world.keyring.insert(new, secret);
    for _ in 0..10 {
        scene.next();
    }
    let shown = scene.shown();
    assert_eq!(shown.stage, Stage::RolledBack);
    assert!(shown.ended_because.unwrap().contains("leaves with the key"), "it says why");
    assert!(scene.anthropic.changes.lock().is_empty(), "nothing was switched off");
}

#[test]
fn a_failing_check_leaves_everything_untouched() {
    let scene = scene();
    scene.begin(false);
    *scene.anthropic.broken.lock() = Some(500);
    for _ in 0..20 {
        let shown = scene.shown();
        if !scene.next() && shown.stage != Stage::Approved {
            scene.speak(&shown);
        }
    }
    let shown = scene.shown();
    assert_eq!(shown.stage, Stage::Approved);
    assert!(shown.waits_for[0].contains("Anthropic cannot be asked"), "{:?}", shown.waits_for);
    assert!(scene.anthropic.changes.lock().is_empty() && shown.new_key.is_none());
}

#[test]
fn an_hour_of_500_is_five_tries_and_one_alert() {
    let scene = scene();
    scene.begin(false);
    for _ in 0..100 {
        let shown = scene.shown();
        if shown.stage == Stage::Sealed {
            break;
        }
        if !scene.next() {
            scene.speak(&shown);
        }
    }
    *scene.anthropic.broken.lock() = Some(500);
    *scene.anthropic.asked.lock() = 0;
    for _ in 0..3_600 {
        scene.next();
        scene.world.clock.turn(1_000);
    }
    assert_eq!(*scene.anthropic.asked.lock(), 5);
    assert_eq!(scene.shown().state, "stuck");
    let told = scene.world.commander.store.effects_newest(100).unwrap();
    let alerts = told.iter().filter(|told| told.payload["kind"] == "rotation.failed");
    assert_eq!(alerts.count(), 1);
}
