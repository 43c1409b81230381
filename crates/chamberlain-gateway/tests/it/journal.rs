//! A journal in memory, which also audits: replayed in its own order, nothing on it may ever
//! have been over a limit.

use std::collections::{BTreeMap, HashMap};

use chamberlain_core::ledger::account::{AccountId, Grant, LeaseWanted};
use chamberlain_core::money::Money;
use chamberlain_core::record::{Certainty, Intent, Notice, Settlement, TrueUp, TruedUp};
use chamberlain_core::resource::{
    Binding, PageFrom, Resource, ResourceId, ResourceKind, ResourceList, ResourcePage,
};
use chamberlain_core::time::Timestamp;
use chamberlain_gateway::journal::{Answer, Journal, JournalFault};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Intent(Intent),
    Settled(Settlement),
    Leased(Vec<LeaseWanted>),
    Note(Notice),
    TruedUp(TrueUp),
}

type BindAnswer = (Resource, oneshot::Sender<Result<Binding, JournalFault>>);
type IntentAnswer = oneshot::Sender<Result<(), JournalFault>>;
type LeaseAnswer = (Vec<LeaseWanted>, oneshot::Sender<Result<Vec<Grant>, JournalFault>>);

/// What the journal does with what it is asked.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    #[default]
    Willing,
    /// Keeps everybody waiting until [`MemoryJournal::release`].
    Slow,
    /// Says no.
    Broken,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    intents: Mood,
    leases: Mood,
    bindings: Mood,
    lookups: Mood,
    panics_at_true_ups: bool,
    resources: BTreeMap<(ResourceKind, ResourceId), Resource>,
    kept_intents: Vec<IntentAnswer>,
    kept_bindings: Vec<BindAnswer>,
    kept_leases: Vec<LeaseAnswer>,
}

#[derive(Default)]
pub(crate) struct MemoryJournal {
    state: Mutex<State>,
}

fn broken<T>() -> Result<T, JournalFault> {
    Err(JournalFault("the disk is full".to_owned()))
}

fn later<T: Send + 'static>(receiver: oneshot::Receiver<Result<T, JournalFault>>) -> Answer<T> {
    Box::pin(async { receiver.await.unwrap_or_else(|_| broken()) })
}

fn grant(wanted: &[LeaseWanted]) -> Vec<Grant> {
    let grant =
        |lease: &LeaseWanted| Grant { account: lease.account.clone(), granted: lease.granted };
    wanted.iter().map(grant).collect()
}

impl Journal for MemoryJournal {
    fn intend(&self, intent: Intent) -> Answer<()> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        match state.intents {
            Mood::Willing => {
                state.entries.push(Entry::Intent(intent));
                let _ = answer.send(Ok(()));
            }
            Mood::Slow => {
                state.entries.push(Entry::Intent(intent));
                state.kept_intents.push(answer);
            }
            Mood::Broken => {
                let _ = answer.send(broken());
            }
        }
        later(receiver)
    }

    fn settle(&self, settlement: Settlement) {
        self.state.lock().entries.push(Entry::Settled(settlement));
    }

    fn lease(&self, wanted: Vec<LeaseWanted>) -> Answer<Vec<Grant>> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        state.entries.push(Entry::Leased(wanted.clone()));
        match state.leases {
            Mood::Willing => {
                let _ = answer.send(Ok(grant(&wanted)));
            }
            Mood::Slow => state.kept_leases.push((wanted, answer)),
            Mood::Broken => {
                let _ = answer.send(broken());
            }
        }
        later(receiver)
    }

    fn note(&self, notice: Notice) {
        self.state.lock().entries.push(Entry::Note(notice));
    }

    fn bind(&self, resource: Resource) -> Answer<Binding> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        match state.bindings {
            Mood::Willing => drop(answer.send(Ok(state.bind(resource)))),
            Mood::Slow => state.kept_bindings.push((resource, answer)),
            Mood::Broken => drop(answer.send(broken())),
        }
        later(receiver)
    }

    fn describe(
        &self,
        kind: ResourceKind,
        id: ResourceId,
        about: Map<String, Value>,
    ) -> Answer<()> {
        let found = self.state.lock().resources.get_mut(&(kind, id)).map(|it| it.about = about);
        Box::pin(async move { found.ok_or_else(|| JournalFault("no such resource".to_owned())) })
    }

    fn forget(&self, kind: ResourceKind, id: ResourceId, _: Timestamp) -> Answer<()> {
        self.state.lock().resources.remove(&(kind, id));
        Box::pin(async { Ok(()) })
    }

    fn true_up(&self, found: TrueUp) -> Answer<Option<TruedUp>> {
        let mut state = self.state.lock();
        assert!(!state.panics_at_true_ups, "told to panic");
        let told = state.true_up(found);
        Box::pin(async { Ok(told) })
    }

    fn resources(&self, wanted: Vec<(ResourceKind, ResourceId)>) -> Answer<Vec<Option<Resource>>> {
        let state = self.state.lock();
        let found = wanted.iter().map(|key| state.resources.get(key).cloned()).collect();
        let works = state.lookups != Mood::Broken;
        Box::pin(async move { if works { Ok(found) } else { broken() } })
    }

    fn resources_of(&self, page: ResourcePage) -> Answer<Option<ResourceList>> {
        let list = self.state.lock().list(&page);
        Box::pin(async { Ok(list) })
    }
}

impl State {
    fn true_up(&mut self, found: TrueUp) -> Option<TruedUp> {
        let key = (ResourceKind::Batch, found.batch.clone());
        if let Some(batch) = self.resources.get_mut(&key) {
            batch.about = found.about.clone();
        }
        let is_known =
            self.entries.iter().any(|it| matches!(it, Entry::TruedUp(it) if it.call == found.call));
        let settled = self.entries.iter().find_map(|entry| match entry {
            Entry::Settled(it) if it.call == found.call => Some(it.clone()),
            _ => None,
        })?;
        if is_known || settled.certainty != Certainty::Unsettled {
            return None;
        }
        self.entries.push(Entry::TruedUp(found));
        let (was, accounts) = (settled.cost, settled.accounts);
        Some(TruedUp { was, let_go: was, accounts })
    }

    fn bind(&mut self, resource: Resource) -> Binding {
        let key = (resource.kind, resource.id.clone());
        let owner = self.resources.get(&key).map(|found| &found.virtual_key);
        if owner.is_some_and(|owner| *owner != resource.virtual_key) {
            return Binding::Taken;
        }
        self.resources.insert(key, resource);
        Binding::Bound
    }

    fn list(&self, page: &ResourcePage) -> Option<ResourceList> {
        let is_own = |it: &&Resource| it.kind == page.kind && it.virtual_key == page.virtual_key;
        let mut own: Vec<Resource> = self.resources.values().filter(is_own).cloned().collect();
        own.sort_by_key(|it| std::cmp::Reverse((it.created, it.id.clone())));
        let place = |id: &ResourceId| own.iter().position(|it| it.id == *id);
        let (mut range, backwards) = match &page.from {
            PageFrom::Newest => (0..own.len(), false),
            PageFrom::After(id) => (place(id)? + 1..own.len(), false),
            PageFrom::Before(id) => (0..place(id)?, true),
        };
        let has_more = range.len() > page.count;
        let surplus = range.len().saturating_sub(page.count);
        if backwards {
            range.start += surplus;
        } else {
            range.end -= surplus;
        }
        Some(ResourceList { resources: own[range].to_vec(), has_more })
    }
}

impl MemoryJournal {
    pub(crate) fn intents_are(&self, mood: Mood) {
        self.state.lock().intents = mood;
    }

    pub(crate) fn leases_are(&self, mood: Mood) {
        self.state.lock().leases = mood;
    }

    pub(crate) fn bindings_are(&self, mood: Mood) {
        self.state.lock().bindings = mood;
    }

    /// What is bound by now.
    pub(crate) fn bound(&self) -> Vec<Resource> {
        self.state.lock().resources.values().cloned().collect()
    }

    /// Puts a resource there as if it had been bound before.
    pub(crate) fn has(&self, resource: Resource) {
        let mut state = self.state.lock();
        state.resources.insert((resource.kind, resource.id.clone()), resource);
    }

    pub(crate) fn panics_at_true_ups(&self, panics: bool) {
        self.state.lock().panics_at_true_ups = panics;
    }

    pub(crate) fn lookups_are(&self, mood: Mood) {
        self.state.lock().lookups = mood;
    }

    pub(crate) fn kept_bindings(&self) -> usize {
        self.state.lock().kept_bindings.len()
    }

    /// Answers everybody who was kept waiting, and nobody waits from now on.
    pub(crate) fn release(&self) {
        let mut state = self.state.lock();
        (state.intents, state.leases) = (Mood::Willing, Mood::Willing);
        state.bindings = Mood::Willing;
        for (resource, answer) in std::mem::take(&mut state.kept_bindings) {
            let _ = answer.send(Ok(state.bind(resource)));
        }
        for answer in std::mem::take(&mut state.kept_intents) {
            let _ = answer.send(Ok(()));
        }
        for (wanted, answer) in std::mem::take(&mut state.kept_leases) {
            let _ = answer.send(Ok(grant(&wanted)));
        }
    }

    /// Tells everybody who was kept waiting that it did not work.
    pub(crate) fn fail(&self) {
        let mut state = self.state.lock();
        for answer in std::mem::take(&mut state.kept_intents) {
            let _ = answer.send(broken());
        }
        for (_, answer) in std::mem::take(&mut state.kept_leases) {
            let _ = answer.send(broken());
        }
    }

    pub(crate) fn kept(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.kept_intents.len(), state.kept_leases.len())
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.state.lock().entries.clone()
    }

    pub(crate) fn intents(&self) -> Vec<Intent> {
        let of = |entry| if let Entry::Intent(intent) = entry { Some(intent) } else { None };
        self.entries().into_iter().filter_map(of).collect()
    }

    pub(crate) fn settlements(&self) -> Vec<Settlement> {
        let of = |entry| if let Entry::Settled(it) = entry { Some(it) } else { None };
        self.entries().into_iter().filter_map(of).collect()
    }

    pub(crate) fn true_ups(&self) -> Vec<TrueUp> {
        let of = |entry| if let Entry::TruedUp(it) = entry { Some(it) } else { None };
        self.entries().into_iter().filter_map(of).collect()
    }

    /// Every batch that is remembered.
    pub(crate) fn batches(&self) -> Vec<Resource> {
        let all = self.state.lock();
        all.resources.values().filter(|it| it.kind == ResourceKind::Batch).cloned().collect()
    }

    pub(crate) fn leases(&self) -> Vec<Vec<LeaseWanted>> {
        let of = |entry| if let Entry::Leased(wanted) = entry { Some(wanted) } else { None };
        self.entries().into_iter().filter_map(of).collect()
    }

    pub(crate) fn notices(&self, kind: &str) -> Vec<Notice> {
        let of = |entry| match entry {
            Entry::Note(notice) if notice.kind == kind => Some(notice),
            _ => None,
        };
        self.entries().into_iter().filter_map(of).collect()
    }

    /// Replays the record. Every intent must be settled once and after it, nothing may be left
    /// set aside, and at no point may more than `limit` be spent and set aside in any account.
    pub(crate) fn audit(&self, limit: Money) {
        let mut open = HashMap::new();
        let mut used: HashMap<AccountId, Money> = HashMap::new();
        for entry in self.entries() {
            match entry {
                Entry::Intent(intent) => {
                    for account in &intent.accounts {
                        let sum = used.entry(account.clone()).or_default();
                        *sum = sum.checked_add(intent.reserved).unwrap();
                        assert!(*sum <= limit, "{account}: {} is in use", sum.to_decimal());
                    }
                    assert!(open.insert(intent.call, intent).is_none(), "one call, two intents");
                }
                Entry::Settled(settlement) => {
                    let intent = open.remove(&settlement.call).expect("settled without intent");
                    assert_eq!(settlement.reserved, intent.reserved);
                    assert_eq!(settlement.accounts, intent.accounts);
                    for account in &settlement.accounts {
                        let sum = used.get_mut(account).unwrap();
                        let less = sum.checked_sub(settlement.reserved).unwrap();
                        *sum = less.checked_add(settlement.cost).unwrap();
                        assert!(*sum <= limit, "{account}: {} is in use", sum.to_decimal());
                    }
                    if settlement.certainty == Certainty::Unsettled {
                        assert_eq!(settlement.cost, settlement.reserved);
                    }
                }
                Entry::Leased(_) | Entry::Note(_) | Entry::TruedUp(_) => {}
            }
        }
        assert!(open.is_empty(), "never settled: {:?}", open.keys());
    }
}
