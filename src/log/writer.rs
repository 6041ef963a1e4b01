//! The log's thread: takes lines from the channel and writes them, as many at once as there are.
//!
//! It may block for as long as its output does; nobody waits for it but `flush`, and that has a
//! deadline. What can not be written is counted as dropped and tried no second time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crossbeam::channel::{Receiver, Sender};

use super::{Field, Figures, line};
use crate::config::model::LogLevel;

/// Bytes gathered for one write.
const BATCH_BYTES: usize = 64 * 1024;
/// How often it is looked whether messages were suppressed.
const REPORT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Order {
    Reopen,
    /// Answered when everything logged before is written.
    Flush(Sender<()>),
}

/// Where lines go.
pub(super) struct Output {
    to: Box<dyn Write + Send>,
    /// What is opened again by `Order::Reopen`.
    file: Option<PathBuf>,
}

impl Output {
    pub(super) fn open(file: Option<&Path>) -> io::Result<Output> {
        let to: File = match file {
            Some(path) => open(path)?,
            // A descriptor of its own: the standard library's handle is locked while it writes, and
            // a panic elsewhere would have to wait for it.
            None => File::from(io::stderr().as_fd().try_clone_to_owned()?),
        };
        Ok(Output { to: Box::new(to), file: file.map(Path::to_owned) })
    }

    #[cfg(test)]
    pub(super) fn to(to: Box<dyn Write + Send>) -> Output {
        Output { to, file: None }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| {
        let text = format!("log_file {}: {error}; check the path and its rights", path.display());
        io::Error::new(error.kind(), text)
    })
}

pub(super) struct Writer {
    output: Output,
    lines: Receiver<String>,
    orders: Receiver<Order>,
    figures: Arc<Figures>,
    batch: String,
    batch_lines: u64,
    /// Of `figures.dropped`, what has been reported.
    reported: u64,
    /// The last write failed and may have left half a line.
    torn: bool,
}

impl Writer {
    pub(super) fn new(
        output: Output,
        lines: Receiver<String>,
        orders: Receiver<Order>,
        figures: Arc<Figures>,
    ) -> Writer {
        Writer {
            output,
            lines,
            orders,
            figures,
            batch: String::new(),
            batch_lines: 0,
            reported: 0,
            torn: false,
        }
    }

    /// Until the last handle on the log is gone.
    pub(super) fn run(mut self) {
        loop {
            crossbeam::channel::select! {
                recv(self.lines) -> line => match line {
                    Ok(line) => self.gather(&line),
                    Err(_) => return,
                },
                recv(self.orders) -> order => match order {
                    Ok(order) => self.obey(order),
                    Err(_) => { self.write_all_waiting(); return }
                },
                default(REPORT_EVERY) => {}
            }
            self.write_all_waiting();
            self.report_suppressed();
        }
    }

    fn obey(&mut self, order: Order) {
        self.write_all_waiting();
        match order {
            Order::Flush(done) => {
                // Nobody waits any more: no matter.
                let _ = done.try_send(());
            }
            Order::Reopen => self.reopen(),
        }
    }

    fn reopen(&mut self) {
        let Some(path) = self.output.file.clone() else { return };
        match open(&path) {
            Ok(file) => {
                self.output.to = Box::new(file);
                self.torn = false;
            }
            Err(error) => self.gather_own("log file not reopened", &[("error", &error)]),
        }
        self.write_batch();
    }

    /// Writes what is in the channel now, a batch at a time: no more than it holds, so that a
    /// flood does not keep an order waiting.
    fn write_all_waiting(&mut self) {
        for _ in 0..self.lines.capacity().unwrap_or(1) {
            let Ok(line) = self.lines.try_recv() else { break };
            self.gather(&line);
            if self.batch.len() >= BATCH_BYTES {
                self.write_batch();
            }
        }
        self.write_batch();
    }

    fn gather(&mut self, line: &str) {
        self.batch.push_str(line);
        self.batch_lines += 1;
    }

    /// A line of the log's own.
    fn gather_own(&mut self, message: &str, fields: &[Field<'_>]) {
        self.gather(&line::format(SystemTime::now(), LogLevel::Warn, message, fields));
    }

    fn write_batch(&mut self) {
        let dropped = self.figures.dropped.load(Ordering::Relaxed);
        let lost = dropped - self.reported;
        if self.batch.is_empty() && lost == 0 {
            return;
        }
        let lines = self.batch_lines;
        if lost > 0 {
            self.gather_own("log lines dropped", &[("count", &lost)]);
        }
        if self.torn {
            self.batch.insert(0, '\n');
        }
        let written = self.output.to.write_all(self.batch.as_bytes());
        self.torn = written.is_err();
        match written {
            Ok(()) => self.reported = dropped,
            Err(_) => {
                self.figures.dropped.fetch_add(lines, Ordering::Relaxed);
            }
        }
        self.batch.clear();
        self.batch_lines = 0;
    }

    fn report_suppressed(&mut self) {
        let second = line::unix_second(SystemTime::now());
        while let Some((message, count)) = self.figures.limiter.take_suppressed(second) {
            let fields: [Field<'_>; 2] = [("count", &count), ("message", &message)];
            self.gather_own("log lines suppressed", &fields);
        }
        self.write_batch();
    }
}
