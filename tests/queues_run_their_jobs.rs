//! Job queues of other projects run through the proxy over three shards: celery (BRPOP over several
//! lists, transactions, Pub/Sub) and bullmq (scripts, BZPOPMIN, streams). Each job runs once, and who
//! gave it hears what it said.
//!
//! Mechanics: the scripts in `tests/clients/` give some hundred jobs to a worker of their own; the
//! queue's keys share a hash tag. Why it must stay: a queue uses what is hardest for a proxy, all at
//! once, and a job that is lost or runs twice is what its users would meet first.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Options, Stack, note, output_of};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn runs_its_jobs(program: &Path, script: &str) {
    let installed = here("tests/clients/node_modules/bullmq").exists();
    let python = here(".venv/bin/celery").exists();
    assert!(installed && python, "the client libraries are not there; run `make clients`");
    let stack = Stack::start(3, &Options { cores: "2", ..Options::default() });
    let port = stack.proxy.address().port().to_string();
    let mut command = Command::new(program);
    command.arg(here(script)).args(["--port", &port]);
    let output = output_of(&mut command);
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    note(&said);
}

#[test]
fn of_celery() {
    runs_its_jobs(&here(".venv/bin/python"), "tests/clients/celery_jobs.py");
}

#[test]
fn of_bullmq() {
    runs_its_jobs(Path::new("node"), "tests/clients/bullmq_jobs.mjs");
}
