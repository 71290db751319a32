//! Which backends there are, and what they make together: a promise, a list of modules, a choice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bstr::{BString, ByteSlice};
use rsync_proto::session::{EXIT_LINE, Greeting, listing_line};

use super::backend::Backend;
use super::config::{Policy, ProxyConfig, UpstreamConfig};
use super::greeting::common;
use super::policy::{Candidate, ClientKey, Turns, order};

/// A configuration that is in force.
pub(super) struct Roster {
    pub(super) config: ProxyConfig,
    pub(super) motd: Vec<u8>,
    /// By name; each has its section in the configuration.
    pub(super) backends: BTreeMap<String, Arc<Backend>>,
    turns: Mutex<HashMap<BString, Turns>>,
}

/// A backend that may be tried, and its settings.
pub(super) struct Choice<'a> {
    pub(super) backend: &'a Arc<Backend>,
    pub(super) settings: &'a UpstreamConfig,
}

impl Roster {
    /// Takes over the backends of an earlier one that are the same; says which those were.
    pub(super) fn new(config: ProxyConfig, earlier: Option<&Self>) -> Self {
        let mut backends = BTreeMap::new();
        for (name, upstream) in &config.upstreams {
            let (target, checks) = (upstream.target(), config.checks(upstream).clone());
            let known = earlier.and_then(|earlier| earlier.backends.get(name));
            let known = known.filter(|known| known.target.is_same(&target) && known.checks == checks);
            let backend =
                known.map_or_else(|| Arc::new(Backend::new(name.clone(), target, checks)), Arc::clone);
            backends.insert(name.clone(), backend);
        }
        Self { motd: config.proxy.motd_bytes(), config, backends, turns: Mutex::default() }
    }

    fn members(&self) -> impl Iterator<Item = Choice<'_>> {
        self.backends.iter().filter_map(|(name, backend)| {
            self.config.upstreams.get(name).map(|settings| Choice { backend, settings })
        })
    }

    /// What every client is told before it says anything.
    pub(super) fn promise(&self) -> Greeting {
        let known: Vec<Greeting> = self
            .members()
            .filter_map(|member| member.backend.known().as_ref().map(|known| known.greeting.clone()))
            .collect();
        common(&known)
    }

    fn serves(member: &Choice<'_>, module: &[u8]) -> bool {
        member.settings.modules.iter().any(|name| name.as_bytes() == module)
            || (member.settings.discover_modules
                && member
                    .backend
                    .known()
                    .as_ref()
                    .is_some_and(|known| known.modules.contains_key(module.as_bstr())))
    }

    /// Whether any backend has this module.
    pub(super) fn has(&self, module: &[u8]) -> bool {
        self.members().any(|member| Self::serves(&member, module))
    }

    /// The backends that may get a session of this module now, in the order in which they are tried.
    pub(super) fn choices(&self, module: &[u8], client: ClientKey) -> Vec<Choice<'_>> {
        let usable = self.members().filter(|member| Self::serves(member, module));
        let usable: Vec<(Choice<'_>, bool)> =
            usable.filter_map(|member| member.backend.usable().map(|busy| (member, busy))).collect();
        let candidates: Vec<Candidate<'_>> = usable
            .iter()
            .map(|(member, busy)| Candidate {
                name: &member.backend.name,
                weight: member.settings.weight,
                active: member.backend.counts().0,
                busy: *busy,
            })
            .collect();
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let order = order(self.policy(module), client, &candidates, turns.entry(module.into()).or_default());
        drop(candidates);
        let mut usable: Vec<Option<Choice<'_>>> =
            usable.into_iter().map(|(member, _)| Some(member)).collect();
        order.into_iter().filter_map(|index| usable[index].take()).collect()
    }

    fn policy(&self, module: &[u8]) -> Policy {
        let own = module.to_str().ok().and_then(|name| self.config.modules.get(name)?.policy);
        own.unwrap_or(self.config.proxy.policy)
    }

    /// Most sessions of a module; 0 is no limit.
    pub(super) fn module_limit(&self, module: &[u8]) -> usize {
        module
            .to_str()
            .ok()
            .and_then(|name| self.config.modules.get(name))
            .map_or(0, |own| own.max_connections)
    }

    /// Names and comments of the modules that are listed, sorted: those that a backend lists, with the
    /// comment of the first backend that does.
    pub(super) fn modules(&self) -> BTreeMap<BString, BString> {
        let mut modules = BTreeMap::new();
        for member in self.members() {
            let known = member.backend.known().clone();
            for (name, comment) in known.into_iter().flat_map(|known| known.modules) {
                let is_hidden =
                    name.to_str().ok().and_then(|name| self.config.modules.get(name)?.list) == Some(false);
                if !is_hidden && Self::serves(&member, &name) {
                    modules.entry(name).or_insert(comment);
                }
            }
        }
        modules
    }

    /// The modules that one backend has here: those of its section, and those it tells.
    pub(super) fn modules_of(&self, name: &str) -> Vec<String> {
        let Some(settings) = self.config.upstreams.get(name) else { return Vec::new() };
        let mut modules: BTreeSet<String> = settings.modules.iter().cloned().collect();
        if settings.discover_modules {
            let known = self.backends.get(name).and_then(|backend| backend.known().clone());
            modules
                .extend(known.into_iter().flat_map(|known| known.modules).map(|(name, _)| name.to_string()));
        }
        modules.into_iter().collect()
    }

    /// The listing as it is sent, with its end.
    pub(super) fn listing(&self) -> Vec<u8> {
        let mut listing = Vec::new();
        for (name, comment) in self.modules() {
            listing.extend(listing_line(&name, &comment));
        }
        listing.extend_from_slice(EXIT_LINE);
        listing
    }
}
