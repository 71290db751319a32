//! What the two halves of a local copy agree on, which nobody has to send.

use super::agreement::{AlgorithmVariables, End, Terms};
use super::capabilities::Capabilities;
use super::error::SetupError;
use super::negotiated::{NEWEST_PROTOCOL, Negotiated};
use crate::options::TransferOptions;

/// What this version can do, as a client says it.
const CAPABILITIES: &[u8] = b".iLsfxCIvu";

/// The agreement of a client with a server of the same program, on one machine.
///
/// # Errors
/// Options that contradict each other or the protocol that was asked for.
pub fn agree_locally(
    options: &TransferOptions,
    variables: &AlgorithmVariables,
) -> Result<Negotiated, SetupError> {
    let mut terms = Terms::new(End::Client, options, variables)?;
    let own = options.protocol.unwrap_or(i32::from(NEWEST_PROTOCOL));
    terms.demand_nothing_of_the_wire();
    // Both halves say the same.
    let protocol = terms.protocol(own, own, own)?;
    let flags = Capabilities::parse(CAPABILITIES).server_flags(options.allows_incremental_recursion(true));
    let mut negotiated = Negotiated::new(protocol, flags);
    negotiated.seed = options.checksum_seed;
    terms.settle(&negotiated)?;
    let lists = terms.own_lists(&negotiated);
    terms.conclude(&mut negotiated, &lists)?;
    Ok(negotiated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::DeleteTiming;
    use crate::sum::Checksum;

    #[test]
    fn both_halves_know_everything_the_newest_version_knows() {
        let options = TransferOptions::archive();
        let agreed = agree_locally(&options, &AlgorithmVariables::default()).expect("agreed");
        assert!(agreed.incremental_recursion() && agreed.has_long_goodbye());
        assert_eq!(agreed.checksum.pre_transfer, Checksum::Xxh128);
        let whole = TransferOptions { delete: DeleteTiming::Before, ..TransferOptions::archive() };
        let agreed = agree_locally(&whole, &AlgorithmVariables::default()).expect("agreed");
        assert!(!agreed.incremental_recursion());
        for (protocol, text) in [
            (
                99,
                "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)",
            ),
            (33, "--protocol must be no more than 32 on the Client."),
            (26, "--protocol must be at least 27 on the Client."),
            (
                1,
                "protocol version mismatch -- is your shell clean?\n(see the rsync manpage for an explanation)",
            ),
        ] {
            let options = TransferOptions { protocol: Some(protocol), ..TransferOptions::archive() };
            let error = agree_locally(&options, &AlgorithmVariables::default()).expect_err("not spoken");
            assert_eq!(error.to_string(), text, "{protocol}");
        }
        let attributes =
            TransferOptions { acls: true, xattrs: 1, protocol: Some(29), ..TransferOptions::archive() };
        assert!(agree_locally(&attributes, &AlgorithmVariables::default()).is_ok());
        let old = TransferOptions { protocol: Some(29), ..TransferOptions::archive() };
        assert!(!agree_locally(&old, &AlgorithmVariables::default()).expect("agreed").is_modern());
    }
}
