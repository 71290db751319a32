//! One greeting for daemons of several versions (spec 11 §4, requirement 2).
//!
//! A daemon greets before it hears its client, so the proxy promises what every backend can keep, and
//! tells the backend no more of the client than was promised: both ends then agree on the same protocol
//! and on the same digest.

use bstr::{BString, ByteSlice};
use rsync_proto::session::{Greeting, NEWEST_PROTOCOL};

/// What all of these daemons can do: the lowest protocol and the digests that each of them lists. One that
/// lists none, as those before 3.2.7, leaves only what needs no list.
pub(super) fn common<'a>(greetings: impl IntoIterator<Item = &'a Greeting>) -> Greeting {
    let mut common = Greeting::ours(NEWEST_PROTOCOL);
    for greeting in greetings {
        common.version = common.version.min(released(greeting));
        common.digests = match (&common.digests, &greeting.digests) {
            (Some(ours), Some(theirs)) => Some(intersection(ours, theirs)),
            _ => None,
        };
    }
    common
}

/// Whether a daemon can keep what `promised` says.
pub(super) fn keeps(backend: &Greeting, promised: &Greeting) -> bool {
    let has_digests = match (&backend.digests, &promised.digests) {
        (_, None) => true,
        (Some(list), Some(promised)) => intersection(promised, list) == *promised,
        (None, Some(_)) => false,
    };
    released(backend) >= promised.version && has_digests
}

/// What a backend is told of a client that was greeted with `promised`.
pub(super) fn forwarded(client: &Greeting, promised: &Greeting) -> Greeting {
    let (version, subversion) = if client.version > promised.version {
        (promised.version, 0)
    } else {
        (client.version, client.subversion)
    };
    let digests = match (&client.digests, &promised.digests) {
        (Some(client), Some(promised)) => Some(intersection(client, promised)),
        _ => None,
    };
    Greeting { version, subversion, digests }
}

/// The newest protocol that a daemon speaks with others: a pre-release has the one before its own.
fn released(greeting: &Greeting) -> i32 {
    greeting.version.saturating_sub(i32::from(greeting.subversion != 0))
}

/// The names of `left` that `right` has too, in the order of `left`.
fn intersection(left: &BString, right: &BString) -> BString {
    let has = |name: &&[u8]| right.split_str(" ").any(|other| other.eq_ignore_ascii_case(name));
    let names: Vec<&[u8]> = left.split_str(" ").filter(|name| !name.is_empty()).filter(has).collect();
    names.join(&b' ').into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsync_proto::session::AuthDigest;

    fn greeting(line: &str) -> Greeting {
        Greeting::parse(line.as_bytes()).expect(line)
    }

    fn text(greeting: &Greeting) -> String {
        String::from_utf8(greeting.render()).expect("text").trim_end().to_owned()
    }

    #[test]
    fn what_is_promised_is_what_all_can_keep() {
        for (lines, promised) in [
            (vec![], "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4"),
            (vec!["@RSYNCD: 32.0 md5 md4"], "@RSYNCD: 32.0 md5 md4"),
            (vec!["@RSYNCD: 32.0 sha512 md5", "@RSYNCD: 31.0 md4 md5"], "@RSYNCD: 31.0 md5"),
            (vec!["@RSYNCD: 32.0 sha512", "@RSYNCD: 31.0"], "@RSYNCD: 31.0"),
            (vec!["@RSYNCD: 29"], "@RSYNCD: 29.0"),
            (vec!["@RSYNCD: 31.5 md5"], "@RSYNCD: 30.0 md5"),
            (vec!["@RSYNCD: 40.0 sha512 new"], "@RSYNCD: 32.0 sha512"),
        ] {
            let greetings: Vec<Greeting> = lines.iter().map(|line| greeting(line)).collect();
            let common = common(&greetings);
            assert_eq!(text(&common), promised, "{lines:?}");
            assert!(greetings.iter().all(|greeting| keeps(greeting, &common)), "{lines:?}");
        }
    }

    #[test]
    fn a_daemon_that_lost_something_cannot_keep_the_promise() {
        let promised = greeting("@RSYNCD: 31.0 sha1 md5");
        for (line, can) in [
            ("@RSYNCD: 32.0 sha512 sha1 md5", true),
            ("@RSYNCD: 30.0 sha1 md5", false),
            ("@RSYNCD: 31.0 md5", false),
            ("@RSYNCD: 31.0", false),
            ("@RSYNCD: 31.3 sha1 md5", false),
        ] {
            assert_eq!(keeps(&greeting(line), &promised), can, "{line}");
        }
    }

    /// Whatever the three are, client and backend come to the same protocol and the same digest.
    #[test]
    fn both_ends_agree_through_the_proxy() {
        let backends = [
            "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4",
            "@RSYNCD: 31.0",
            "@RSYNCD: 29",
            "@RSYNCD: 31.0 md5 md4",
            "@RSYNCD: 32.1 sha1 md4",
        ];
        let clients = [
            "@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4",
            "@RSYNCD: 31.0",
            "@RSYNCD: 28",
            "@RSYNCD: 31.0 md4 md5",
            "@RSYNCD: 31.2 sha1 md4",
        ];
        for first in backends {
            for second in backends {
                let promised = common([&greeting(first), &greeting(second)]);
                for client in clients {
                    let told = forwarded(&greeting(client), &promised);
                    for backend in [first, second] {
                        // Each side's own protocol is that of its greeting, without a pre-release.
                        let (client, backend) = (greeting(client), greeting(backend));
                        let heard_by_client = promised.agree(released(&client) as u8);
                        let heard_by_backend = told.agree(released(&backend) as u8);
                        assert_eq!(heard_by_client, heard_by_backend, "{client:?} {promised:?} {backend:?}");
                        // Both choose the strongest of what they have of the list they heard.
                        let choose = |heard: &Greeting, own: &Greeting| {
                            let both = match (&heard.digests, &own.digests) {
                                (Some(heard), Some(own)) => Some(intersection(heard, own)),
                                _ => None,
                            };
                            AuthDigest::choose(&Greeting { digests: both, ..heard.clone() }, heard_by_client)
                                .ok()
                        };
                        assert_eq!(
                            choose(&promised, &client),
                            choose(&told, &backend),
                            "{client:?} {promised:?} {backend:?}"
                        );
                    }
                }
            }
        }
    }
}
