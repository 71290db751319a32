//! The order in which upstreams are tried: by priority, and by weighted chance among equals.

use crate::Chance;
use crate::job::Upstream;

/// All of `upstreams`, the first to try first. Those of lower priority numbers come first; among equals
/// each place is drawn by weight, and those without weight come last.
pub(crate) fn order<'a>(upstreams: &'a [Upstream], chance: &dyn Chance) -> Vec<&'a Upstream> {
    let mut left: Vec<&Upstream> = upstreams.iter().collect();
    left.sort_by_key(|upstream| (upstream.weight == 0, upstream.priority));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let (priority, idle) = (first.priority, first.weight == 0);
        let equals = left.iter().take_while(|one| one.priority == priority && (one.weight == 0) == idle);
        let weights: Vec<u64> = equals.map(|one| u64::from(one.weight).max(u64::from(idle))).collect();
        let mut drawn = chance.number() % weights.iter().sum::<u64>().max(1);
        let index = weights.iter().position(|&weight| {
            let here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        ordered.push(left.remove(index.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FixedChance;

    fn upstream(url: &str, weight: u32, priority: u32) -> Upstream {
        Upstream { weight, priority, ..Upstream::new(url) }
    }

    fn urls(upstreams: &[Upstream], chance: u64) -> Vec<&str> {
        order(upstreams, &FixedChance(chance)).iter().map(|upstream| upstream.url.as_str()).collect()
    }

    #[test]
    fn the_weight_is_the_share_of_first_places() {
        let upstreams = [upstream("a", 10, 0), upstream("b", 10, 0), upstream("c", 20, 0)];
        let firsts: Vec<&str> = (0..40).map(|chance| urls(&upstreams, chance)[0]).collect();
        let count = |url| firsts.iter().filter(|&&first| first == url).count();
        assert_eq!((count("a"), count("b"), count("c")), (10, 10, 20));
        assert_eq!(urls(&upstreams, 0), ["a", "b", "c"]);
    }

    #[test]
    fn priorities_come_before_weights_and_those_without_weight_last() {
        let upstreams = [upstream("spare", 0, 0), upstream("second", 9, 1), upstream("first", 1, 0)];
        assert_eq!(urls(&upstreams, 5), ["first", "second", "spare"]);
    }
}
