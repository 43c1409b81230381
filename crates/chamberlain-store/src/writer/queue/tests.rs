use std::thread;

use chamberlain_core::id::{EnvironmentName, VirtualKeyId};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Outcome, Route};
use chamberlain_core::usage::Tokens;

use super::*;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(7)
    }
}

fn intent(number: u64) -> Arc<Intent> {
    let mut entropy = [0; 10];
    entropy[2..].copy_from_slice(&number.to_be_bytes());
    Arc::new(Intent {
        call: CallId::mint(Timestamp::from_ms(0), entropy),
        at: Timestamp::from_ms(0),
        virtual_key: VirtualKeyId::new("key"),
        environment: EnvironmentName::new("production"),
        upstream_key: None,
        route: Route::Messages,
        operation: None,
        model: "claude-sonnet-5".into(),
        max_tokens: 1,
        stream: false,
        source: [127, 0, 0, 1].into(),
        reserved: Money::from_usd(1),
        accounts: Vec::new(),
        resource: None,
    })
}

fn settle(queue: &Queue, intent: &Intent) {
    queue.push(Item::Settle(Arc::new(Settlement {
        call: intent.call,
        at: intent.at,
        outcome: Outcome::Completed,
        certainty: Certainty::Settled,
        cost: Money::ZERO,
        reserved: intent.reserved,
        accounts: Vec::new(),
        served_model: None,
        tokens: Tokens::default(),
        usage: None,
        status: 200,
        upstream_request_id: None,
        stop_reason: None,
        attempts: 1,
        first_byte_ms: None,
        duration_ms: 1,
    })));
}

fn intend(queue: &Queue, intent: Arc<Intent>) -> Result<(), StoreFault> {
    let (answer, answered) = oneshot::channel();
    queue.intend(intent, answer);
    queue.write_ahead();
    answered.blocking_recv().unwrap()
}

fn is_intent((_, item): &(u64, Item)) -> bool {
    matches!(item, Item::Intend(..))
}

#[test]
fn an_intent_that_the_intake_does_not_take_is_refused_and_forgotten() {
    let queue = Queue::new(Intake::full(), 0, None, Arc::new(Stopped));
    let first = intent(1);
    settle(&queue, &intent(0));
    assert_eq!(intend(&queue, first.clone()), Err(StoreFault::DiskFull));
    assert_eq!(queue.probe(), Err(StoreFault::DiskFull));
    let failure = queue.health().failure.unwrap();
    assert_eq!((failure.fault, failure.refused), (StoreFault::DiskFull, 1));
    assert_eq!(
        intend(&queue, first.clone()),
        Err(StoreFault::Failing(Box::new(StoreFault::DiskFull))),
        "it is not taken for a second one"
    );
    let batch = queue.take(Some(Duration::ZERO));
    assert_eq!(batch.items.len(), 1, "what has happened is kept");
    assert!(!batch.items.iter().any(is_intent));
    assert_eq!(batch.next, 2, "numbers are not given twice");
    assert!(batch.failure.is_some());
    queue.committed(batch.next, false, None);
    assert_eq!(queue.health().failure, None);
}

#[test]
fn nothing_is_added_to_the_intake_after_a_failure_until_the_tables_have_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let queue = Queue::new(Intake::open(&path).unwrap(), 0, None, Arc::new(Stopped));
    intend(&queue, intent(1)).unwrap();
    let batch = queue.take(None);
    queue.give_back(
        batch.items,
        &[],
        batch.suppressed,
        StoreFault::DiskFull,
        Timestamp::from_ms(0),
    );
    settle(&queue, &intent(1));
    let batch = queue.take(Some(Duration::ZERO));
    assert_eq!((batch.items.len(), batch.next), (2, 2));
    settle(&queue, &intent(7));
    queue.committed(batch.next, false, None);
    let refused = intend(&queue, intent(2));
    assert!(matches!(refused, Err(StoreFault::Failing(_))), "a gap would be before it");
    let batch = queue.take(Some(Duration::ZERO));
    queue.committed(batch.next, false, None);
    intend(&queue, intent(2)).unwrap();
    let left = crate::intake::left_over(&path, batch.next).unwrap();
    assert_eq!(left.len(), 1, "it is found without a gap");
}

#[test]
fn the_writer_takes_everything_once_in_order_and_only_from_the_intake() {
    const EACH: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let queue = Queue::new(Intake::open(&path).unwrap(), 0, None, Arc::new(Stopped));
    let mut taken = Vec::new();
    thread::scope(|scope| {
        for caller in 0..4 {
            let queue = &queue;
            scope.spawn(move || {
                for number in caller * EACH..(caller + 1) * EACH {
                    intend(queue, intent(number)).unwrap();
                }
            });
        }
        while taken.len() < 4 * EACH as usize {
            let batch = queue.take(None);
            let there = crate::intake::left_over(&path, 0).unwrap().len() as u64;
            assert!(batch.next <= there, "{} of {there}", batch.next);
            taken.extend(batch.items.iter().map(|(number, _)| *number));
            queue.committed(batch.next, false, None);
        }
    });
    assert_eq!(taken, (0..4 * EACH).collect::<Vec<_>>());
}
