//! Resources: whatever upstream keeps for a client and hands out an id for. Each belongs to the
//! virtual key it was made for, and is bound to it before the client sees the id.
//!
//! An id is refused unless it is short and plain, so that it can be put on record and into a
//! message as it is. Whether a resource is somebody's is asked of the journal, never of upstream.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{EnvironmentName, UpstreamKeyId, VirtualKeyId};
use crate::time::Timestamp;

/// What kinds of things upstream hands out ids for.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// An answer that a thread can go on from.
    Message,
    /// A container of code execution.
    Container,
    /// A file.
    File,
    /// A batch of messages.
    Batch,
}

impl ResourceKind {
    /// The word for it in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            ResourceKind::Message => "message",
            ResourceKind::Container => "container",
            ResourceKind::File => "file",
            ResourceKind::Batch => "batch",
        }
    }

    /// True when making and deleting one is put in the audit log by itself. Messages and containers
    /// come with a call, which is there already.
    pub fn is_audited(self) -> bool {
        matches!(self, ResourceKind::File | ResourceKind::Batch)
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An id that upstream handed out, or that a client says it did: 1 to 128 letters, digits, `_`
/// and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId(Arc<str>);

impl ResourceId {
    /// The most characters an id has.
    pub const CHARS_MAX: usize = 128;

    /// Takes a text of the right shape; `None` for every other.
    pub fn parse(text: &str) -> Option<ResourceId> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let well_formed =
            !text.is_empty() && text.len() <= ResourceId::CHARS_MAX && text.bytes().all(is_plain);
        well_formed.then(|| ResourceId(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl TryFrom<String> for ResourceId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<ResourceId, &'static str> {
        ResourceId::parse(&text).ok_or("not the id of a resource")
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> String {
        id.as_str().to_owned()
    }
}

/// Something upstream keeps, and whose it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Upstream's id for it; unique among those of its kind.
    pub id: ResourceId,
    /// Whose it is.
    pub virtual_key: VirtualKeyId,
    /// The environment it was made in.
    pub environment: EnvironmentName,
    /// The upstream key it was made with, which is the only one that surely reaches it; `None` for
    /// the mock's.
    pub upstream_key: Option<UpstreamKeyId>,
    /// When it was bound first.
    pub created: Timestamp,
    /// When upstream lets go of it; `None` for never. Its record goes some time after that.
    pub expires: Option<Timestamp>,
    /// What else has to be remembered; small. Never a prompt or an answer.
    pub about: Map<String, Value>,
}

impl Resource {
    /// True when upstream has let go of it at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What became of binding a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// It is bound, now or already, to the virtual key it was to be bound to.
    Bound,
    /// Another virtual key has it: upstream handed one id out twice. Nothing was changed, a HIGH
    /// notice is on record, and the id must not reach the client.
    Taken,
}

/// Which of a virtual key's own resources to list, the newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResourcePage {
    /// Whose.
    pub virtual_key: VirtualKeyId,
    /// Of which kind.
    pub kind: ResourceKind,
    /// Those that have expired by then are left out.
    pub now: Timestamp,
    /// Where the page stands.
    pub from: PageFrom,
    /// The most there are on a page.
    pub count: usize,
}

/// Where a page of a list stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PageFrom {
    /// At the newest.
    Newest,
    /// At the next older one after this.
    After(ResourceId),
    /// At those next newer than this; the page ends just before it.
    Before(ResourceId),
}

/// A page of a list.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct ResourceList {
    /// The newest first.
    pub resources: Vec<Resource>,
    /// True when there are more in the direction of reading.
    pub has_more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        let longest = "a".repeat(128);
        for right in ["msg_01A", "a", "file-_9", longest.as_str()] {
            assert_eq!(ResourceId::parse(right).unwrap().as_str(), right);
        }
        let too_long = "a".repeat(129);
        for wrong in ["", "a b", "a/b", "..", "é", "a\n", "a%2f", too_long.as_str()] {
            assert_eq!(ResourceId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_wrong_id_does_not_come_in_through_json_either() {
        assert!(serde_json::from_str::<ResourceId>(r#""msg_1""#).is_ok());
        assert!(serde_json::from_str::<ResourceId>(r#""../x""#).is_err());
    }

    #[test]
    fn a_resource_expires_at_its_moment() {
        let at = Timestamp::from_ms;
        let mut resource = Resource {
            kind: ResourceKind::File,
            id: ResourceId::parse("file_1").unwrap(),
            virtual_key: VirtualKeyId::new("k"),
            environment: EnvironmentName::new("production"),
            upstream_key: None,
            created: at(0),
            expires: Some(at(10)),
            about: Map::new(),
        };
        assert!(!resource.is_expired(at(9)));
        assert!(resource.is_expired(at(10)));
        resource.expires = None;
        assert!(!resource.is_expired(at(i64::MAX)));
    }
}
