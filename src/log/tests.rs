use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;

const SOON: Duration = Duration::from_secs(10);

/// Distinct messages, so that no rate limit gets in the way.
fn messages(count: usize) -> Vec<&'static str> {
    (0..count).map(|n| &*format!("message {n}").leak()).collect()
}

#[expect(clippy::disallowed_methods, reason = "tests measure")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn lines_reach_the_file_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::fs::write(&path, "before\n").unwrap();
    let log = init(LogLevel::Info, Some(&path)).unwrap();
    log.info("one", &[("n", &1)]);
    log.debug("not shown", &[]);
    log.error("two", &[]);
    assert!(log.flush(SOON));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0], "before");
    assert!(lines[1].ends_with("Z info one n=1"), "{text}");
    assert!(lines[2].ends_with("Z error two"), "{text}");
}

#[test]
fn a_file_that_can_not_be_opened_is_said_at_once() {
    let error = init(LogLevel::Info, Some(Path::new("/nowhere/at/all/log"))).unwrap_err();
    assert!(error.to_string().starts_with("log_file /nowhere/at/all/log: "), "{error}");
}

#[test]
fn the_file_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
    let log = init(LogLevel::Info, Some(&path)).unwrap();
    log.info("old", &[]);
    assert!(log.flush(SOON));
    std::fs::rename(&path, &moved).unwrap();
    log.info("still old", &[]);
    log.reopen();
    assert!(log.flush(SOON));
    log.info("new", &[]);
    assert!(log.flush(SOON));
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);

    std::fs::rename(&path, dir.path().join("log.2")).unwrap();
    std::fs::create_dir(&path).unwrap();
    log.reopen();
    assert!(log.flush(SOON));
    let text = std::fs::read_to_string(dir.path().join("log.2")).unwrap();
    assert!(text.lines().last().unwrap().contains("warn log file not reopened error="), "{text}");
}

#[test]
fn the_level_moves_while_running() {
    let log = Logger::discard();
    log.set_level(LogLevel::Info);
    assert!(log.enabled(LogLevel::Info) && !log.enabled(LogLevel::Debug));
    assert_eq!(log.raise_level(), LogLevel::Debug);
    assert_eq!(log.raise_level(), LogLevel::Debug);
    for expected in [LogLevel::Info, LogLevel::Warn, LogLevel::Error, LogLevel::Error] {
        assert_eq!(log.lower_level(), expected);
    }
    assert_eq!(log.level(), LogLevel::Error);
}

#[test]
fn nobody_waits_for_a_pipe_that_nobody_reads() {
    let (reader, writer) = io::pipe().unwrap();
    let log = start(LogLevel::Info, Output::to(Box::new(writer)), 64).unwrap();
    let long = "x".repeat(500);
    let started = now();
    let mut slowest = Duration::ZERO;
    // 2000 lines of more than 500 bytes: neither the pipe nor the channel holds them.
    for message in messages(200).iter().cycle().take(2000) {
        let before = now();
        log.info(message, &[("value", &long)]);
        slowest = slowest.max(before.elapsed());
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let dropped = log.lines_dropped();
    assert!(dropped > 0);
    assert!(!log.flush(Duration::from_millis(50)), "flush has a deadline");

    // Somebody reads again: the loss is reported.
    read_until(reader, |text| text.contains("log lines dropped count="));
}

/// An output that fails for as long as it is told to.
struct Disk {
    full: Arc<AtomicBool>,
    to: io::PipeWriter,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.full.load(Ordering::SeqCst) {
            // Half of it still fits.
            return if bytes.len() > 20 { self.to.write(&bytes[..20]) } else { Err(full()) };
        }
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

#[test]
fn a_full_disk_costs_lines_and_says_how_many() {
    let (mut reader, writer) = io::pipe().unwrap();
    let is_full = Arc::new(AtomicBool::new(true));
    let disk = Disk { full: is_full.clone(), to: writer };
    let log = start(LogLevel::Info, Output::to(Box::new(disk)), 64).unwrap();
    for message in messages(3) {
        log.info(message, &[]);
        assert!(log.flush(SOON));
    }
    assert_eq!(log.lines_dropped(), 3);
    is_full.store(false, Ordering::SeqCst);
    log.info("again", &[]);
    assert!(log.flush(SOON));
    log.info("and again", &[]);
    drop(log);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    // The loss is told once, on the log thread's next round: before or behind the first line.
    let at = |end: &str| {
        let found: Vec<_> = text.lines().enumerate().filter(|(_, l)| l.ends_with(end)).collect();
        assert_eq!(found.len(), 1, "{end}: {text}");
        found[0].0
    };
    let told = at("Z warn log lines dropped count=3");
    assert!(at("Z info again") < at("Z info and again"), "{text}");
    assert!(told < at("Z info and again"), "{text}");
}

#[test]
fn a_flood_of_one_message_is_cut_and_counted() {
    let (reader, writer) = io::pipe().unwrap();
    let log = start(LogLevel::Info, Output::to(Box::new(writer)), 64).unwrap();
    for n in 0..1000 {
        log.warn("client closed", &[("n", &n)]);
    }
    let suppressed = log.lines_suppressed();
    assert!(suppressed >= 1000 - 5 * limiter::LINES_PER_SECOND, "{suppressed}");
    read_until(reader, |text| {
        let counts = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once("warn log lines suppressed count=")?;
            rest.strip_suffix(" message=\"client closed\"")?.parse::<u64>().ok()
        });
        counts.sum::<u64>() == suppressed
    });
}

/// Reads until what has come so far is as it should be, or fails in good time.
fn read_until(mut reader: io::PipeReader, is_there: impl Fn(&str) -> bool) {
    let (sender, chunks) = bounded(1);
    std::thread::spawn(move || {
        let mut chunk = [0; 65536];
        while let Ok(count @ 1..) = reader.read(&mut chunk) {
            if sender.send(chunk[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut text = String::new();
    while !is_there(&text) {
        let chunk = chunks.recv_timeout(SOON).unwrap_or_else(|_| panic!("not in {text}"));
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}
