//! Job queues of other projects run through the proxy over three shards: celery (BRPOP over several
//! lists, transactions, Pub/Sub) and bullmq (scripts, BZPOPMIN, streams). Each job runs once, and who
//! gave it hears what it said.
//!
//! Mechanics: the scripts in `tests/clients/` give some hundred jobs to a worker of their own; the
//! queue's keys share a hash tag. Why it must stay: a queue uses what is hardest for a proxy, all at
//! once, and a job that is lost or runs twice is what its users would meet first.

mod support;

use support::{Options, Stack, run_client};

fn runs_its_jobs(script: &str) {
    let stack = Stack::start(3, &Options { cores: "2", ..Options::default() });
    run_client(script, &["--port", &stack.proxy.address().port().to_string()]);
}

#[test]
fn of_celery() {
    runs_its_jobs("celery_jobs.py");
}

#[test]
fn of_bullmq() {
    runs_its_jobs("bullmq_jobs.mjs");
}
