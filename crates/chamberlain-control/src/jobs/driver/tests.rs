use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(1_000)
    }
}

#[derive(Default)]
struct Count {
    at_work: AtomicBool,
    runs: AtomicU64,
    fails: AtomicBool,
    ran: Notify,
}

impl Job for Count {
    fn name(&self) -> &'static str {
        "count"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(3_600)
    }

    fn run(&self, now: Timestamp) -> Result<(), String> {
        assert_eq!(now, Fixed.now());
        assert!(!self.at_work.swap(true, Ordering::SeqCst), "two runs at once");
        std::thread::yield_now();
        self.at_work.store(false, Ordering::SeqCst);
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.ran.notify_one();
        if self.fails.load(Ordering::SeqCst) { Err("no".to_owned()) } else { Ok(()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_at_once_at_kicks_and_never_twice_at_a_time() {
    let (driver, kicks, job) =
        (Driver::new(Arc::new(Fixed)), Kicks::default(), Arc::new(Count::default()));
    driver.drive(job.clone(), &kicks);
    job.ran.notified().await;
    kicks.kick("another");
    for _ in 0..20 {
        kicks.kick("count");
        driver.kick_all();
        job.ran.notified().await;
    }
    driver.stop().await;
    let status = driver.status();
    assert_eq!((status[0].name.as_str(), status[0].running), ("count", false));
    assert_eq!(status[0].runs, job.runs.load(Ordering::SeqCst));
    assert!(status[0].runs >= 21 && status[0].last_error.is_none());
    kicks.kick("count");
    tokio::task::yield_now().await;
    assert_eq!(driver.status()[0].runs, status[0].runs, "it ran after it was stopped");
}

#[tokio::test]
async fn a_failure_is_shown_until_a_run_succeeds() {
    let (driver, kicks, job) =
        (Driver::new(Arc::new(Fixed)), Kicks::default(), Arc::new(Count::default()));
    job.fails.store(true, Ordering::SeqCst);
    driver.drive(job.clone(), &kicks);
    job.ran.notified().await;
    while driver.status()[0].runs < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(driver.status()[0].last_error.as_deref(), Some("no"));
    job.fails.store(false, Ordering::SeqCst);
    kicks.kick("count");
    job.ran.notified().await;
    driver.stop().await;
    assert_eq!(driver.status()[0].last_error, None);
}
