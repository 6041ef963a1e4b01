//! What the kernel says of this process.

use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process};

use crate::stats::prometheus::ProcessFigures;

/// From /proc; what can not be read stays unknown.
pub(super) fn figures() -> ProcessFigures {
    let mut figures = ProcessFigures::default();
    let Ok(process) = Process::myself() else { return figures };
    if let Ok(stat) = process.stat() {
        let ticks = stat.utime + stat.stime;
        figures.cpu_s = Some(ticks as f64 / procfs::ticks_per_second() as f64);
        figures.resident_bytes = Some(stat.rss_bytes().get());
        figures.threads = u64::try_from(stat.num_threads).ok();
    }
    figures.descriptors = process.fd_count().ok().map(|count| count as u64);
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(max) = limits.max_open_files.soft_limit
    {
        figures.descriptors_max = Some(max);
    }
    figures
}

/// Name of this host; "unknown" if the kernel does not say.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "unknown".to_owned(), |name| name.trim_end().to_owned())
}
