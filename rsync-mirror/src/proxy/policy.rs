//! In which order backends are tried: pure functions of who asks and what is known.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::config::Policy;

/// Who a client is, as limits and choices see it: an IPv4 address or a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientKey([u8; 8]);

impl ClientKey {
    pub(super) fn of(address: IpAddr) -> Self {
        let mut key = [0; 8];
        match address.to_canonical() {
            // No /64 of IPv6 that clients have begins with zeros.
            IpAddr::V4(address) => key[4..].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => key.copy_from_slice(&address.octets()[..8]),
        }
        Self(key)
    }
}

/// What a choice knows of a backend.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) name: &'a str,
    pub(super) weight: u32,
    /// Sessions it has.
    pub(super) active: usize,
    /// It lives and takes nobody more for now.
    pub(super) busy: bool,
}

/// Whose turn it is by weight, for the backends of one module. Each turn, every backend gains its weight,
/// and the one that has most gives up the sum.
#[derive(Debug, Default)]
pub(super) struct Turns(Vec<(String, i64)>);

impl Turns {
    /// Takes a turn among the candidates; the index of the one whose turn it is.
    fn take(&mut self, candidates: &[Candidate<'_>]) -> usize {
        self.0.retain(|(name, _)| candidates.iter().any(|candidate| candidate.name == *name));
        let mut best = (0, i64::MIN);
        let mut sum = 0;
        for (index, candidate) in candidates.iter().enumerate() {
            let weight = i64::from(candidate.weight);
            sum += weight;
            let at = self.0.iter().position(|(name, _)| *name == candidate.name).unwrap_or_else(|| {
                self.0.push((candidate.name.to_owned(), 0));
                self.0.len() - 1
            });
            self.0[at].1 += weight;
            if self.0[at].1 > best.1 {
                best = (index, self.0[at].1);
            }
        }
        let chosen = candidates.get(best.0).map(|candidate| candidate.name);
        if let Some(found) = self.0.iter_mut().find(|(name, _)| Some(name.as_str()) == chosen) {
            found.1 -= sum;
        }
        best.0
    }
}

/// The order in which the candidates, given by name, are tried; those that are busy come last.
pub(super) fn order(
    policy: Policy,
    client: ClientKey,
    candidates: &[Candidate<'_>],
    turns: &mut Turns,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    match policy {
        Policy::First => {}
        Policy::ClientIp => {
            let scores: Vec<f64> = candidates.iter().map(|candidate| score(client, candidate)).collect();
            order.sort_by(|&left, &right| scores[right].total_cmp(&scores[left]));
        }
        Policy::LeastConn => order.sort_by(|&left, &right| {
            let (left, right) = (&candidates[left], &candidates[right]);
            let load =
                |one: &Candidate<'_>, other: &Candidate<'_>| one.active as u64 * u64::from(other.weight);
            load(left, right).cmp(&load(right, left))
        }),
        Policy::Weighted if candidates.is_empty() => {}
        Policy::Weighted => order.rotate_left(turns.take(candidates)),
    }
    order.sort_by_key(|&index| candidates[index].busy);
    order
}

/// Weighted rendezvous hashing: each client ranks all backends, each backend is first for as many clients
/// as its weight says, and one that goes away or comes changes the first of no other client.
fn score(client: ClientKey, candidate: &Candidate<'_>) -> f64 {
    let hash = Sha256::new().chain_update(client.0).chain_update(candidate.name).finalize();
    let head = hash.iter().take(8).fold(0_u64, |head, &byte| head << 8 | u64::from(byte));
    // 53 bits, as many as such a number has, in the open interval from 0 to 1.
    let uniform = ((head >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(candidate.weight) / uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn candidates(weights: &[(&'static str, u32)]) -> Vec<Candidate<'static>> {
        weights.iter().map(|&(name, weight)| Candidate { name, weight, active: 0, busy: false }).collect()
    }

    fn client(number: u32) -> ClientKey {
        ClientKey::of(Ipv4Addr::from(0x0a00_0000 + number).into())
    }

    fn names(policy: Policy, client: ClientKey, candidates: &[Candidate<'_>]) -> Vec<String> {
        let order = order(policy, client, candidates, &mut Turns::default());
        order.into_iter().map(|index| candidates[index].name.to_owned()).collect()
    }

    #[test]
    fn turns_follow_the_weights_exactly() {
        let candidates = candidates(&[("b1", 10), ("b2", 10), ("b3", 20)]);
        let mut turns = Turns::default();
        let mut counts = [0; 3];
        for _ in 0..1000 {
            counts[order(Policy::Weighted, client(1), &candidates, &mut turns)[0]] += 1;
        }
        assert_eq!(counts, [250, 250, 500]);
    }

    #[test]
    fn clients_are_spread_by_weight() {
        let candidates = candidates(&[("b1", 10), ("b2", 10), ("b3", 20)]);
        let mut counts = [0_u32; 3];
        for number in 0..4000 {
            counts[order(Policy::ClientIp, client(number), &candidates, &mut Turns::default())[0]] += 1;
        }
        for (count, share) in counts.iter().zip([1000, 1000, 2000]) {
            assert!(count.abs_diff(share) < 200, "{counts:?}");
        }
    }

    #[test]
    fn a_client_keeps_its_backend_when_another_goes() {
        let all = candidates(&[("b1", 1), ("b2", 1), ("b3", 1)]);
        let without_b2 = candidates(&[("b1", 1), ("b3", 1)]);
        for number in 0..500 {
            let before = names(Policy::ClientIp, client(number), &all);
            let after = names(Policy::ClientIp, client(number), &without_b2);
            let expected: Vec<_> = before.into_iter().filter(|name| name != "b2").collect();
            assert_eq!(after, expected, "client {number}");
        }
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_client() {
        let of = |text: &str| ClientKey::of(text.parse::<Ipv6Addr>().expect(text).into());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), client(1));
    }

    #[test]
    fn the_least_loaded_comes_first_and_the_busy_last() {
        let mut all = candidates(&[("b1", 1), ("b2", 2), ("b3", 1)]);
        (all[0].active, all[1].active, all[2].active) = (3, 4, 1);
        assert_eq!(names(Policy::LeastConn, client(1), &all), ["b3", "b2", "b1"]);
        all[2].busy = true;
        assert_eq!(names(Policy::LeastConn, client(1), &all), ["b2", "b1", "b3"]);
        assert_eq!(names(Policy::First, client(1), &all), ["b1", "b2", "b3"]);
    }

    #[test]
    fn nobody_is_chosen_among_none() {
        for policy in [Policy::ClientIp, Policy::Weighted, Policy::LeastConn, Policy::First] {
            assert!(order(policy, client(1), &[], &mut Turns::default()).is_empty());
        }
    }
}
