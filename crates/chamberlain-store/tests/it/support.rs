//! A store in a folder of its own, a clock to turn, and calls to put on record.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chamberlain_core::audit::note::VerifierKey;
use chamberlain_core::audit::record::Principal;
use chamberlain_core::audit::verify::{Report, Verifier};
use chamberlain_core::id::{CallId, EnvironmentName, UpstreamKeyId, VirtualKeyId};
use chamberlain_core::ledger::account::{AccountId, Balance, LeaseWanted, Scope};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Notice, Outcome, Route, Settlement, Severity};
use chamberlain_core::time::{Calendar, Clock, Timestamp, WindowKind};
use chamberlain_core::usage::Tokens;
use chamberlain_store::{OpenOptions, Store, StoreFault, StoredRecord};
use tempfile::TempDir;

/// 2026-11-23T09:00:00Z.
pub(crate) const NOW: i64 = 1_795_424_400_000;

pub(crate) const BOOT: &str = "boot-1";

#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ms(self.0.load(Ordering::SeqCst))
    }
}

/// A folder with a store in it.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<TestClock>,
}

impl House {
    pub(crate) fn new() -> House {
        let clock = Arc::new(TestClock(AtomicI64::new(NOW)));
        House { folder: tempfile::tempdir().unwrap(), clock }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("chamberlain.db")
    }

    pub(crate) fn set_clock(&self, now: i64) {
        self.clock.0.store(now, Ordering::SeqCst);
    }

    pub(crate) fn try_open(&self, boot_id: &str) -> Result<Store, StoreFault> {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let options =
            OpenOptions { clock, boot_id: boot_id.into(), read_only: false, bytes_max: None };
        Store::open(&self.path(), options)
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open(BOOT).unwrap()
    }

    /// What a kill would leave behind: a copy of the files, taken while the store is open.
    pub(crate) fn killed(&self, store: Store) -> House {
        settle_down(&store);
        let copy = self.copied();
        drop(store);
        copy
    }

    /// A copy of the files as they are, while nothing is written to them.
    pub(crate) fn copied(&self) -> House {
        let copy = House::new();
        copy.set_clock(self.clock.now().ms());
        for suffix in ["", "-wal", ".intake-0", ".intake-1"] {
            let name = format!("chamberlain.db{suffix}");
            std::fs::copy(self.folder.path().join(&name), copy.folder.path().join(&name)).unwrap();
        }
        copy
    }

    pub(crate) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_ms(NOW)
}

pub(crate) fn usd(usd: i64) -> Money {
    Money::from_usd(usd)
}

pub(crate) fn actor() -> Principal {
    Principal::Person("ada".into())
}

/// The accounts of a key of the environment `production` at `at`.
pub(crate) fn accounts(key: &str, at: Timestamp) -> Vec<AccountId> {
    let scopes = [
        Scope::Organization,
        Scope::Environment(EnvironmentName::new("production")),
        Scope::VirtualKey(VirtualKeyId::new(key)),
    ];
    let account = |scope: &Scope, kind| AccountId {
        scope: scope.clone(),
        window: Calendar::utc().window(kind, at),
    };
    scopes.iter().flat_map(|scope| WindowKind::ALL.map(|kind| account(scope, kind))).collect()
}

static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) fn call_id(at: Timestamp) -> CallId {
    let mut entropy = [0; 10];
    entropy[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes());
    CallId::mint(at, entropy)
}

pub(crate) fn intent_at(key: &str, reserved: Money, at: Timestamp) -> Intent {
    Intent {
        call: call_id(at),
        at,
        virtual_key: VirtualKeyId::new(key),
        environment: EnvironmentName::new("production"),
        upstream_key: Some(UpstreamKeyId::new("uk_1")),
        route: Route::Messages,
        operation: None,
        model: "claude-sonnet-5".into(),
        max_tokens: 1024,
        stream: true,
        source: "10.0.0.1".parse().unwrap(),
        reserved,
        accounts: accounts(key, at),
        resource: None,
    }
}

pub(crate) fn intent(key: &str, reserved: Money) -> Intent {
    intent_at(key, reserved, now())
}

pub(crate) fn settlement(intent: &Intent, cost: Money, certainty: Certainty) -> Settlement {
    Settlement {
        call: intent.call,
        at: intent.at.plus_ms(1_500),
        outcome: Outcome::Completed,
        certainty,
        cost,
        reserved: intent.reserved,
        accounts: intent.accounts.clone(),
        served_model: Some(intent.model.clone()),
        tokens: Tokens { input: 100, output: 50, ..Tokens::default() },
        usage: None,
        status: 200,
        upstream_request_id: Some("req_1".into()),
        stop_reason: Some("end_turn".into()),
        attempts: 1,
        first_byte_ms: Some(300),
        duration_ms: 1_500,
    }
}

pub(crate) fn notice(kind: &str, severity: Severity) -> Notice {
    Notice {
        at: now(),
        kind: kind.into(),
        severity,
        subject: "production".into(),
        message: "Something was noticed.".into(),
        facts: serde_json::Map::new(),
        notify: false,
    }
}

pub(crate) fn lease(account: &AccountId, granted: Money, limit: Money) -> LeaseWanted {
    LeaseWanted { account: account.clone(), granted, limit }
}

/// Records an intent and waits for it.
pub(crate) fn intend(store: &Store, intent: &Intent) {
    store.intend(intent.clone()).blocking_recv().unwrap().unwrap();
}

/// Waits until everything queued so far is committed.
pub(crate) fn settle_down(store: &Store) {
    store.lease(Vec::new()).blocking_recv().unwrap().unwrap();
}

/// The balance of one account, as a reader sees it.
pub(crate) fn balance(store: &Store, account: &AccountId) -> Balance {
    let balances = store.balances(account.window.start).unwrap();
    let found = balances.into_iter().find(|(id, _)| id == account);
    found.map(|(_, balance)| balance).unwrap_or_default()
}

/// Reads the whole audit log with core's verifier, with checkpoints from elsewhere, on one core and
/// on several.
pub(crate) fn verified(store: &Store, trusted: &[VerifierKey], elsewhere: &[String]) -> Report {
    let verifier = || {
        let mut verifier = Verifier::new(trusted.to_vec(), 0);
        elsewhere.iter().for_each(|note| verifier.checkpoint(note));
        for stored in store.checkpoints().unwrap() {
            verifier.checkpoint(std::str::from_utf8(&stored.note).unwrap());
        }
        verifier
    };
    let (mut alone, mut together) = (verifier(), verifier());
    let each = |record: StoredRecord<'_>| {
        alone.record(record.found());
        std::ops::ControlFlow::Continue(())
    };
    store.audit_each(0, each).unwrap();
    let each = |record: StoredRecord<'_>, hash| {
        together.hashed(record.found(), hash);
        std::ops::ControlFlow::Continue(())
    };
    store.audit_hashed(each).unwrap();
    let report = together.finish();
    assert_eq!(alone.finish(), report);
    report
}

/// The kinds of all audit records, in order.
pub(crate) fn kinds(store: &Store) -> Vec<String> {
    let mut kinds = Vec::new();
    store
        .audit_each(0, |record| {
            let read = chamberlain_core::audit::record::Record::read(record.bytes).unwrap();
            assert_eq!(read.seq, record.seq);
            kinds.push(read.kind);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    kinds
}

/// How often each file suffix of the store is readable by others.
pub(crate) fn modes(folder: &Path) -> Vec<(String, u32)> {
    use std::os::unix::fs::PermissionsExt;
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mode = |entry: &std::fs::DirEntry| entry.metadata().unwrap().permissions().mode() & 0o777;
    let mut modes: Vec<_> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), mode(&entry)))
        .collect();
    modes.sort();
    modes
}
