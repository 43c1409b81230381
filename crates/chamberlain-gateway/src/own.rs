//! Own: whether what a request refers to was made for the virtual key that refers to it.
//!
//! Somebody else's id is refused exactly like one that does not exist, so that nobody learns which
//! ids there are; that it was tried is put on record.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::anthropic::request::{RequestFacts, ThreadMemory};
use chamberlain_core::id::{UpstreamKeyId, VirtualKeyId};
use chamberlain_core::record::{Notice, Severity};
use chamberlain_core::resource::{Resource, ResourceId, ResourceKind};
use chamberlain_core::time::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, json};

use crate::gateway::Inner;
use crate::identify::Call;
use crate::strangers::Minute;

/// Where the thread lives that a call goes on with: its upstream key, `None` for the mock.
pub(crate) type Home = Option<UpstreamKeyId>;

impl Inner {
    /// Refuses what is not the caller's own, takes in what is remembered of a thread, and gives
    /// where that thread lives.
    pub(crate) async fn own(
        &self,
        call: &Call,
        request: &mut RequestFacts,
    ) -> Result<Option<Home>, Refusal> {
        let mut wanted = Vec::new();
        let mut want = |kind, id: &ResourceId| wanted.push((kind, id.clone()));
        request.previous_message.iter().for_each(|id| want(ResourceKind::Message, id));
        request.container.iter().for_each(|id| want(ResourceKind::Container, id));
        request.files.iter().for_each(|id| want(ResourceKind::File, id));
        if let Some(id) = &request.diagnosed_message
            && !self.messages.heard(id, &call.key.id)
        {
            want(ResourceKind::Message, id);
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let found = self.look_up(call, wanted.clone()).await?;
        let mut home = None;
        for ((kind, id), resource) in wanted.into_iter().zip(found) {
            let is_thread = request.previous_message.as_ref() == Some(&id);
            let refused = || match kind {
                ResourceKind::Message if is_thread => {
                    Refusal::UnknownThread { id: id.clone(), moved: false }
                }
                kind => Refusal::UnknownResource { kind, id: id.to_string() },
            };
            let resource = resource.filter(|it| self.is_own(call, it)).ok_or_else(refused)?;
            if is_thread && home.is_none() {
                let memory = ThreadMemory::from_about(resource.about).ok_or_else(refused)?;
                request.resume(memory);
                home = Some(resource.upstream_key);
            }
        }
        Ok(home)
    }

    /// Whether a resource is the caller's; that another key's was named is told.
    pub(crate) fn is_own(&self, call: &Call, resource: &Resource) -> bool {
        let own = resource.virtual_key == call.key.id;
        if !own && let Some(untold) = self.foreign.tell(&call.key.id, call.at) {
            self.note(foreign(call, resource, untold));
        }
        own
    }
}

/// How often each virtual key named what is not its own, in this minute. Enough is told to see it;
/// not so much that a key could fill the audit log, or the inbox of a person, with ids it knows.
#[derive(Default)]
pub(crate) struct Foreign(Mutex<HashMap<VirtualKeyId, Minute>>);

/// Notices in a minute for each virtual key; the others are counted, and told with the next.
const TOLD_MAX: u64 = 10;

impl Foreign {
    fn tell(&self, key: &VirtualKeyId, now: Timestamp) -> Option<u64> {
        let mut keys = self.0.lock();
        match keys.get_mut(key) {
            Some(minute) => minute.tell(TOLD_MAX, now),
            None => {
                // Only keys that did so lately, or have something untold, are kept in mind.
                keys.retain(|_, minute| !minute.is_over(now));
                keys.entry(key.clone()).or_default().tell(TOLD_MAX, now)
            }
        }
    }
}

fn foreign(call: &Call, resource: &Resource, untold: u64) -> Notice {
    let (kind, id) = (resource.kind, &resource.id);
    let facts = json!({
        "call": call.id,
        "virtual_key": call.key.id,
        "source": call.source,
        "kind": kind,
        "id": id,
        "owner": resource.virtual_key,
        "untold": untold,
    });
    Notice {
        at: call.at,
        kind: "security.foreign_id".to_owned(),
        severity: Severity::Warning,
        subject: format!("virtual key {}", call.key.id),
        message: format!(
            "The virtual key {} named the {kind} {id}, which belongs to the virtual key {}; it was \
             told that there is none.{}",
            call.key.id,
            resource.virtual_key,
            match untold {
                0 => String::new(),
                untold => format!(" It had done so {untold} more times, which are only counted."),
            }
        ),
        facts: match facts {
            serde_json::Value::Object(facts) => facts,
            _ => Map::new(),
        },
        notify: false,
    }
}

/// Which answers went to which virtual key, for the newest of them: what `diagnostics` may name.
/// Its memory is fixed, whatever passes, and it is gone with the process.
pub(crate) struct Messages {
    hasher: RandomState,
    /// Marks of message and key together, in sets; the newest of a set stands first.
    marks: Mutex<Vec<[u64; SET]>>,
}

/// Sets times marks: the newest 131,072 messages, less what falls into full sets, in 1 MiB.
const SETS: usize = 16_384;
const SET: usize = 8;

impl Default for Messages {
    fn default() -> Messages {
        Messages { hasher: RandomState::new(), marks: Mutex::new(vec![[0; SET]; SETS]) }
    }
}

impl Messages {
    /// Remembers that this answer went to that key.
    pub(crate) fn hear(&self, message: &str, key: &VirtualKeyId) {
        let (set, mark) = self.place(message, key);
        let mut marks = self.marks.lock();
        let set = &mut marks[set];
        if !set.contains(&mark) {
            set.rotate_right(1);
            set[0] = mark;
        }
    }

    /// Whether that answer is remembered to have gone to that key.
    pub(crate) fn heard(&self, message: &ResourceId, key: &VirtualKeyId) -> bool {
        let (set, mark) = self.place(message.as_str(), key);
        self.marks.lock()[set].contains(&mark)
    }

    fn place(&self, message: &str, key: &VirtualKeyId) -> (usize, u64) {
        let mark = self.hasher.hash_one((message, key.as_str()));
        // An empty place is zero.
        ((mark as usize) % SETS, mark.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_tries_many_ids_is_told_of_in_part_and_counted_whole() {
        let foreign = Foreign::default();
        let (alpha, beta) = (VirtualKeyId::new("alpha"), VirtualKeyId::new("beta"));
        let at = |ms: i64| Timestamp::from_ms(1_790_000_000_000 + ms);
        let told = (0..100).filter_map(|ms| foreign.tell(&alpha, at(ms))).count();
        assert_eq!(told, 10);
        assert_eq!(foreign.tell(&beta, at(100)), Some(0), "another has room of its own");
        assert_eq!(foreign.tell(&alpha, at(60_000)), Some(90));
        assert_eq!(foreign.tell(&alpha, at(60_001)), Some(0));
        let newest = VirtualKeyId::new("gamma");
        foreign.tell(&newest, at(200_000));
        assert_eq!(foreign.0.lock().len(), 1, "who stopped long ago is forgotten");
    }

    #[test]
    fn the_newest_messages_are_remembered_for_their_key_only() {
        let messages = Messages::default();
        let (alpha, beta) = (VirtualKeyId::new("alpha"), VirtualKeyId::new("beta"));
        let id = |n: usize| ResourceId::parse(&format!("msg_{n}")).unwrap();
        for n in 0..200_000 {
            messages.hear(id(n).as_str(), &alpha);
        }
        let remembered = |range: std::ops::Range<usize>, key| {
            range.filter(|n| messages.heard(&id(*n), key)).count()
        };
        assert_eq!(remembered(199_000..200_000, &alpha), 1_000);
        assert_eq!(remembered(199_000..200_000, &beta), 0);
        assert!(remembered(0..1_000, &alpha) < 500, "memory is fixed, so the old ones are gone");
    }
}
