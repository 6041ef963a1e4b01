//! The table of metrics: one line each. The enums that the data plane writes by, the sizes of the
//! cells, the Prometheus names, twemproxy's names and `--describe-stats` all come from here.
//!
//! A metric of twemproxy's stands in twemproxy's order, for its JSON is written by walking the
//! table. Adding a metric is adding a line; nothing else has to know.

/// What a metric is counted for; a pool's and a shard's figures are summed over all cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Core,
    Pool,
    Shard,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// What is at this moment.
    Gauge,
    /// A moment, µs since the Unix epoch; 0: never. Over cores: the latest.
    Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    Bytes,
    /// Kept in µs, shown to Prometheus in seconds.
    Time,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    pub scope: Scope,
    pub kind: Kind,
    pub unit: Unit,
    /// The whole name in Prometheus, `_total` and the unit included.
    pub prometheus: &'static str,
    /// The name in twemproxy's JSON, if it is one of its own.
    pub twemproxy: Option<&'static str>,
    pub help: &'static str,
}

macro_rules! metrics {
    (
        $(#[$about:meta])*
        $metrics:ident of $scope:ident {
            $($variant:ident: $kind:ident $unit:ident $prometheus:literal $(as $twemproxy:literal)?,
              $help:literal;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $metrics {
            $(#[doc = $help] $variant,)+
        }

        impl $metrics {
            /// In the table's order; a metric's place is its number.
            pub const ALL: &'static [$metrics] = &[$($metrics::$variant),+];
            pub const COUNT: usize = Self::ALL.len();
            const TABLE: [Metric; Self::COUNT] = [$(Metric {
                scope: Scope::$scope,
                kind: Kind::$kind,
                unit: Unit::$unit,
                prometheus: $prometheus,
                twemproxy: metrics!(@twemproxy $($twemproxy)?),
                help: $help,
            }),+];

            /// The metric's line in the table.
            pub const fn metric(self) -> &'static Metric {
                &Self::TABLE[self as usize]
            }
        }
    };
    (@twemproxy) => { None };
    (@twemproxy $name:literal) => { Some($name) };
}

metrics! {
    /// What a core does as a whole.
    CoreMetric of Core {
        Turns: Counter Count "corelay_core_turns_total",
            "passes of the reactor";
        Writes: Counter Count "corelay_core_writes_total",
            "writes to clients and servers; each may hold many replies or requests";
        AcceptsPassedOn: Counter Count "corelay_core_accepts_passed_on_total",
            "fresh connections passed on to a core with fewer clients";
        BufferedBytes: Gauge Bytes "corelay_core_buffered_bytes",
            "bytes in all buffers of the core, limited by core_buffer_max_bytes";
        AcceptErrors: Counter Count "corelay_core_accept_errors_total",
            "accepts that failed for another reason than a lack of descriptors";
        ClientsRefusedForDescriptors: Counter Count
            "corelay_core_clients_refused_for_descriptors_total",
            "fresh connections closed because descriptors ran short (ulimit -n)";
        TopologyEpoch: Gauge Count "corelay_core_topology_epoch",
            "epoch of the topology that the core works by";
        AnswersMissed: Counter Count "corelay_core_answers_missed_total",
            "answers of other cores that a CLIENT LIST, KILL or PAUSE, or a MONITOR, did not wait for any longer";
        MonitorLinesMissed: Counter Count "corelay_core_monitor_lines_missed_total",
            "requests that a client that monitors was not shown, because it reads too slowly";
    }
}

metrics! {
    /// What happens between a pool and its clients.
    PoolMetric of Pool {
        ClientEof: Counter Count "corelay_pool_client_eof_total" as "client_eof",
            "clients that closed their connection";
        ClientErr: Counter Count "corelay_pool_client_errors_total" as "client_err",
            "client connections that ended with an error";
        ClientConnections: Gauge Count "corelay_pool_clients" as "client_connections",
            "clients that are connected";
        ClientConnectionsTotal: Counter Count "corelay_pool_client_connections_total",
            "client connections that were taken";
        ClientsRefused: Counter Count "corelay_pool_clients_refused_total",
            "client connections refused at client_connections_max";
        ClientsClosedForOutput: Counter Count "corelay_pool_clients_closed_for_output_total",
            "clients closed because more waited for them than client_output_max_bytes";
        ClientsClosedForIdleness: Counter Count "corelay_pool_clients_closed_for_idleness_total",
            "clients closed because they sent nothing for client_idle_timeout_ms";
        BlockedClients: Gauge Count "corelay_pool_blocked_clients",
            "clients that wait in a command that blocks (BLPOP and others)";
        WatchingClients: Gauge Count "corelay_pool_watching_clients",
            "clients that have said WATCH, and not yet EXEC, DISCARD or UNWATCH";
        ClientPauses: Counter Count "corelay_pool_client_pauses_total",
            "times a client was not read for a while because a limit was reached";
        ServerEjects: Counter Count "corelay_pool_server_ejects_total" as "server_ejects",
            "times a shard was ejected from the ring";
        ForwardError: Counter Count "corelay_pool_forward_errors_total" as "forward_error",
            "requests that were answered with an error because their shard could not be asked";
        Fragments: Counter Count "corelay_pool_fragments_total" as "fragments",
            "parts of requests that were split over shards";
        Requests: Counter Count "corelay_pool_requests_total",
            "requests of clients";
        RequestBytes: Counter Bytes "corelay_pool_request_bytes_total",
            "bytes of clients' requests";
        ReplyBytes: Counter Bytes "corelay_pool_reply_bytes_total",
            "bytes of replies to clients";
        LocalRequests: Counter Count "corelay_pool_local_requests_total",
            "requests answered by the proxy itself";
        ProtocolErrors: Counter Count "corelay_pool_protocol_errors_total",
            "clients closed for a broken frame";
        UnknownCommands: Counter Count "corelay_pool_unknown_commands_total",
            "requests whose command is not in the table";
        CrossslotErrors: Counter Count "corelay_pool_crossslot_errors_total",
            "requests refused because their keys are on different shards";
        NoscriptLoads: Counter Count "corelay_pool_noscript_loads_total",
            "scripts loaded again because a redis-server answered NOSCRIPT";
        Subscribers: Gauge Count "corelay_pool_subscribers",
            "clients that are subscribed to something";
        Channels: Gauge Count "corelay_pool_channels",
            "channels and shard channels that clients are subscribed to, counted for each core";
        Patterns: Gauge Count "corelay_pool_patterns",
            "patterns that clients are subscribed to, counted for each core";
        MessagesDelivered: Counter Count "corelay_pool_messages_delivered_total",
            "Pub/Sub messages given to clients: one published is many delivered";
        SubscribersClosedForOutput: Counter Count
            "corelay_pool_subscribers_closed_for_output_total",
            "those of the clients closed for output that were subscribed to something";
        TrackingClients: Gauge Count "corelay_pool_tracking_clients",
            "clients with CLIENT TRACKING on";
        TrackedKeys: Gauge Count "corelay_pool_tracked_keys",
            "keys that clients with tracking have read and may keep, counted for each client";
        InvalidationsDelivered: Counter Count "corelay_pool_invalidations_delivered_total",
            "invalidations given to clients with tracking";
        InvalidationsOfAll: Counter Count "corelay_pool_invalidations_of_all_total",
            "times that all clients of a core with tracking were told to forget everything";
        TrackingOverflows: Counter Count "corelay_pool_tracking_overflows_total",
            "those of them that were so because too many keys were tracked";
        Listeners: Gauge Count "corelay_pool_listeners",
            "sockets that listen for clients, of all cores";
    }
}

metrics! {
    /// What happens between a shard's lanes and its redis-servers.
    ShardMetric of Shard {
        ServerEof: Counter Count "corelay_shard_server_eof_total" as "server_eof",
            "lanes closed by the redis-server";
        ServerErr: Counter Count "corelay_shard_server_errors_total" as "server_err",
            "lanes that ended with an error, refused connects included";
        ServerTimedout: Counter Count "corelay_shard_server_timeouts_total" as "server_timedout",
            "requests that were not answered in timeout_ms";
        ServerConnections: Gauge Count "corelay_shard_lanes" as "server_connections",
            "lanes that are connected";
        ServerEjectedAt: Timestamp Time "corelay_shard_ejected_at_seconds" as "server_ejected_at",
            "when the shard was last ejected from the ring, since the Unix epoch; 0: never";
        Requests: Counter Count "corelay_shard_requests_total" as "requests",
            "requests and fragments given to the shard's lanes";
        RequestBytes: Counter Bytes "corelay_shard_request_bytes_total" as "request_bytes",
            "bytes of requests given to the shard's lanes";
        Responses: Counter Count "corelay_shard_replies_total" as "responses",
            "replies from the shard";
        ResponseBytes: Counter Bytes "corelay_shard_reply_bytes_total" as "response_bytes",
            "bytes of replies from the shard";
        InQueue: Gauge Count "corelay_shard_in_queue" as "in_queue",
            "requests that wait to be sent";
        InQueueBytes: Gauge Bytes "corelay_shard_in_queue_bytes" as "in_queue_bytes",
            "bytes of requests that wait to be sent";
        OutQueue: Gauge Count "corelay_shard_out_queue" as "out_queue",
            "requests that were sent and are not yet answered";
        OutQueueBytes: Gauge Bytes "corelay_shard_out_queue_bytes" as "out_queue_bytes",
            "bytes of requests that were sent and are not yet answered";
        LaneConnects: Counter Count "corelay_shard_lane_connects_total",
            "lanes that came up, hand-shake included";
        LaneConnectFailures: Counter Count "corelay_shard_lane_connect_failures_total",
            "attempts to connect a lane that failed";
        LaneDesynchronised: Counter Count "corelay_shard_lane_desynchronised_total",
            "lanes closed because their replies no longer fitted their requests";
        Fences: Counter Count "corelay_shard_fences_total",
            "PINGs sent between requests, whose answers prove that a lane is in step";
        LateReplies: Counter Count "corelay_shard_late_replies_total",
            "replies that came after their deadline and were dropped";
        ErrorReplies: Counter Count "corelay_shard_error_replies_total",
            "error replies of the redis-servers, passed on unchanged";
        PrivateConnections: Gauge Count "corelay_shard_private_connections",
            "connections lent to one client each: it blocks, or watches keys";
        PrivateWaiting: Gauge Count "corelay_shard_private_waiting",
            "clients that wait for a private connection, or for their shard's next primary";
        PrivateRefused: Counter Count "corelay_shard_private_refused_total",
            "clients refused at private_connections_max and private_connections_queue";
        WaitsMoved: Counter Count "corelay_shard_waits_moved_total",
            "times that a client that blocked went on to do so on another connection";
        WatchesBroken: Counter Count "corelay_shard_watches_broken_total",
            "times that watched keys were lost sight of, with the connection or for want of time";
        Held: Gauge Count "corelay_shard_held_requests",
            "requests that wait for a verified primary";
        Holds: Counter Count "corelay_shard_holds_total",
            "times a core began to hold requests, because the primary was in doubt or paused";
        HeldMs: Counter Count "corelay_shard_hold_milliseconds_total",
            "milliseconds of all holds from their beginning to the first reply";
        HoldExpired: Counter Count "corelay_shard_hold_expired_total",
            "held requests answered with an error at hold_ms or hold_bytes";
        Repeated: Counter Count "corelay_shard_repeated_total",
            "requests sent again because their connection was lost before the reply came";
        Refused: Counter Count "corelay_shard_refused_total",
            "requests that a server refused because it was no primary (any more): held";
        UnknownOutcomes: Counter Count "corelay_shard_unknown_outcomes_total",
            "writes answered with: outcome unknown";
        Messages: Counter Count "corelay_shard_messages_total",
            "Pub/Sub messages that came from the shard";
        SubscriptionsRefused: Counter Count "corelay_shard_subscriptions_refused_total",
            "times that a redis-server refused what a client had subscribed to: tried again";
        Invalidations: Counter Count "corelay_shard_invalidations_total",
            "keys that the redis-server named as written, to a core with tracking clients";
        WritesRefused: Counter Count "corelay_shard_writes_refused_total",
            "writes refused because of quorum_required";
        ReplicaLanes: Gauge Count "corelay_shard_replica_lanes",
            "lanes to replicas that are connected";
        ReplicaReads: Counter Count "corelay_shard_replica_reads_total",
            "reads sent to replicas";
        ReplicaFallbacks: Counter Count "corelay_shard_replica_fallbacks_total",
            "reads sent to the primary because no replica could be asked";
        ReplicaRepeats: Counter Count "corelay_shard_replica_repeats_total",
            "reads that a replica did not answer, or with an error, and the primary was asked";
    }
}

metrics! {
    /// What the watcher knows of a shard whose primary the sentinels tell; of no other shard.
    WatchMetric of Shard {
        PrimaryVerified: Gauge Count "corelay_shard_primary_verified",
            "1: the primary is verified; 0: none is known, or it is in doubt";
        Writable: Gauge Count "corelay_shard_writable",
            "1: writes are sent; 0: refused for want of a majority of the sentinels, or no primary";
        ConfigEpoch: Gauge Count "corelay_shard_config_epoch",
            "the sentinels' config-epoch of the primary in force";
        SentinelsKnown: Gauge Count "corelay_shard_sentinels_known",
            "sentinels of the shard's master: configured, or known to the others";
        SentinelsAnswering: Gauge Count "corelay_shard_sentinels_answering",
            "sentinels that answer for the shard's master and are not in tilt";
        SentinelsInTilt: Gauge Count "corelay_shard_sentinels_in_tilt",
            "sentinels in tilt, which are not believed";
        Suspicions: Counter Count "corelay_shard_suspicions_total",
            "times that a core reported the primary to be in doubt";
        Verifications: Counter Count "corelay_shard_verifications_total",
            "times that a primary was verified, moved or not";
        VerificationsAlone: Counter Count "corelay_shard_verifications_by_role_alone_total",
            "times that a primary was verified without a majority of the sentinels";
        Switches: Counter Count "corelay_shard_switches_total",
            "times that the primary moved";
        SwitchDetectedAt: Timestamp Time "corelay_shard_switch_detected_at_seconds",
            "first sign of the last switch, since the Unix epoch; 0: never";
        SwitchPublishedAt: Timestamp Time "corelay_shard_switch_published_at_seconds",
            "when the last new primary was verified and published, since the Unix epoch; 0: never";
        SwitchFirstReplyAt: Timestamp Time "corelay_shard_switch_first_reply_at_seconds",
            "when the last new primary replied first, since the Unix epoch; 0: not yet";
    }
}

metrics! {
    /// What the sampler knows of the replicas of a shard whose pool reads from them; of no other.
    ReplicaMetric of Shard {
        Known: Gauge Count "corelay_shard_replicas_known",
            "replicas that the sentinels or the configuration name";
        ReadFrom: Gauge Count "corelay_shard_replicas_in_sync",
            "replicas that are read from";
        Lag: Gauge Bytes "corelay_shard_replica_lag_bytes",
            "bytes that the one of them lacks which is furthest behind";
    }
}

/// The whole table: cores', pools', shards'.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    let cores = CoreMetric::ALL.iter().map(|metric| metric.metric());
    let pools = PoolMetric::ALL.iter().map(|metric| metric.metric());
    let shards = ShardMetric::ALL.iter().map(|metric| metric.metric());
    let watched = WatchMetric::ALL.iter().map(|metric| metric.metric());
    let replicas = ReplicaMetric::ALL.iter().map(|metric| metric.metric());
    cores.chain(pools).chain(shards).chain(watched).chain(replicas)
}

/// The text of `--describe-stats`: every metric with its kind, its help, and its name in
/// twemproxy's JSON.
pub fn describe() -> String {
    let width = all().map(|metric| metric.prometheus.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (scope, title) in [
        (Scope::Core, "core stats (admin port: /metrics)"),
        (Scope::Pool, "pool stats (admin port: /metrics; named names: stats port)"),
        (Scope::Shard, "shard stats (admin port: /metrics; named names: stats port)"),
    ] {
        text.push_str(title);
        text.push_str(":\n");
        for metric in all().filter(|metric| metric.scope == scope) {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Timestamp => "time",
            };
            text.push_str(&format!("  {:width$}  {kind:7}  ", metric.prometheus));
            text.push_str(metric.help);
            if let Some(name) = metric.twemproxy {
                text.push_str(&format!(" [{name}]"));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str("latency stats (admin port: /metrics, quantiles at /stats):\n  ");
    text.push_str(super::latency::LATENCY_NAME);
    text.push_str("  histogram  ");
    text.push_str(super::latency::LATENCY_HELP);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_twice_and_every_metric_has_a_help_of_one_line() {
        let mut names = BTreeSet::new();
        for metric in all() {
            assert!(names.insert(metric.prometheus), "{} stands twice", metric.prometheus);
            assert!(!metric.help.is_empty() && !metric.help.contains('\n'), "{metric:?}");
            assert!(!metric.help.ends_with('.'), "{metric:?}");
        }
        for scope in [Scope::Pool, Scope::Shard] {
            let of_scope = all().filter(|metric| metric.scope == scope);
            let twemproxy: Vec<_> = of_scope.filter_map(|metric| metric.twemproxy).collect();
            let distinct: BTreeSet<_> = twemproxy.iter().collect();
            assert_eq!(distinct.len(), twemproxy.len());
        }
    }

    #[test]
    fn a_name_tells_scope_kind_and_unit() {
        for metric in all() {
            let prefix = match metric.scope {
                Scope::Core => "corelay_core_",
                Scope::Pool => "corelay_pool_",
                Scope::Shard => "corelay_shard_",
            };
            let name = metric.prometheus.strip_prefix(prefix).unwrap();
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            let base = name.strip_suffix("_total").unwrap_or(name);
            assert_eq!(base.ends_with("_bytes"), metric.unit == Unit::Bytes, "{name}");
            assert_eq!(base.ends_with("_seconds"), metric.unit == Unit::Time, "{name}");
            assert_eq!(metric.kind == Kind::Timestamp, metric.unit == Unit::Time, "{name}");
        }
    }

    #[test]
    fn the_description_names_every_metric() {
        let text = describe();
        for metric in all() {
            assert!(text.contains(metric.prometheus), "{}", metric.prometheus);
            assert!(text.contains(metric.help), "{}", metric.help);
        }
    }
}
