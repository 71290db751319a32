//! Numbers about a daemon, in the text form of OpenMetrics that Prometheus reads.

use rsync_proto::exit::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bstr::{BStr, ByteSlice};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModule {
    module: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    module: String,
    code: i64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// rsync's exit code.
    pub(crate) code: i32,
    /// Bytes that went to the client.
    pub(crate) sent: u64,
    /// Bytes that came from it.
    pub(crate) received: u64,
}

impl Outcome {
    /// That of a session that was lost, with the exit code of one that was killed.
    pub(crate) const LOST: Self = Self { code: -1, sent: 0, received: 0 };

    /// The exit code; `None` for a session that was lost.
    pub(crate) fn exit_code(self) -> Option<ExitCode> {
        match self.code {
            0 => Some(ExitCode::OK),
            1.. => Some(ExitCode::from_peer(Some(self.code))),
            _ => None,
        }
    }
}

/// The numbers.
pub(crate) struct Metrics {
    registry: Registry,
    connections: Counter,
    handshakes: Gauge,
    refusals: Family<Reason, Counter>,
    sessions: Family<OfModule, Gauge>,
    ended: Family<Ended, Counter>,
    sent: Family<OfModule, Counter>,
    received: Family<OfModule, Counter>,
    config_is_usable: Gauge,
}

impl Metrics {
    /// Nothing has happened; the daemon starts at `started`, in seconds since 1970.
    pub(crate) fn new(started: i64) -> Self {
        let mut registry = Registry::with_prefix("rsyncd");
        let mut new = Self {
            registry: Registry::default(),
            connections: Counter::default(),
            handshakes: Gauge::default(),
            refusals: Family::default(),
            sessions: Family::default(),
            ended: Family::default(),
            sent: Family::default(),
            received: Family::default(),
            config_is_usable: Gauge::default(),
        };
        new.config_is_usable.set(1);
        let start = Gauge::<i64>::default();
        start.set(started);
        registry.register_with_unit(
            "start_time",
            "When the daemon started, since 1970",
            Unit::Seconds,
            start,
        );
        registry.register("connections", "Connections accepted", new.connections.clone());
        registry.register("handshakes", "Connections without a session yet", new.handshakes.clone());
        registry.register("refusals", "Connections sent away before a session", new.refusals.clone());
        registry.register("sessions", "Sessions under way", new.sessions.clone());
        registry.register("sessions_ended", "Sessions that ended, by exit code", new.ended.clone());
        registry.register_with_unit("sent", "Sent to clients in sessions", Unit::Bytes, new.sent.clone());
        registry.register_with_unit(
            "received",
            "Received from clients in sessions",
            Unit::Bytes,
            new.received.clone(),
        );
        registry.register(
            "config_usable",
            "Whether the configuration on disk can be used",
            new.config_is_usable.clone(),
        );
        new.registry = registry;
        new
    }

    /// Somebody connected; the answer is dropped when the handshake is over.
    pub(crate) fn connection(&self) -> Handshaking {
        self.connections.inc();
        self.handshakes.inc();
        Handshaking(self.handshakes.clone())
    }

    /// Somebody was sent away.
    pub(crate) fn refusal(&self, reason: &'static str) {
        self.refusals.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn session_began(&self, module: &BStr) {
        self.sessions.get_or_create(&of(module)).inc();
    }

    pub(crate) fn session_ended(&self, module: &BStr, outcome: Outcome) {
        let module = of(module);
        self.sessions.get_or_create(&module).dec();
        self.sent.get_or_create(&module).inc_by(outcome.sent);
        self.received.get_or_create(&module).inc_by(outcome.received);
        self.ended.get_or_create(&Ended { module: module.module, code: outcome.code.into() }).inc();
    }

    pub(crate) fn config(&self, is_usable: bool) {
        self.config_is_usable.set(is_usable.into());
    }

    /// All numbers as text.
    #[cfg(any(feature = "http", test))]
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

fn of(module: &BStr) -> OfModule {
    OfModule { module: module.to_str_lossy().into_owned() }
}

/// A connection without a session, until it is dropped.
pub(crate) struct Handshaking(Gauge);

impl Drop for Handshaking {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts the bytes of one direction.
#[derive(Debug, Default)]
pub(crate) struct Meter(AtomicU64);

impl Meter {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Whether the daemon takes clients.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_stopping: AtomicBool,
}

impl Health {
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    #[cfg(any(feature = "http", test))]
    pub(crate) fn is_good(&self) -> bool {
        !self.is_stopping.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::new(7);
        let handshaking = metrics.connection();
        metrics.refusal("access denied");
        metrics.session_began("m".into());
        metrics.session_began("m".into());
        metrics.session_ended("m".into(), Outcome { code: 23, sent: 5, received: 6 });
        metrics.config(false);
        let text = metrics.render();
        for line in [
            "rsyncd_start_time_seconds 7",
            "rsyncd_connections_total 1",
            "rsyncd_handshakes 1",
            "rsyncd_refusals_total{reason=\"access denied\"} 1",
            "rsyncd_sessions{module=\"m\"} 1",
            "rsyncd_sessions_ended_total{module=\"m\",code=\"23\"} 1",
            "rsyncd_sent_bytes_total{module=\"m\"} 5",
            "rsyncd_received_bytes_total{module=\"m\"} 6",
            "rsyncd_config_usable 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        drop(handshaking);
        assert!(metrics.render().contains("\nrsyncd_handshakes 0\n"));
    }
}
