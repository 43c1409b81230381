//! Which commits wait for the disk.

use std::sync::atomic::{AtomicI64, Ordering};

use chamberlain_core::id::{CallId, EnvironmentName, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Intent, Route, TrueUp};
use chamberlain_core::resource::ResourceId;
use chamberlain_core::time::{Calendar, WindowKind};
use chamberlain_core::usage::Tokens;
use tokio::sync::oneshot;

use super::*;
use crate::{file, schema};

/// 2026-11-24T00:00:00Z.
const MIDNIGHT: i64 = 1_795_478_400_000;

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(MIDNIGHT + ms)
}

fn writer(folder: &tempfile::TempDir) -> Writer {
    let path = folder.path().join("chamberlain.db");
    let mut connection = file::open_for_writing(&path).unwrap();
    schema::migrate(&mut connection, at(-60_000)).unwrap();
    connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
    let state = State::load(&connection).unwrap();
    let clock = Arc::new(TestClock(AtomicI64::new(MIDNIGHT)));
    let identity = Identity::of(&path).unwrap();
    let intake = crate::intake::Intake::open(&path).unwrap();
    let queue = Queue::new(intake, 0, state.log.last_at(), clock.clone());
    Writer::new(connection, state, Arc::new(queue), clock, identity)
}

/// Hands over one item and has it committed; true when it waited for the disk.
fn waits(writer: &mut Writer, item: Item) -> bool {
    match item {
        Item::Intend(intent, _) => {
            let (answer, mut answered) = oneshot::channel();
            writer.queue.intend(intent, answer);
            writer.queue.write_ahead();
            let is_recorded = answered.try_recv().is_ok();
            let synced = commit(writer);
            assert_eq!(is_recorded, !synced, "nobody is told before it is on the disk");
            assert!(is_recorded || answered.try_recv() == Ok(Ok(())));
            synced
        }
        item => {
            writer.queue.push(item);
            commit(writer)
        }
    }
}

/// Commits what is queued; true when the commit waited for the disk.
fn commit(writer: &mut Writer) -> bool {
    let mut batch = writer.queue.take(None);
    let Ok(answers) = writer.write(&mut batch) else { panic!("it could not be written") };
    writer.queue.committed(batch.next, writer.synced, writer.state.log.last_at());
    batch.items.into_iter().zip(answers).for_each(|((_, item), answer)| reply(item, answer));
    let level: i64 =
        writer.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
    assert_eq!(writer.synced, level == 2, "2 is FULL");
    writer.synced
}

fn intent(ms: i64, entropy: u8) -> Item {
    let window = Calendar::utc().window(WindowKind::Daily, at(ms));
    let intent = Intent {
        call: CallId::mint(at(ms), [entropy; 10]),
        at: at(ms),
        virtual_key: VirtualKeyId::new("alpha"),
        environment: EnvironmentName::new("production"),
        upstream_key: None,
        route: Route::Messages,
        operation: None,
        model: "claude-sonnet-5".into(),
        max_tokens: 1,
        stream: false,
        source: [10, 0, 0, 1].into(),
        reserved: Money::from_usd(1),
        accounts: vec![AccountId { scope: Scope::Organization, window }],
        resource: None,
    };
    Item::Intend(Arc::new(intent), None)
}

fn note(ms: i64) -> Item {
    let severity = Severity::Info;
    let (kind, subject) = ("test".into(), "store".into());
    let facts = serde_json::Map::new();
    let message = String::from("Noted.");
    Item::Note(Box::new(Notice {
        at: at(ms),
        kind,
        severity,
        subject,
        message,
        facts,
        notify: false,
    }))
}

#[test]
fn an_intent_of_a_day_that_has_ended_on_record_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    assert!(!waits(&mut writer, intent(-2, 1)));
    assert!(!waits(&mut writer, note(1)));
    assert!(waits(&mut writer, intent(-1, 2)), "a power loss could end the record at the notice");
    assert!(!waits(&mut writer, intent(-1, 3)), "the record ends in its day again, on the disk");
    assert!(!waits(&mut writer, note(1)));
    assert!(!waits(&mut writer, intent(2, 4)), "the new day's calls do not wait");
    assert!(!waits(&mut writer, note(-5)), "a clock that was set back");
    assert!(waits(&mut writer, intent(-1, 5)), "the record may still end at midnight");
}

#[test]
fn a_lease_waits_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    assert!(waits(&mut writer, Item::Lease(Vec::new(), oneshot::channel().0)));
    assert!(!waits(&mut writer, note(1)));
}

#[test]
fn a_true_up_waits_for_the_disk() {
    // What it frees is spent by calls that need no new lease. If a power loss took the true-up
    // and those calls, it would be done again and free the same money a second time.
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    let found = TrueUp {
        call: CallId::mint(at(0), [1; 10]),
        at: at(0),
        cost: Money::from_usd(1),
        tokens: Tokens::default(),
        served_model: None,
        batch: ResourceId::parse("msgbatch_1").unwrap(),
        about: serde_json::Map::new(),
    };
    assert!(waits(&mut writer, Item::TrueUp(Box::new(found), oneshot::channel().0)));
    assert!(!waits(&mut writer, note(1)));
}
