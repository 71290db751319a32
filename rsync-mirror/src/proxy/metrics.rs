//! The proxy's numbers, under the names that rsync-proxy gives them.

use bstr::ByteSlice;
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::relay::Ending;
use super::roster::Roster;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfModule {
    module: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfUpstream {
    upstream: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct InState {
    upstream: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Reason {
    reason: &'static str,
}

impl OfModule {
    /// Of a module that a backend has, so that clients cannot make up labels.
    pub(super) fn named(module: &[u8]) -> Self {
        Self { module: module.to_str_lossy().into_owned() }
    }
}

impl OfUpstream {
    pub(super) fn named(upstream: &str) -> Self {
        Self { upstream: upstream.to_owned() }
    }
}

/// Counters of a proxy since it began; what can be seen at a moment is added when they are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    pub(super) accepted: Counter,
    pub(super) completed: Counter,
    pub(super) sent: Counter,
    pub(super) received: Counter,
    pub(super) unknown_module: Counter,
    pub(super) queue_full: Family<OfUpstream, Counter>,
    pub(super) dial_errors: Family<OfUpstream, Counter>,
    pub(super) module_accepted: Family<OfModule, Counter>,
    pub(super) module_completed: Family<OfModule, Counter>,
    pub(super) module_sent: Family<OfModule, Counter>,
    pub(super) module_received: Family<OfModule, Counter>,
    ended: Family<Reason, Counter>,
    refused: Family<Reason, Counter>,
}

impl Metrics {
    pub(super) fn ended(&self, ending: Ending) {
        self.ended.get_or_create(&Reason { reason: ending.name() }).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// Everything, in the text form of OpenMetrics; `active` are the modules of the sessions there are.
    pub(super) fn render<'a>(&self, roster: &Roster, active: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut registry = Registry::with_prefix("rsync_proxy");
        let (sessions, by_module) = (Gauge::<i64>::default(), Family::<OfModule, Gauge>::default());
        for module in active {
            sessions.inc();
            by_module.get_or_create(&OfModule::named(module)).inc();
        }
        let [queued, active_max, queued_max, upstream_active] =
            [(); 4].map(|()| Family::<OfUpstream, Gauge>::default());
        let states = Family::<InState, Gauge>::default();
        for (name, backend) in &roster.backends {
            let Some(settings) = roster.config.upstreams.get(name) else { continue };
            let (active, waiting) = backend.counts();
            for (family, value) in [
                (&upstream_active, active),
                (&queued, waiting),
                (&active_max, settings.max_active_connections),
                (&queued_max, settings.max_queued_connections),
            ] {
                family.get_or_create(&OfUpstream::named(name)).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
            let current = backend.watch.state();
            for state in ["up", "busy", "draining", "down"] {
                let label = InState { upstream: name.clone(), state };
                states.get_or_create(&label).set(i64::from(state == current.name()));
            }
        }
        registry.register("active_connections", "Sessions at backends", sessions);
        registry.register("active_connections_by_module", "Sessions of each module", by_module);
        registry.register("upstream_active_connections", "Sessions of each upstream", upstream_active);
        registry.register("queued_connections", "Clients that wait for an upstream", queued);
        registry.register("queue_active_max", "Most sessions of an upstream, 0 is no limit", active_max);
        registry.register(
            "queue_queued_max",
            "Most waiting clients of an upstream, 0 is no limit",
            queued_max,
        );
        registry.register("upstream_state", "1 for the state an upstream is in", states);
        let counters = [
            ("accepted_connections", "Connections of clients", &self.accepted),
            ("completed_connections", "Sessions that have ended", &self.completed),
            ("sent_bytes", "Bytes to clients", &self.sent),
            ("received_bytes", "Bytes from clients", &self.received),
            ("unknown_module_requests", "Requests for modules that nobody has", &self.unknown_module),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("queue_full_rejected", "Clients that found a full queue", self.queue_full.clone());
        registry.register(
            "upstream_dial_errors",
            "Failed connections to an upstream",
            self.dial_errors.clone(),
        );
        let modules = [
            ("module_accepted_connections", "Requests for a module", &self.module_accepted),
            ("module_completed_connections", "Sessions of a module that have ended", &self.module_completed),
            ("module_sent_bytes", "Bytes of a module to clients", &self.module_sent),
            ("module_received_bytes", "Bytes of a module from clients", &self.module_received),
        ];
        for (name, help, family) in modules {
            registry.register(name, help, family.clone());
        }
        registry.register("sessions_ended", "Sessions by how they ended", self.ended.clone());
        registry.register(
            "refused_connections",
            "Clients that were turned away, by reason",
            self.refused.clone(),
        );
        let mut text = String::new();
        // A string takes whatever is written to it.
        let _ = encode(&mut text, &registry);
        text
    }
}
