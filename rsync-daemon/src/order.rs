//! What is to be done for a client, decided by the process that listens (spec 09 §4).

use std::net::IpAddr;

use bstr::BString;

use crate::config::ModuleSettings;
use crate::packed::packed_struct;
use crate::request::Arguments;
use crate::rules::HiddenRules;

/// Who a session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// The name used for authentication, empty if there was none.
    pub(crate) user: BString,
    /// Name of the client's host, `UNKNOWN` or `UNDETERMINED`.
    pub(crate) host: String,
    /// The client's address.
    pub(crate) address: IpAddr,
    /// The module.
    pub(crate) module: BString,
}

packed_struct!(Visitor { user, host, address, module });

/// A session, as far as it can be written down: access was granted, and the arguments were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionOrder {
    /// Protocol of the client's greeting.
    pub(crate) peer: i32,
    /// Protocol that was agreed on.
    pub(crate) agreed: i32,
    pub(crate) arguments: Arguments,
    pub(crate) settings: ModuleSettings,
    pub(crate) visitor: Visitor,
    /// The module's path, for the log.
    pub(crate) path: BString,
    /// What the client does not see.
    pub(crate) rules: HiddenRules,
    /// Links are stored unusable.
    pub(crate) munges_links: bool,
    /// Links are stored so that they lead nowhere but into the module.
    pub(crate) keeps_links_inside: bool,
    /// Messages name paths as if the module's root were that of the system.
    pub(crate) seems_root: bool,
    /// Names of owners do not count.
    pub(crate) numeric_ids: bool,
    /// What the client may do.
    pub(crate) access: Access,
    /// Most bytes a second; 0 is no limit.
    pub(crate) bwlimit: u64,
    /// Why there is no transfer, if a hook said so.
    pub(crate) refusal: Option<BString>,
    /// What was read from the connection after the arguments.
    pub(crate) ahead: BString,
}

packed_struct!(SessionOrder {
    peer,
    agreed,
    arguments,
    settings,
    visitor,
    path,
    rules,
    munges_links,
    keeps_links_inside,
    seems_root,
    numeric_ids,
    access,
    bwlimit,
    refusal,
    ahead,
});

impl SessionOrder {
    /// Whether files are to be sent.
    pub(crate) fn is_sender(&self) -> bool {
        self.arguments.parse(&self.visitor.module, &self.settings).1.options().sender
    }
}

/// What a client may do with a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
}

packed_struct!(Access { reads, writes });

// What sessions need of them; passwords and lists of hosts stay where they are.
packed_struct!(
    ModuleSettings {
        open_noatime,
        charset,
        reverse_lookup,
        max_verbosity,
        incoming_chmod,
        outgoing_chmod,
        ignore_errors,
        temp_dir,
        fake_super,
        dont_compress,
        ignore_nonreadable,
        transfer_logging,
        log_format,
        timeout,
        refuse_options,
    },
    ..ModuleSettings::default()
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::{frame, unframe};

    #[test]
    fn an_order_arrives_as_it_was_given_without_secrets() {
        let order = SessionOrder {
            peer: 32,
            agreed: 31,
            arguments: Arguments { first: vec!["--server".into()], second: Some(vec!["rsync".into()]) },
            settings: ModuleSettings { timeout: 7, ..ModuleSettings::default() },
            visitor: Visitor {
                user: "alice".into(),
                host: "UNKNOWN".into(),
                address: [127, 0, 0, 1].into(),
                module: "pub".into(),
            },
            path: "/srv".into(),
            rules: HiddenRules { files: vec![("f".into(), "*.o\n".into())], ..HiddenRules::default() },
            munges_links: true,
            keeps_links_inside: false,
            seems_root: true,
            numeric_ids: false,
            access: Access { reads: true, writes: false },
            bwlimit: 1 << 40,
            refusal: Some("no".into()),
            ahead: b"\0\x01".into(),
        };
        let mut given = order.clone();
        given.settings.secrets_file = Some("/etc/secrets".into());
        let bytes = frame(&given, 1 << 20).expect("short");
        assert_eq!(unframe::<SessionOrder>(&bytes[4..]).expect("whole"), order);
    }
}
