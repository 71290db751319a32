//! `hosts allow` and `hosts deny`: patterns of names and addresses; what is unclear does not let in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rsync_proto::filter::Wildcard;

/// Looks up what is in lists of hosts.
pub(crate) trait Resolve {
    /// The addresses of `name`; none when it is unknown.
    fn addresses(&self, name: &str) -> Vec<IpAddr>;

    /// Whether `host` is in a netgroup.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn is_in_netgroup(&self, group: &str, host: &str) -> io::Result<bool>;
}

/// What lists say about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) is_let_in: bool,
    /// The name in a list that its address was found by.
    pub(crate) name: Option<String>,
    /// Lines for the log about terms that nobody can be matched with.
    pub(crate) notes: Vec<String>,
}

/// Whether a term of a list is about a client.
enum Match {
    No,
    Yes,
    /// By a name that its address was found by.
    Named,
}

impl From<bool> for Match {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// The lists of a module; an empty one is as good as none.
pub(crate) struct HostLists<'a> {
    pub(crate) allow: &'a str,
    pub(crate) deny: &'a str,
    /// Names in the lists are looked up.
    pub(crate) forward_lookup: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Allow,
    Deny,
}

impl HostLists<'_> {
    /// Whether a client is let in; `host` is its name, or `UNDETERMINED` or `UNKNOWN`.
    pub(crate) fn judge(&self, host: &str, address: IpAddr, resolve: &dyn Resolve) -> Verdict {
        let (allow, deny) = (tokens(self.allow), tokens(self.deny));
        let mut client = Client { host: host.to_ascii_lowercase(), address, resolve, notes: Vec::new() };
        let mut found = |tokens: &[String], list| {
            tokens.iter().find_map(|token| match self.matches(token, list, &mut client) {
                Match::No => None,
                Match::Yes => Some(None),
                Match::Named => Some(Some(token.clone())),
            })
        };
        let allowed = found(&allow, List::Allow);
        let (is_let_in, name) = match allowed {
            Some(name) => (true, name),
            None if deny.is_empty() => (allow.is_empty(), None),
            None => {
                let denied = found(&deny, List::Deny);
                (denied.is_none(), denied.flatten())
            }
        };
        Verdict { is_let_in, name, notes: client.notes }
    }

    fn matches(&self, token: &str, list: List, client: &mut Client<'_>) -> Match {
        if let Some(group) = token.strip_prefix('@') {
            let is_member = client.resolve.is_in_netgroup(group, &client.host);
            return is_member
                .unwrap_or_else(|error| {
                    let meaning = match list {
                        List::Allow => "it lets nobody in",
                        List::Deny => "it keeps everybody out",
                    };
                    client.notes.push(format!("cannot look up netgroup {group}: {error}; {meaning}"));
                    list == List::Deny
                })
                .into();
        }
        if !client.host.is_empty() && Wildcard::compile(token.as_bytes()).matches(client.host.as_bytes()) {
            return Match::Yes;
        }
        if self.forward_lookup && !client.host.is_empty() && is_host_name(token) {
            let found = client.resolve.addresses(token);
            return match found.is_empty() {
                true => (list == List::Deny).into(),
                false if found.contains(&client.address) => Match::Named,
                false => Match::No,
            };
        }
        if !looks_like_address(token) {
            return Match::No;
        }
        match AddressPattern::read(token) {
            // Which interface a client came by is not known: that is no reason to let it in.
            Ok(_) if token.contains('%') && list == List::Allow => Match::No,
            Ok(pattern) => pattern.matches(client.address).into(),
            Err(Misspelt::Mask { of_ipv4 }) if of_ipv4 != client.address.is_ipv4() => Match::No,
            Err(misspelt) => {
                client.notes.push(misspelt.describe(token));
                Match::No
            }
        }
    }
}

/// Whom lists are asked about.
struct Client<'a> {
    host: String,
    address: IpAddr,
    resolve: &'a dyn Resolve,
    notes: Vec<String>,
}

/// What is wrong with a term that looks like an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misspelt {
    Address,
    Mask { of_ipv4: bool },
}

impl Misspelt {
    /// A line for the log.
    fn describe(self, token: &str) -> String {
        match self {
            Self::Address => format!("error matching address {token}: Name or service not known"),
            Self::Mask { .. } => format!("malformed mask in {token}"),
        }
    }
}

/// Terms of a list that look like addresses and are none: they match nobody.
pub(crate) fn misspelt_hosts(list: &str) -> Vec<String> {
    let mut tokens = tokens(list);
    tokens.retain(|token| {
        !token.starts_with('@')
            && !token.contains(['*', '?', '['])
            && looks_like_address(token)
            && AddressPattern::parse(token).is_none()
    });
    tokens
}

/// Whether a term can only mean an address.
fn looks_like_address(token: &str) -> bool {
    let address = token.split('/').next().unwrap_or_default();
    address.contains(':') || address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn tokens(list: &str) -> Vec<String> {
    list.split([' ', ',', '\t']).filter(|token| !token.is_empty()).map(str::to_ascii_lowercase).collect()
}

fn is_host_name(token: &str) -> bool {
    !token.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && !token.contains([':', '/', '*', '?', '['])
}

/// A pattern of `hosts allow` that tells addresses (spec 09 §6): an address and the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPattern {
    address: IpAddr,
    mask: IpAddr,
}

impl AddressPattern {
    /// Reads `ADDRESS[/MASK]`, where the mask is an address or a number of bits; `None` for what is
    /// malformed, which matches nothing.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        Self::read(token).ok()
    }

    fn read(token: &str) -> Result<Self, Misspelt> {
        let (address, mask) =
            token.split_once('/').map_or((token, None), |(left, right)| (left, Some(right)));
        let address = parse_address(address).ok_or(Misspelt::Address)?;
        let mask = match (address, mask) {
            (IpAddr::V4(_), None) => IpAddr::V4(Ipv4Addr::BROADCAST),
            (IpAddr::V6(_), None) => IpAddr::V6(Ipv6Addr::from(u128::MAX)),
            (address, Some(mask)) => {
                parse_mask(address, mask).ok_or(Misspelt::Mask { of_ipv4: address.is_ipv4() })?
            }
        };
        Ok(Self { address, mask })
    }

    /// Whether `address` is of the same family and equal in the bits that count.
    #[must_use]
    pub fn matches(&self, address: IpAddr) -> bool {
        match (self.address, self.mask, address) {
            (IpAddr::V4(pattern), IpAddr::V4(mask), IpAddr::V4(address)) => {
                (pattern.to_bits() ^ address.to_bits()) & mask.to_bits() == 0
            }
            (IpAddr::V6(pattern), IpAddr::V6(mask), IpAddr::V6(address)) => {
                (pattern.to_bits() ^ address.to_bits()) & mask.to_bits() == 0
            }
            _ => false,
        }
    }
}

fn parse_mask(address: IpAddr, mask: &str) -> Option<IpAddr> {
    if mask.contains(['.', ':']) {
        return parse_address(mask).filter(|mask| mask.is_ipv4() == address.is_ipv4());
    }
    if mask.is_empty() || !mask.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bits: u32 = mask.parse().ok()?;
    match address {
        IpAddr::V4(_) if bits <= 32 => {
            Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into())
        }
        IpAddr::V6(_) if bits <= 128 => {
            Some(Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into())
        }
        _ => None,
    }
}

fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        let address = text.split_once('%').map_or(text, |(address, _interface)| address);
        return address.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    inet_aton(text).map(|bits| Ipv4Addr::from_bits(bits).into())
}

/// An IPv4 address as the C library reads it: one to four numbers, the last of which fills the rest;
/// decimal, octal after `0`, hexadecimal after `0x`.
fn inet_aton(text: &str) -> Option<u32> {
    let numbers = text.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, heads) = numbers.split_last()?;
    if heads.len() > 3 {
        return None;
    }
    let mut bits = 0;
    for (position, head) in heads.iter().enumerate() {
        bits |= u32::from(u8::try_from(*head).ok()?) << (24 - 8 * position);
    }
    let room = u32::MAX.checked_shr(8 * heads.len() as u32).unwrap_or(0);
    (*last <= room).then_some(bits | last)
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Names;

    impl Resolve for Names {
        fn addresses(&self, name: &str) -> Vec<IpAddr> {
            match name {
                "good.example" => vec![IpAddr::from([10, 1, 2, 3])],
                "other.example" => vec![IpAddr::from([10, 9, 9, 9])],
                _ => Vec::new(),
            }
        }

        fn is_in_netgroup(&self, group: &str, host: &str) -> io::Result<bool> {
            match group {
                "unclear" => Err(io::ErrorKind::NotFound.into()),
                group => Ok(group == "friends" && host == "h"),
            }
        }
    }

    fn let_in(allow: &str, deny: &str, host: &str, address: &str) -> bool {
        let lists = HostLists { allow, deny, forward_lookup: true };
        lists.judge(host, address.parse().expect("address"), &Names).is_let_in
    }

    #[test]
    fn recorded_decisions_are_repeated() {
        for (allow, deny, v4, v6) in [
            ("10.0.0.0/8", "", true, false),
            ("10.0.0.0/255.255.0.0", "", false, false),
            ("0.0.0.0/0", "", true, false),
            ("::/0", "", false, true),
            ("", "10.1.2.3", false, true),
            ("10.1.2.3", "*", true, false),
            ("10.9.9.9", "10.8.8.8", true, true),
            ("", "nosuch.invalid", false, false),
            ("", "nosuch*.invalid", true, true),
            ("nosuch.invalid", "", false, false),
            ("10.1", "", false, false),
            ("", "", true, true),
        ] {
            assert_eq!(let_in(allow, deny, "UNDETERMINED", "10.1.2.3"), v4, "v4: {allow} / {deny}");
            assert_eq!(let_in(allow, deny, "UNDETERMINED", "fd00::1"), v6, "v6: {allow} / {deny}");
        }
    }

    #[test]
    fn names_match_without_case_and_by_lookup() {
        assert!(let_in("*.Example.ORG", "", "www.example.org", "10.0.0.1"));
        assert!(let_in("und*", "", "UNDETERMINED", "10.0.0.1"));
        assert!(let_in("good.example", "", "UNKNOWN", "10.1.2.3"));
        assert!(!let_in("other.example,", "", "UNKNOWN", "10.1.2.3"));
        assert!(!let_in("", "other.example good.example", "UNKNOWN", "10.1.2.3"));
    }

    #[test]
    fn an_interface_lets_nobody_in_and_keeps_everybody_out() {
        assert!(!let_in("fe80::1%eth0", "", "h", "fe80::1"));
        assert!(!let_in("", "fe80::1%eth0", "h", "fe80::1") && let_in("", "fe80::1%eth0", "h", "fe80::2"));
    }

    #[test]
    fn masks_count_single_bits_and_malformed_ones_match_nothing() {
        assert!(let_in("10.1.2.0/25", "", "h", "10.1.2.127"));
        assert!(!let_in("10.1.2.0/25", "", "h", "10.1.2.128"));
        assert!(let_in("fd00:8::/31", "", "h", "fd00:9::1"));
        assert!(!let_in("fd00:8::/31", "", "h", "fd00:a::1"));
        for malformed in
            ["10.1.2.3/33", "10.1.2.3/", "10.1.2.3/x", "10.1.2.3/-1", "10.1.2.3/+8", "fd00::/129"]
        {
            assert!(!let_in(malformed, "", "h", "10.1.2.3"), "{malformed}");
        }
        assert!(let_in("012.1.2.3", "", "h", "10.1.2.3"), "octal, as the C library reads it");
    }

    #[test]
    fn netgroups_have_members_and_what_is_unclear_does_not_let_in() {
        for (allow, deny, host, expected) in [
            ("@friends", "", "h", true),
            ("@friends", "", "other", false),
            ("@nosuch", "", "h", false),
            ("", "@friends", "h", false),
            ("", "@friends", "other", true),
            ("@unclear", "", "h", false),
            ("", "@unclear", "h", false),
        ] {
            assert_eq!(let_in(allow, deny, host, "10.1.2.3"), expected, "{allow} / {deny}, {host}");
        }
    }

    fn judge(allow: &str, deny: &str) -> Verdict {
        let lists = HostLists { allow, deny, forward_lookup: true };
        lists.judge("UNDETERMINED", IpAddr::from([10, 1, 2, 3]), &Names)
    }

    #[test]
    fn a_name_that_was_looked_up_becomes_the_clients() {
        let name = |allow, deny| judge(allow, deny).name;
        assert_eq!(name("10.9.9.9 good.example", ""), Some("good.example".into()));
        assert_eq!(name("", "good.example"), Some("good.example".into()));
        assert_eq!((name("10.1.2.3", ""), name("", "nosuch.invalid")), (None, None));
    }

    #[test]
    fn terms_that_match_nobody_are_told() {
        let notes = |allow, deny| judge(allow, deny).notes;
        assert_eq!(notes("10.1.2.3.4 10.1.2.3", ""), [Misspelt::Address.describe("10.1.2.3.4")]);
        assert_eq!(notes("", "10.1.2.3/x"), ["malformed mask in 10.1.2.3/x"]);
        assert_eq!(notes("/8", "fd00::/129"), [Misspelt::Address.describe("/8")]);
        assert_eq!(notes("10.1.2.3 10.1/x", "1.2.3.4.5"), [""; 0], "what is not looked at is not told");
        let unclear = notes("", "@unclear");
        assert_eq!(unclear, ["cannot look up netgroup unclear: entity not found; it keeps everybody out"]);
    }
}
