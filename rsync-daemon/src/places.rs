//! How many of something there may be at a time, counted by a key such as the client's address.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places that were taken, by key.
#[derive(Debug)]
pub(crate) struct Places<K>(Arc<Mutex<HashMap<K, u32>>>);

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    places: Arc<Mutex<HashMap<K, u32>>>,
    key: K,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

fn lock<K>(places: &Mutex<HashMap<K, u32>>) -> MutexGuard<'_, HashMap<K, u32>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// Takes one of the `count` places that `key` has; `None` when all are taken.
    pub(crate) fn take(&self, key: K, count: u32) -> Option<Place<K>> {
        let mut places = lock(&self.0);
        let taken = places.get(&key).copied().unwrap_or_default();
        if taken >= count {
            return None;
        }
        places.insert(key.clone(), taken + 1);
        Some(Place { places: Arc::clone(&self.0), key })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        if let Some(taken) = places.get_mut(&self.key) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.key);
            }
        }
    }
}

/// The address that a client is counted by: an IPv6 client has as many addresses as it likes in its network
/// of 64 bits.
pub(crate) fn counted_address(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = u128::MAX << 64;
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_key_and_come_back() {
        let places = Places::default();
        let first = places.take("a", 2);
        let second = places.take("a", 2);
        assert!(first.is_some() && second.is_some() && places.take("a", 2).is_none());
        assert!(places.take("b", 2).is_some() && places.take("b", 0).is_none());
        drop(first);
        assert!(places.take("a", 2).is_some());
        drop(second);
        assert!(lock(&places.0).is_empty(), "nobody is remembered for ever");
    }

    #[test]
    fn a_network_counts_as_one_address() {
        let counted = |text: &str| counted_address(text.parse().expect("an address")).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!((counted("10.1.2.3"), counted("::ffff:10.1.2.3")), ("10.1.2.3".into(), "10.1.2.3".into()));
    }
}
