//! Consumers that block in BLPOP hear of a failover nothing but a pause: no error, no connection
//! closed, no element twice, and all that the new primary has.
//!
//! Mechanics: two shards with a replica each, three real sentinels; producers push numbers that are
//! never used again, consumers block for ever, for long or for a second at a time; once the primary
//! is killed, once Sentinel promotes the replica by hand. Why it must stay: consumers of queues do
//! not expect errors from BLPOP, and those that end are noticed late.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use support::{Ended, PATIENCE, Scene, Value, Watching, Wire, note, wait_until};

const CONSUMERS: usize = 24;
const PRODUCERS: usize = 4;

/// What one consumer has popped.
type Popped = Vec<String>;

struct Work {
    stop: Arc<AtomicBool>,
    consumers: Vec<JoinHandle<Popped>>,
    producers: Vec<JoinHandle<BTreeSet<String>>>,
    consumed: Arc<AtomicUsize>,
}

impl Work {
    fn start(scene: &Scene, queue: &str) -> Work {
        let (stop, consumed) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let consumers = (0..CONSUMERS).map(|number| {
            let (mut wire, queue) = (scene.proxy.client(), queue.to_owned());
            let (stop, consumed) = (Arc::clone(&stop), Arc::clone(&consumed));
            if number % 2 == 0 {
                wire.exchange(&["HELLO", "3"]);
            }
            let time = ["0", "60", "1"][number % 3];
            std::thread::spawn(move || consume(wire, (&queue, time), &stop, &consumed))
        });
        let consumers = consumers.collect();
        let producers = (0..PRODUCERS).map(|number| {
            let (wire, queue, stop) = (scene.proxy.client(), queue.to_owned(), Arc::clone(&stop));
            std::thread::spawn(move || produce(wire, &queue, number, &stop))
        });
        let producers = producers.collect();
        Work { stop, consumers, producers, consumed }
    }

    fn wait_for_more(&self) {
        let before = self.consumed.load(Ordering::SeqCst);
        wait_until(PATIENCE, "elements are consumed", || {
            self.consumed.load(Ordering::SeqCst) > before + 300
        });
    }

    /// Ends it: the numbers whose push was acknowledged, and what was popped.
    fn end(self, scene: &Scene, queue: &str) -> (BTreeSet<String>, Popped) {
        self.stop.store(true, Ordering::SeqCst);
        let pushed =
            self.producers.into_iter().flat_map(|producer| producer.join().expect("a producer"));
        let pushed: BTreeSet<String> = pushed.collect();
        // Each consumer that still blocks gets one more element, which ends it.
        let (mut wire, mut popped) = (scene.proxy.client(), Vec::new());
        wait_until(PATIENCE, "all consumers end", || {
            wire.exchange(&["RPUSH", queue, "end"]);
            self.consumers.iter().all(JoinHandle::is_finished)
        });
        for consumer in self.consumers {
            popped.extend(consumer.join().expect("a consumer"));
        }
        popped.retain(|value| value != "end");
        (pushed, popped)
    }
}

fn consume(
    mut wire: Wire,
    (queue, time): (&str, &str),
    stop: &AtomicBool,
    consumed: &AtomicUsize,
) -> Popped {
    let mut popped = Vec::new();
    wire.set_patience(Duration::from_secs(90));
    while !stop.load(Ordering::SeqCst) {
        match wire.exchange(&["BLPOP", queue, time]) {
            Value::Null => assert_eq!(time, "1", "nil long before its time"),
            Value::Array(items) => {
                popped.push(items[1].text());
                consumed.fetch_add(1, Ordering::SeqCst);
            }
            other => panic!("BLPOP {time}: {other:?}"),
        }
    }
    popped
}

/// Gives the elements whose push was acknowledged.
fn produce(mut wire: Wire, queue: &str, number: usize, stop: &AtomicBool) -> BTreeSet<String> {
    let mut pushed = BTreeSet::new();
    wire.set_patience(Duration::from_secs(60));
    let mut count = 0;
    wait_until(Duration::from_secs(120), "it is told to stop", || {
        count += 1;
        let element = format!("{number}:{count}");
        match wire.exchange(&["RPUSH", queue, &element]) {
            Value::Integer(_) => drop(pushed.insert(element)),
            // It was on its way: it may be there or not.
            Value::Error(text) if text.starts_with("ERR outcome unknown") => {}
            other => panic!("RPUSH: {other:?}"),
        }
        stop.load(Ordering::SeqCst)
    });
    pushed
}

/// Nothing was popped twice; gives how many that were acknowledged were popped by nobody.
fn account(pushed: &BTreeSet<String>, popped: &[String]) -> usize {
    let once: BTreeSet<&String> = popped.iter().collect();
    assert_eq!(once.len(), popped.len(), "an element was popped twice");
    pushed.iter().filter(|element| !once.contains(element)).count()
}

fn queue_of(scene: &Scene) -> String {
    format!("{}queue", scene.tags[0])
}

#[test]
fn a_killed_primary_costs_consumers_nothing_but_time() {
    let mut scene = Scene::start_with(&Watching { shards: 2, ..Watching::default() }, "");
    let queue = queue_of(&scene);
    let work = Work::start(&scene, &queue);
    work.wait_for_more();
    scene.alert(0);
    scene.watched.shards[0].nodes[0].kill_hard();
    scene.wait_moved(0, 1);
    work.wait_for_more();
    assert!(scene.proxy.metric_sum("corelay_shard_waits_moved_total") > 0.0);
    let (pushed, popped) = work.end(&scene, &queue);
    let lost = account(&pushed, &popped);
    note(&format!(
        "{} pushed, {} popped, {lost} lost with the primary",
        pushed.len(),
        popped.len()
    ));
    // What was acknowledged in the moment of the kill, and not replicated or not heard.
    assert!(lost <= CONSUMERS + PRODUCERS, "{lost} of {} are lost", pushed.len());
    let left = scene.watched.shards[0].ask(1, &["LRANGE", &queue, "0", "-1"]);
    assert!(left.items().iter().all(|left| left.text() == "end"), "all is consumed: {left:?}");
}

#[test]
fn a_failover_by_hand_costs_consumers_nothing_but_time() {
    let scene = Scene::start_with(&Watching { shards: 2, ..Watching::default() }, "");
    let queue = queue_of(&scene);
    let work = Work::start(&scene, &queue);
    work.wait_for_more();
    scene.watched.fail_over(0, 0);
    scene.wait_moved(0, 1);
    work.wait_for_more();
    let (pushed, popped) = work.end(&scene, &queue);
    let lost = account(&pushed, &popped);
    note(&format!("{} pushed, {} popped, {lost} lost", pushed.len(), popped.len()));
    assert!(lost <= CONSUMERS, "{lost} of {} are lost", pushed.len());
}

/// `corelay switchover`: who blocks does not keep the shard from becoming quiet.
#[test]
fn a_planned_switchover_loses_nothing_and_doubles_nothing() {
    let scene = Scene::start_with(&Watching { shards: 2, ..Watching::default() }, "");
    let queue = queue_of(&scene);
    let work = Work::start(&scene, &queue);
    work.wait_for_more();
    let admin = scene.proxy.admin_address().to_string();
    let mut switchover = Command::new(support::proxy::binary());
    let output = switchover.args(["switchover", "shard1", "--admin", &admin]).output();
    let output = output.expect("corelay switchover");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    scene.watched.wait_primary(0, 1);
    work.wait_for_more();
    let (pushed, popped) = work.end(&scene, &queue);
    assert_eq!(account(&pushed, &popped), 0, "of {} are lost; {said}", pushed.len());
}

#[test]
fn consumers_of_other_shards_notice_nothing() {
    let mut scene = Scene::start_with(&Watching { shards: 2, ..Watching::default() }, "");
    let (mut consumer, mut producer) = (scene.proxy.client(), scene.proxy.client());
    let other = format!("{}queue", scene.tags[1]);
    consumer.request(&["BLPOP", &other, "0"]);
    scene.watched.shards[0].nodes[0].kill_hard();
    consumer.expect_silence(Duration::from_millis(500));
    assert_eq!(producer.exchange(&["RPUSH", &other, "x"]), Value::Integer(1));
    assert_eq!(consumer.next().map(|reply| reply.items()[1].text()), Ok::<_, Ended>("x".into()));
    assert_eq!(scene.proxy.metric_sum("corelay_shard_waits_moved_total"), 0.0);
}
