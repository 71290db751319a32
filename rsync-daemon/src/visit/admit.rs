//! Whether a client may come in: its name, the lists of hosts, a slot (spec 09 §4.2, §6, §7).

use bstr::BString;
use rsync_proto::exit::ExitCode;
use rsync_proto::session::Refusal;

use super::{Stop, Visit, variable};
use crate::access::{HostLists, HostName, Resolver};
use crate::config::{Module, ModuleSettings, expand};
use crate::files::to_path;
use crate::host::Caller;
use crate::limits::Slot;
use crate::order::Visitor;

impl Visit<'_> {
    /// The client's name where names are looked up, at most once a connection.
    pub(super) async fn host_for(&mut self, reverse_lookup: bool) -> HostName {
        if !reverse_lookup {
            return HostName::Undetermined;
        }
        if !self.looked_up {
            self.looked_up = true;
            let address = self.address;
            let found = tokio::task::spawn_blocking(move || Resolver.name_of(address)).await;
            let (name, why) = found.unwrap_or((HostName::Unknown, None));
            if let Some(why) = why {
                self.log.warning(why);
            }
            self.host = name;
        }
        self.host.clone()
    }

    pub(super) fn client(&self, host: &HostName) -> String {
        format!("{} ({})", host.text(), self.address)
    }

    /// What is known of a client before it has logged in.
    fn visitor(&self, module: &Module) -> Visitor {
        Visitor {
            user: BString::default(),
            host: String::new(),
            address: self.address,
            module: module.name.clone(),
        }
    }

    /// The C daemon sends everybody away from a module whose charset it does not know, without a word.
    pub(super) fn check_charset(&self, module: &Module) -> Result<(), Stop> {
        let visitor = self.visitor(module);
        let charset = module.settings.charset.as_ref().map(|text| {
            expand(text, &|name| variable(name, module, Some(&visitor))).unwrap_or_else(|_| text.clone())
        });
        let settings = ModuleSettings { charset, ..ModuleSettings::default() };
        settings.charset().map(drop).map_err(|error| {
            self.log.warning(error.to_string());
            Stop::Failed(ExitCode::UNSUPPORTED, None)
        })
    }

    pub(super) async fn check_access(&mut self, module: &Module, host: &HostName) -> Result<(), Stop> {
        let settings = &module.settings;
        let visitor = self.visitor(module);
        let expanded = |list: &Option<BString>| {
            let text = list.clone().unwrap_or_default();
            let text = expand(&text, &|name| variable(name, module, Some(&visitor)));
            text.map(|text| text.to_string()).map_err(|error| Stop::Silent(error.to_string()))
        };
        let (allow, deny) = (expanded(&settings.hosts_allow)?, expanded(&settings.hosts_deny)?);
        let name = &module.name;
        let caller = self.caller(module, host);
        let (access, forward_lookup) = (self.shared.host().access.clone(), settings.forward_lookup);
        let may_take_long = access.is_some() || (forward_lookup && !(allow.is_empty() && deny.is_empty()));
        let check = move || {
            let lists = HostLists { allow: &allow, deny: &deny, forward_lookup };
            lists.let_in(&caller.host, caller.address, &Resolver)
                && access.is_none_or(|access| access(&caller))
        };
        // Names in the lists are looked up, and other clients are not to wait for that.
        let is_let_in = match may_take_long {
            true => tokio::task::spawn_blocking(check).await.unwrap_or(false),
            false => check(),
        };
        if is_let_in {
            self.log.info(format!("rsync allowed access on module {name} from {}", self.client(host)));
            return Ok(());
        }
        self.log.warning(format!("rsync denied on module {name} from {}", self.client(host)));
        Err(Stop::Refused(if settings.list {
            Refusal::AccessDenied {
                module: name.clone(),
                host: host.text().into(),
                address: self.address.to_string(),
            }
        } else {
            Refusal::UnknownModule(name.clone())
        }))
    }

    pub(super) fn caller(&self, module: &Module, host: &HostName) -> Caller {
        Caller { address: self.address, host: host.text().to_owned(), module: module.name.clone() }
    }

    pub(super) async fn claim_slot(&mut self, module: &Module) -> Result<Option<Slot>, Stop> {
        let count = module.settings.max_connections;
        if count == 0 {
            return Ok(None);
        }
        let path = to_path(&module.settings.lock_file);
        let lock_file = path.clone();
        let slot = match count {
            ..0 => Ok(None),
            _ => self.in_room(move || Slot::claim(&lock_file, count)).await?,
        };
        match slot {
            Ok(Some(slot)) => Ok(Some(slot)),
            Ok(None) => {
                self.log.warning(format!("max connections ({count}) reached"));
                Err(Refusal::MaxConnections(count).into())
            }
            Err(error) => {
                self.log.warning(format!("failed to open lock file {}: {error}", path.display()));
                Err(Refusal::LockFile.into())
            }
        }
    }
}
