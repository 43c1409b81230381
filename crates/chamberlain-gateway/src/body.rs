//! Reading a request body: never more than allowed, never more than memory is set aside for,
//! never for longer than a client that means it would take.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chamberlain_core::admission::memory::{Full, may_hold};
use chamberlain_core::admission::refusal::Refusal;
use chamberlain_core::id::VirtualKeyId;
use chamberlain_core::quick::QuickMap;
use chamberlain_core::snapshot::GatewaySettings;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::refuse::{Fault, Stop};

/// Longest silence inside a body.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What a body must bring a second after its first seconds, on average: who sends more slowly
/// holds memory that others wait for.
const BYTES_PER_SECOND_MIN: usize = 64 * 1024;
/// Before that is asked.
const GRACE: Duration = SILENCE_MAX;
/// Longest time for a whole body.
const WHOLE_MAX: Duration = Duration::from_secs(600);
/// Longest time spent on throwing away a body that nobody will read.
const DISCARD_MAX: Duration = Duration::from_secs(5);
/// Most bytes thrown away; a client that sends more loses its connection instead.
const DISCARD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room made at once, whatever length a client announces.
const ROOM_AT_ONCE: usize = 1024 * 1024;

/// Counts the bytes of all bodies in memory, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct BodyMemory {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    used: usize,
    by_key: QuickMap<VirtualKeyId, usize>,
}

impl BodyMemory {
    /// Bytes in memory now.
    pub(crate) fn used(&self) -> usize {
        self.held.lock().used
    }

    fn take(&self, key: &VirtualKeyId, more: usize, limit_bytes: usize) -> Result<(), Refusal> {
        let mut held = self.held.lock();
        let own = held.by_key.get(key).copied().unwrap_or(0);
        may_hold(limit_bytes, held.used, own, more).map_err(|full| {
            let key_bytes = match full {
                Full::All => None,
                Full::Key => Some(own),
            };
            Refusal::BodiesInFlight { limit_bytes, key_bytes }
        })?;
        held.used += more;
        match held.by_key.get_mut(key) {
            Some(bytes) => *bytes += more,
            None => drop(held.by_key.insert(key.clone(), more)),
        }
        Ok(())
    }

    fn give_back(&self, key: &VirtualKeyId, less: usize) {
        let mut held = self.held.lock();
        held.used -= less;
        if let Some(bytes) = held.by_key.get_mut(key) {
            *bytes -= less;
            if *bytes == 0 {
                held.by_key.remove(key);
            }
        }
    }
}

/// Body bytes one call holds; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    memory: Arc<BodyMemory>,
    key: VirtualKeyId,
    bytes: usize,
}

impl Hold {
    /// A hold of nothing yet, for a call of `key`.
    pub(crate) fn new(memory: &Arc<BodyMemory>, key: &VirtualKeyId) -> Hold {
        Hold { memory: memory.clone(), key: key.clone(), bytes: 0 }
    }

    /// Takes `more` bytes if all bodies together stay within `limit_bytes`, and those of the key
    /// within its share.
    pub(crate) fn grow(&mut self, more: usize, limit_bytes: usize) -> Result<(), Refusal> {
        if more > 0 {
            self.memory.take(&self.key, more, limit_bytes)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Hands all that is held over to another hold.
    pub(crate) fn take(&mut self) -> Hold {
        let bytes = std::mem::take(&mut self.bytes);
        Hold { memory: self.memory.clone(), key: self.key.clone(), bytes }
    }

    /// Gives `less` bytes back early.
    pub(crate) fn shrink(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.bytes -= less;
        self.memory.give_back(&self.key, less);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.give_back(&self.key, self.bytes);
        }
    }
}

/// Reads a whole body of at most `limit_bytes`. A body that comes in one piece is not copied.
pub(crate) async fn read(
    body: &mut Incoming,
    limit_bytes: usize,
    settings: &GatewaySettings,
    hold: &mut Hold,
) -> Result<Bytes, Stop> {
    let too_large = Refusal::TooLarge { limit_bytes, decoded: false };
    let announced =
        body.size_hint().upper().map(|upper| usize::try_from(upper).unwrap_or(usize::MAX));
    if announced.is_some_and(|bytes| bytes > limit_bytes) {
        return Err(too_large.into());
    }
    // Held from the first byte on, so that many announced bodies cannot outgrow memory together.
    hold.grow(announced.unwrap_or(0), settings.bodies_in_flight_bytes_max)?;
    let mut parts = Parts::default();
    let began = Instant::now();
    while let Some(data) = next(body, began + time_for(parts.length())).await? {
        let length = parts.length() + data.len();
        if length > limit_bytes {
            return Err(too_large.into());
        }
        if announced.is_none() {
            hold.grow(data.len(), settings.bodies_in_flight_bytes_max)?;
        }
        parts.push(data, announced.unwrap_or(length));
    }
    Ok(parts.into_bytes())
}

/// How long a body may have taken when it has brought this many bytes.
fn time_for(bytes: usize) -> Duration {
    let earned = Duration::from_secs((bytes / BYTES_PER_SECOND_MIN) as u64);
    WHOLE_MAX.min(GRACE + earned)
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn next(body: &mut Incoming, deadline: Instant) -> Result<Option<Bytes>, Fault> {
    loop {
        let until = deadline.min(Instant::now() + SILENCE_MAX);
        match timeout_at(until, body.frame()).await {
            Err(_) => return Err(Fault::BodyTimeout),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Fault::BodyBroken),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The pieces of a body, put together only when there are two.
#[derive(Default)]
struct Parts {
    first: Bytes,
    joined: BytesMut,
}

impl Parts {
    fn length(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, data: Bytes, expected: usize) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        if self.joined.is_empty() {
            self.joined.reserve((self.first.len() + data.len()).max(expected.min(ROOM_AT_ONCE)));
            self.joined.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.joined.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

/// Reads on and throws away, so that a client that is still sending gets to see its answer: a
/// connection that is closed with unread bytes in it takes the answer down with it.
pub(crate) async fn discard(body: &mut Incoming, expects_continue: bool) {
    // A client that asks before it sends has sent nothing, and our answer tells it not to.
    if expects_continue || body.is_end_stream() {
        return;
    }
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > DISCARD_BYTES_MAX {
                break;
            }
        }
    };
    // Out of time: the client keeps whatever it makes of a closed connection.
    let _ = timeout(DISCARD_MAX, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bodies_together_stay_within_the_limit() {
        let memory = Arc::new(BodyMemory::default());
        let keys = ["a", "b"].map(VirtualKeyId::new);
        let mut first = Hold::new(&memory, &keys[0]);
        let mut second = Hold::new(&memory, &keys[1]);
        let full = |key_bytes| Err(Refusal::BodiesInFlight { limit_bytes: 100, key_bytes });
        assert_eq!(first.grow(51, 100), full(Some(0)), "no key takes more than half");
        assert_eq!(first.grow(50, 100), Ok(()));
        let mut more = Hold::new(&memory, &keys[0]);
        assert_eq!(more.grow(1, 100), full(Some(50)), "all calls of a key count together");
        assert_eq!(second.grow(51, 100), full(None));
        assert_eq!(second.grow(25, 100), Ok(()), "the other key has room");
        assert_eq!(memory.used(), 75);
        first.shrink(10);
        assert_eq!(memory.used(), 65);
        drop(first);
        assert_eq!(memory.used(), 25);
        drop(second);
        assert_eq!(memory.used(), 0);
        assert!(memory.held.lock().by_key.is_empty(), "nothing is kept of keys that hold nothing");
    }

    #[test]
    fn a_body_must_come_on() {
        let seconds = |bytes| time_for(bytes).as_secs();
        assert_eq!(seconds(0), 30);
        assert_eq!(seconds(BYTES_PER_SECOND_MIN - 1), 30, "drops earn no time");
        assert_eq!(seconds(100 * BYTES_PER_SECOND_MIN), 130);
        assert_eq!(seconds(usize::MAX), 600);
    }

    #[test]
    fn one_piece_is_not_copied() {
        let data = Bytes::from(vec![7; 100]);
        let at = data.as_ptr();
        let mut parts = Parts::default();
        parts.push(data, 100);
        assert_eq!(parts.into_bytes().as_ptr(), at);
    }

    #[test]
    fn pieces_are_put_together_in_order() {
        let mut parts = Parts::default();
        for piece in [&b""[..], b"ab", b"", b"c", b"def"] {
            parts.push(Bytes::from_static(piece), 6);
        }
        assert_eq!(parts.into_bytes(), "abcdef");
    }
}
