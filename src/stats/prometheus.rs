//! All figures as Prometheus reads them: the OpenMetrics text format.
//!
//! Pool and shard metrics are summed over cores, whose own figures would multiply the series by
//! the number of cores and tell nothing; core metrics, and the clients of each core, are shown per
//! core, for there the point is how evenly they are spread.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit as NamedUnit};

use crate::base::ids::{PoolId, ShardId};
use crate::base::time::US_PER_S;
use crate::config::model::Config;
use crate::stats::cells::{
    Cell, CoreMetric, CoreStats, Metric, PoolMetric, ShardMetric, pool_total, shard_total,
};
use crate::stats::latency::{BUCKETS_US, LATENCY_HELP, LATENCY_NAME, LatencyFigures};
use crate::stats::table::{Kind, Unit};
use crate::stats::watch::{ReplicaMetric, WatchMetric, WatchStats};

/// The content type of [`Exposition::into_text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is exposed at one moment. `config` is the one that the cells were made for.
#[derive(Debug)]
pub struct Exposition {
    pub config: Arc<Config>,
    pub cores: Vec<Arc<CoreStats>>,
    pub watch: Arc<WatchStats>,
    pub latency: Vec<LatencyFigures>,
    pub process: ProcessFigures,
}

/// What is known of the process; a figure that could not be read is not shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    pub uptime_s: f64,
    pub start_unix_s: f64,
    pub cpu_s: Option<f64>,
    pub resident_bytes: Option<u64>,
    pub descriptors: Option<u64>,
    pub descriptors_max: Option<u64>,
    pub threads: Option<u64>,
    pub log_lines_dropped: u64,
    pub log_lines_suppressed: u64,
    pub reloads: ReloadFigures,
}

/// What became of the reloads of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReloadFigures {
    pub taken: u64,
    pub refused: u64,
    /// The last one was taken; `true` also if there was none.
    pub last_is_taken: bool,
    /// When it was; `None`: never.
    pub last_unix_s: Option<f64>,
}

impl Exposition {
    /// The text, its end mark included. Fails only if the encoder does.
    pub fn into_text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }

    fn encode_cores(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for metric in CoreMetric::ALL {
            with_metric(encoder, metric.metric(), |samples| {
                for (number, core) in self.cores.iter().enumerate() {
                    let labels = [("core", number.to_string())];
                    samples.put(&labels, core.core(*metric).get())?;
                }
                Ok(())
            })?;
        }
        let clients = PoolMetric::ClientConnections;
        let help = "clients that are connected, by the core that serves them";
        let mut family =
            encoder.encode_descriptor("corelay_core_clients", help, None, MetricType::Gauge)?;
        for (number, core) in self.cores.iter().enumerate() {
            for (index, pool) in self.config.pools.iter().enumerate() {
                let labels = [("core", number.to_string()), ("pool", pool.name.clone())];
                let count = core.pool(PoolId(index as u16), clients).get().cast_signed();
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_pools(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for metric in PoolMetric::ALL {
            with_metric(encoder, metric.metric(), |samples| {
                for (index, pool) in self.config.pools.iter().enumerate() {
                    let value = pool_total(&self.cores, PoolId(index as u16), *metric);
                    samples.put(&[("pool", pool.name.as_str())], value)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn encode_shards(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for metric in ShardMetric::ALL {
            with_metric(encoder, metric.metric(), |samples| {
                for (index, pool) in self.config.pools.iter().enumerate() {
                    for (number, shard) in pool.shards.iter().enumerate() {
                        let ids = (PoolId(index as u16), ShardId(number as u16));
                        let value = shard_total(&self.cores, ids.0, ids.1, *metric);
                        let labels = [("pool", pool.name.as_str()), ("shard", &shard.name)];
                        samples.put(&labels, value)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Of watched pools, and those that read from replicas.
    fn encode_watched(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let pools = &self.config.pools;
        if pools.iter().any(|pool| pool.sentinel.is_some()) {
            for metric in WatchMetric::ALL {
                let cell = |pool, shard| self.watch.cell(pool, shard, *metric);
                self.encode_rows(encoder, metric.metric(), cell)?;
            }
        }
        if pools.iter().any(|pool| pool.reads_replicas()) {
            for metric in ReplicaMetric::ALL {
                let cell = |pool, shard| self.watch.of_replicas(pool, shard, *metric);
                self.encode_rows(encoder, metric.metric(), cell)?;
            }
        }
        Ok(())
    }

    /// One metric of those shards that have a cell for it.
    fn encode_rows<'a>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        metric: &Metric,
        cell: impl Fn(PoolId, ShardId) -> Option<&'a Cell>,
    ) -> fmt::Result {
        with_metric(encoder, metric, |samples| {
            for (index, pool) in self.config.pools.iter().enumerate() {
                for (number, shard) in pool.shards.iter().enumerate() {
                    let (pool_id, id) = (PoolId(index as u16), ShardId(number as u16));
                    let Some(cell) = cell(pool_id, id) else { continue };
                    let labels = [("pool", pool.name.as_str()), ("shard", &shard.name)];
                    samples.put(&labels, cell.get())?;
                }
            }
            Ok(())
        })
    }

    fn encode_latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let seconds = NamedUnit::Seconds;
        let name = LATENCY_NAME.trim_end_matches("_seconds");
        let mut family =
            encoder.encode_descriptor(name, LATENCY_HELP, Some(&seconds), MetricType::Histogram)?;
        for figures in &self.latency {
            let Some(pool) = self.config.pools.get(figures.pool.index()) else { continue };
            let labels = [("pool", pool.name.as_str()), ("family", figures.family.name())];
            let bounds = BUCKETS_US.iter().map(|bound| seconds_of(*bound));
            let bounds = bounds.chain(std::iter::once(f64::INFINITY));
            let buckets: Vec<(f64, u64)> = bounds.zip(figures.buckets).collect();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                seconds_of(figures.sum_us),
                figures.count,
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn encode_reloads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let figures = &self.process.reloads;
        let help = "reloads of the configuration, by what became of them";
        let mut family =
            encoder.encode_descriptor("corelay_reloads", help, None, MetricType::Counter)?;
        for (result, count) in [("taken", figures.taken), ("refused", figures.refused)] {
            let labels = [("result", result)];
            ConstCounter::new(count as f64).encode(family.encode_family(&labels)?)?;
        }
        let help =
            "1: the last reload of the configuration was taken, or there was none; 0: refused";
        let gauge =
            encoder.encode_descriptor("corelay_last_reload_ok", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::from(figures.last_is_taken)).encode(gauge)?;
        let Some(last_unix_s) = figures.last_unix_s else { return Ok(()) };
        let (name, help) =
            ("corelay_last_reload_time_seconds", "when that was, since the Unix epoch");
        let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(last_unix_s).encode(gauge)
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let figures = &self.process;
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .encode_descriptor("corelay_build", "what was built", None, MetricType::Info)?
            .encode_info(&build)?;
        let mut gauge = |name: &str, help: &str, value: Option<f64>| match value {
            Some(value) => {
                let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(gauge)
            }
            None => Ok(()),
        };
        let count = |value: Option<u64>| value.map(|value| value as f64);
        gauge("corelay_uptime_seconds", "since the process started", Some(figures.uptime_s))?;
        gauge(
            "process_start_time_seconds",
            "when the process started, since the Unix epoch",
            Some(figures.start_unix_s),
        )?;
        gauge(
            "process_resident_memory_bytes",
            "memory of the process in RAM",
            count(figures.resident_bytes),
        )?;
        gauge("process_open_fds", "open descriptors", count(figures.descriptors))?;
        gauge(
            "process_max_fds",
            "descriptors allowed (ulimit -n)",
            count(figures.descriptors_max),
        )?;
        gauge("process_threads", "threads of the process", count(figures.threads))?;
        let mut counter = |name: &str, help: &str, value: f64| {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(counter)
        };
        if let Some(cpu_s) = figures.cpu_s {
            counter("process_cpu_seconds", "CPU time of all threads, user and system", cpu_s)?;
        }
        counter(
            "corelay_log_lines_dropped",
            "log lines lost because the log could not be written fast enough, or at all",
            figures.log_lines_dropped as f64,
        )?;
        counter(
            "corelay_log_lines_suppressed",
            "log lines not written because the same message came too often",
            figures.log_lines_suppressed as f64,
        )?;
        self.encode_reloads(encoder)
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_process(&mut encoder)?;
        self.encode_cores(&mut encoder)?;
        self.encode_pools(&mut encoder)?;
        self.encode_shards(&mut encoder)?;
        self.encode_watched(&mut encoder)?;
        self.encode_latency(&mut encoder)
    }
}

fn seconds_of(micros: u64) -> f64 {
    micros as f64 / US_PER_S as f64
}

/// The samples of one metric.
struct Samples<'a> {
    encoder: MetricEncoder<'a>,
    kind: Kind,
}

impl Samples<'_> {
    fn put<L: prometheus_client::encoding::EncodeLabelSet>(
        &mut self,
        labels: &L,
        value: u64,
    ) -> fmt::Result {
        let sample = self.encoder.encode_family(labels)?;
        match self.kind {
            Kind::Counter => ConstCounter::new(value).encode(sample),
            Kind::Gauge => ConstGauge::new(value.cast_signed()).encode(sample),
            Kind::Timestamp => ConstGauge::new(seconds_of(value)).encode(sample),
        }
    }
}

/// Writes the metric's head and lets `put` write its samples. The encoder puts `_total` and the
/// unit behind the name itself.
fn with_metric(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric,
    put: impl FnOnce(&mut Samples<'_>) -> fmt::Result,
) -> fmt::Result {
    let (unit, suffix) = match metric.unit {
        Unit::Count => (None, ""),
        Unit::Bytes => (Some(NamedUnit::Bytes), "_bytes"),
        Unit::Time => (Some(NamedUnit::Seconds), "_seconds"),
    };
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::Timestamp => MetricType::Gauge,
    };
    let name = metric.prometheus;
    let name = name.strip_suffix("_total").unwrap_or(name);
    let name = name.strip_suffix(suffix).unwrap_or(name);
    let encoder = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
    put(&mut Samples { encoder, kind: metric.kind })
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
