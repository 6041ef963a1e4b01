//! The log: structured lines, written by a thread of its own.
//!
//! Whoever logs must never wait for the log: [`Logger::event`] makes a line and puts it into a
//! bounded channel; if that is full (a full disk, a pipe that nobody reads), the line is counted
//! and lost, and the count is reported as soon as something can be written again. Too many lines of
//! one message are not even made. Every room may log; the relay does not, it hands out reports.
#![forbid(unsafe_code)]

mod limiter;
mod line;
mod writer;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use crate::config::model::LogLevel;
use limiter::Limiter;
pub use line::Bytes;
use writer::{Order, Output, Writer};

/// Lines that wait to be written; at about 150 bytes each, 600 KiB.
const LINES_MAX: usize = 4096;
/// Orders (reopen, flush) that wait to be carried out.
const ORDERS_MAX: usize = 16;

/// A key and its value as they go behind the message.
pub type Field<'a> = (&'static str, &'a dyn fmt::Display);

/// A handle on the log; cheap to clone, one for every thread that wants it.
#[derive(Clone, Debug)]
pub struct Logger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `LogLevel` as a number.
    level: AtomicU8,
    lines: Sender<String>,
    orders: Sender<Order>,
    figures: Arc<Figures>,
}

/// What the log knows of itself.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    limiter: Limiter,
    /// Lines lost because the channel was full or the output failed.
    dropped: AtomicU64,
}

/// Starts the log: to `file` (appended to), or to standard error. Fails if the file can not be
/// opened or the thread can not be started.
pub fn init(level: LogLevel, file: Option<&Path>) -> io::Result<Logger> {
    start(level, Output::open(file)?, LINES_MAX)
}

fn start(level: LogLevel, output: Output, lines_max: usize) -> io::Result<Logger> {
    let (logger, lines, orders) = new(level, lines_max);
    let writer = Writer::new(output, lines, orders, logger.shared.figures.clone());
    std::thread::Builder::new().name("corelay-log".to_owned()).spawn(move || writer.run())?;
    Ok(logger)
}

fn new(level: LogLevel, lines_max: usize) -> (Logger, Receiver<String>, Receiver<Order>) {
    let (line_sender, lines) = bounded(lines_max);
    let (order_sender, orders) = bounded(ORDERS_MAX);
    let shared = Shared {
        level: AtomicU8::new(level as u8),
        lines: line_sender,
        orders: order_sender,
        figures: Arc::default(),
    };
    (Logger { shared: Arc::new(shared) }, lines, orders)
}

impl Logger {
    /// A log that goes nowhere, without a thread: for what is run in process by tests, simulation
    /// and benchmarks.
    pub fn discard() -> Logger {
        new(LogLevel::Error, 1).0
    }

    /// Writes `2026-11-22T15:04:05.123Z info lane up pool=cache shard=shard1`. Lower-case, no full
    /// stop; values are escaped ([`Bytes`] for what may not be text). Returns at once: the line is
    /// dropped and counted if the log can not keep up, suppressed and counted if this message came
    /// too often this second.
    pub fn event(&self, level: LogLevel, message: &'static str, fields: &[Field<'_>]) {
        if !self.enabled(level) {
            return;
        }
        let now = SystemTime::now();
        if !self.shared.figures.limiter.admit(message, line::unix_second(now)) {
            return;
        }
        let line = line::format(now, level, message, fields);
        if let Err(TrySendError::Full(_)) = self.shared.lines.try_send(line) {
            self.shared.figures.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn error(&self, message: &'static str, fields: &[Field<'_>]) {
        self.event(LogLevel::Error, message, fields);
    }

    pub fn warn(&self, message: &'static str, fields: &[Field<'_>]) {
        self.event(LogLevel::Warn, message, fields);
    }

    pub fn info(&self, message: &'static str, fields: &[Field<'_>]) {
        self.event(LogLevel::Info, message, fields);
    }

    pub fn debug(&self, message: &'static str, fields: &[Field<'_>]) {
        self.event(LogLevel::Debug, message, fields);
    }

    /// Lines of this level are written: to be asked before a value is made at some expense.
    pub fn enabled(&self, level: LogLevel) -> bool {
        level as u8 <= self.shared.level.load(Ordering::Relaxed)
    }

    pub fn level(&self) -> LogLevel {
        let level = self.shared.level.load(Ordering::Relaxed);
        let known = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];
        known.into_iter().find(|known| *known as u8 == level).unwrap_or(LogLevel::Info)
    }

    pub fn set_level(&self, level: LogLevel) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
    }

    /// One level more, if there is one (SIGTTIN); gives the level in force.
    pub fn raise_level(&self) -> LogLevel {
        self.set_level(match self.level() {
            LogLevel::Error => LogLevel::Warn,
            LogLevel::Warn => LogLevel::Info,
            LogLevel::Info | LogLevel::Debug => LogLevel::Debug,
        });
        self.level()
    }

    /// One level less, if there is one (SIGTTOU); gives the level in force.
    pub fn lower_level(&self) -> LogLevel {
        self.set_level(match self.level() {
            LogLevel::Debug => LogLevel::Info,
            LogLevel::Info => LogLevel::Warn,
            LogLevel::Warn | LogLevel::Error => LogLevel::Error,
        });
        self.level()
    }

    /// Opens the file anew (after it was moved away; SIGHUP); what was logged before still goes to
    /// the old one. Standard error stays what it is. If the file can not be opened, the old one
    /// stays and says why.
    pub fn reopen(&self) {
        // A full channel: that many orders are waiting already, this one's effect among them.
        let _ = self.shared.orders.try_send(Order::Reopen);
    }

    /// Waits until what was logged so far is written, `wait` at the longest; `false`: it is not.
    pub fn flush(&self, wait: Duration) -> bool {
        let (done, is_done) = bounded(1);
        self.shared.orders.try_send(Order::Flush(done)).is_ok()
            && is_done.recv_timeout(wait).is_ok()
    }

    /// Lines lost because the log could not keep up or could not be written.
    pub fn lines_dropped(&self) -> u64 {
        self.shared.figures.dropped.load(Ordering::Relaxed)
    }

    /// Lines not written because their message came too often.
    pub fn lines_suppressed(&self) -> u64 {
        self.shared.figures.limiter.suppressed()
    }
}

#[cfg(test)]
mod tests;
