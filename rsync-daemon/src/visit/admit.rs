//! Whether a client may come in: its name, the lists of hosts, a slot (spec 09 §4.2, §6, §7).

use bstr::BString;
use rsync_proto::exit::ExitCode;
use rsync_proto::session::Refusal;
use rsync_proto::text::describe_errno;

use super::{Stop, Visit, variable};
use crate::access::{HostLists, HostName, Resolver, Verdict};
use crate::config::{Module, ModuleSettings, expand};
use crate::files::to_path;
use crate::host::Caller;
use crate::limits::{ModulePlace, Slot};
use crate::order::Visitor;
use crate::places::counted_address;

impl Visit<'_> {
    /// The client's name, where names are looked up or one was looked up already: at most once a connection.
    pub(super) async fn host_for(&mut self, reverse_lookup: bool) -> HostName {
        if !reverse_lookup {
            return self.host.clone();
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

    pub(super) async fn check_access(&mut self, module: &Module, host: &mut HostName) -> Result<(), Stop> {
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
        let asks_netgroup = allow.contains('@') || deny.contains('@');
        let asks_names = forward_lookup && !(allow.is_empty() && deny.is_empty());
        let may_take_long = access.is_some() || asks_netgroup || asks_names;
        let check = move || {
            let lists = HostLists { allow: &allow, deny: &deny, forward_lookup };
            let verdict = lists.judge(&caller.host, caller.address, &Resolver);
            let is_let_in = verdict.is_let_in && access.is_none_or(|access| access(&caller));
            Verdict { is_let_in, ..verdict }
        };
        // Names in the lists are looked up, and other clients are not to wait for that.
        let verdict = match may_take_long {
            true => {
                tokio::task::spawn_blocking(check).await.map_err(|error| Stop::Silent(error.to_string()))?
            }
            false => check(),
        };
        verdict.notes.iter().for_each(|note| self.log.warning(note));
        if let (HostName::Undetermined, Some(name)) = (&host, verdict.name) {
            *host = HostName::Known(name);
        }
        if verdict.is_let_in {
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

    /// One of the places that the client's address has in the module, if they are counted.
    pub(super) fn take_place(&mut self, module: &Module) -> Result<Option<ModulePlace>, Stop> {
        let limit = module.settings.max_connections_per_address;
        if limit == 0 {
            return Ok(None);
        }
        let key = (module.name.clone(), counted_address(self.address));
        // As with `max connections`, less than none is none.
        let place = self.shared.places().take(key, u32::try_from(limit).unwrap_or(0));
        if place.is_none() {
            self.log.warning(format!("max connections per address ({limit}) reached by {}", self.address));
            return Err(Refusal::MaxConnections(limit).into());
        }
        Ok(place)
    }

    pub(super) async fn claim_slot(&mut self, module: &Module) -> Result<Option<Slot>, Stop> {
        let count = module.settings.max_connections;
        if count == 0 {
            return Ok(None);
        }
        let path = to_path(&module.settings.lock_file);
        let lock_file = path.clone();
        match self.in_room(move || Slot::claim(&lock_file, count)).await? {
            Ok(Some(slot)) => Ok(Some(slot)),
            Ok(None) => {
                self.log.warning(format!("max connections ({count}) reached"));
                Err(Refusal::MaxConnections(count).into())
            }
            Err(error) => {
                let reason = describe_errno(error.raw_os_error().unwrap_or_default());
                let path = path.display();
                self.log.warning(format!("rsync: [Receiver] failed to open lock file {path}: {reason}"));
                Err(Refusal::LockFile.into())
            }
        }
    }
}
