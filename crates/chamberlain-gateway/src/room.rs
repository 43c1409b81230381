//! How many connections there may be: over all, and from one address, so that nobody takes all
//! the room there is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::listening::ConnectionLimits;

/// The room for connections.
pub(crate) struct Room {
    places: Arc<Semaphore>,
    per_address: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
    /// Connections that stand.
    standing: Arc<AtomicUsize>,
}

/// A place for a connection that is waited for; given back when dropped.
pub(crate) struct Reserved {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A connection's place; given back when dropped.
pub(crate) struct Seat {
    room: Arc<Room>,
    address: Option<IpAddr>,
    _reserved: Reserved,
}

impl Room {
    pub(crate) fn new(limits: ConnectionLimits, standing: Arc<AtomicUsize>) -> Room {
        Room {
            places: Arc::new(Semaphore::new(limits.all.min(Semaphore::MAX_PERMITS))),
            per_address: limits.per_address,
            taken: Mutex::default(),
            standing,
        }
    }

    /// Waits for a place.
    pub(crate) async fn reserve(&self) -> Reserved {
        // It fails only once the semaphore is closed, and nobody closes it.
        Reserved { _permit: self.places.clone().acquire_owned().await.ok() }
    }

    /// Gives the place to a connection, counted for `address` if it has one that counts; `None`
    /// when too many come from there.
    pub(crate) fn seat(
        self: &Arc<Self>,
        reserved: Reserved,
        address: Option<IpAddr>,
    ) -> Option<Seat> {
        let address = address.map(network);
        if let Some(address) = address {
            let mut taken = self.taken.lock();
            let count = taken.entry(address).or_default();
            if *count >= self.per_address {
                return None;
            }
            *count += 1;
        }
        self.standing.fetch_add(1, Ordering::Relaxed);
        Some(Seat { room: self.clone(), address, _reserved: reserved })
    }
}

/// What is counted as one address: who has one of IPv6 has the whole /64 around it.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        IpAddr::V4(_) => address,
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.standing.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut taken = self.room.taken.lock();
        if let Some(count) = taken.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_takes_only_its_share() {
        let standing = Arc::new(AtomicUsize::new(0));
        let limits = ConnectionLimits { all: 8, per_address: 2 };
        let room = Arc::new(Room::new(limits, standing.clone()));
        let from = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
        let seat = async |address| room.seat(room.reserve().await, address);
        let first = seat(from(1)).await.unwrap();
        let _second = seat(from(1)).await.unwrap();
        assert!(seat(from(1)).await.is_none());
        let _other = seat(from(2)).await.unwrap();
        let _proxy = [seat(None).await, seat(None).await, seat(None).await].map(Option::unwrap);
        assert_eq!(standing.load(Ordering::Relaxed), 6);
        drop(first);
        assert!(seat(from(1)).await.is_some(), "a place that was left is free");
        assert_eq!(room.taken.lock().len(), 2);
        assert_eq!(room.places.available_permits(), 3, "a refused one gives its place back");
    }

    #[tokio::test]
    async fn a_network_of_ipv6_counts_as_one_address() {
        let limits = ConnectionLimits { all: 8, per_address: 1 };
        let room = Arc::new(Room::new(limits, Arc::default()));
        let seat = async |text: &str| room.seat(room.reserve().await, text.parse().ok());
        let first = seat("2001:db8:0:1::1").await;
        assert!(first.is_some());
        assert!(seat("2001:db8:0:1:ffff::2").await.is_none());
        assert!(seat("2001:db8:0:2::1").await.is_some());
        drop(first);
        assert!(seat("2001:db8:0:1:ffff::2").await.is_some());
        assert!(room.taken.lock().is_empty());
    }
}
