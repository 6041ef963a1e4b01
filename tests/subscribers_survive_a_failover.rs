//! Who is subscribed hears of a failover nothing but the messages that come after it: no connection
//! is closed, nothing is heard twice or out of order, nothing of the old primary, and other shards'
//! messages go on.
//!
//! Mechanics: one publisher numbers messages in a channel of each shard while the primary of one is
//! killed, or moved by hand; listeners of both protocol versions hear channels, shard channels and a
//! pattern. From the first message that somebody receives after the switch, everybody has to hear
//! all. Why it must stay: a client that is not told that its connection was lost relies on it.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::{PATIENCE, Scene, Value, Wire, note, wait_until};

/// A listener, and the last number that it heard in each of its topics.
struct Listener {
    wire: Wire,
    last: BTreeMap<(String, String), i64>,
    heard: u64,
}

impl Listener {
    fn start(scene: &Scene, protocol: &str, requests: &[Vec<String>]) -> Listener {
        let mut wire = scene.proxy.client();
        wire.exchange(&["HELLO", protocol]);
        for request in requests {
            wire.request(request);
            for _ in &request[1..] {
                let reply = wire.read_reply();
                assert!(!reply.is_error(), "{request:?}: {reply:?}");
            }
        }
        Listener { wire, last: BTreeMap::new(), heard: 0 }
    }

    /// Reads until it has heard `number` in each of so many topics.
    fn read_up_to(&mut self, number: i64, topics: usize) {
        let done = |last: &BTreeMap<_, i64>| {
            last.values().filter(|heard| **heard >= number).count() == topics
        };
        while !done(&self.last) {
            let message = self.wire.read_reply();
            let words: Vec<String> = message.items().iter().map(Value::text).collect();
            let is_message = words.len() > 2 && words[0].ends_with("message");
            assert!(is_message, "a message, not {message:?}");
            let (kind, channel) = (&words[0], &words[words.len() - 2]);
            let number = words[words.len() - 1].parse::<i64>().unwrap_or(-2); // before all others
            let last = self.last.entry((kind.clone(), channel.clone())).or_insert(-1);
            assert!(*last < number, "{number} after {last} in {kind} of {channel}");
            *last = number;
            self.heard += 1;
        }
    }
}

/// Publishes the next number everywhere; gives how many connections of the proxy were reached.
fn publish(publisher: &mut Wire, channels: &[String], number: i64) -> Vec<Option<i64>> {
    let mut reached = Vec::new();
    for channel in channels {
        for command in ["PUBLISH", "SPUBLISH"] {
            let reply = publisher.exchange(&[command, channel, &number.to_string()]);
            if reply.is_error() {
                assert!(reply.error().starts_with("ERR outcome unknown"), "{reply:?}");
                reached.push(None);
            } else {
                reached.push(Some(reply.integer()));
            }
        }
    }
    reached
}

fn words(request: &str, names: &[String]) -> Vec<String> {
    std::iter::once(request.to_owned()).chain(names.iter().cloned()).collect()
}

/// The failover that `switch` begins moves shard 0 to its node 1. Each of `cores` has a connection
/// that listens to the channel and to the pattern, and to the shard channel.
fn listen_through(scene: &mut Scene, cores: i64, switch: impl FnOnce(&mut Scene)) {
    let all_hear = [2, 1, 2, 1].map(|topics| Some(topics * cores));
    let channels: Vec<String> = scene.tags.iter().map(|tag| format!("{tag}news")).collect();
    let (subscribe, sharded) = (words("SUBSCRIBE", &channels), words("SSUBSCRIBE", &channels));
    let pattern = words("PSUBSCRIBE", &["*news".to_owned()]);
    let mut listeners: Vec<(Listener, usize)> = Vec::new();
    for protocol in ["2", "3"] {
        for _ in 0..10 {
            let requests = [subscribe.clone(), sharded.clone()];
            listeners.push((Listener::start(scene, protocol, &requests), 4));
            listeners.push((Listener::start(scene, protocol, std::slice::from_ref(&pattern)), 2));
        }
    }
    let mut publisher = scene.proxy.client();
    publisher.set_patience(PATIENCE * 2);
    let mut number = 0;
    for _ in 0..50 {
        assert_eq!(publish(&mut publisher, &channels, number), all_hear);
        number += 1;
    }
    for (listener, topics) in &mut listeners {
        listener.read_up_to(number - 1, *topics);
        assert_eq!(listener.heard, 50 * *topics as u64, "each once");
    }
    switch(scene);
    let mut first = number;
    wait_until(PATIENCE * 4, "all is subscribed at the new primary", || {
        let moved = scene.watched.primary(0) == Some(1);
        first = number;
        number += 1;
        publish(&mut publisher, &channels, first) == all_hear && moved
    });
    note(&format!("messages {} to {first} may be lost for shard 0", 50));
    for _ in 0..100 {
        assert_eq!(publish(&mut publisher, &channels, number), all_hear);
        number += 1;
    }
    for (listener, topics) in &mut listeners {
        let before = listener.heard;
        listener.read_up_to(number - 1, *topics);
        let heard = listener.heard - before;
        let all = (number - 50) as u64 * *topics as u64;
        let lost = (first - 50) as u64 * *topics as u64 / 2;
        assert!(heard <= all && heard + lost >= all, "{heard} of {all}, {lost} may be lost");
        listener.wire.expect_silence(Duration::from_millis(20));
    }
}

#[test]
fn a_killed_primary_takes_no_subscription_with_it() {
    let mut scene = Scene::start();
    scene.alert(0);
    listen_through(&mut scene, 1, |scene| scene.watched.shards[0].nodes[0].kill_hard());
}

#[test]
fn a_failover_by_hand_is_not_heard() {
    listen_through(&mut Scene::start(), 1, |scene| {
        scene.watched.fail_over(0, 0);
        scene.wait_moved(0, 1);
    });
}

#[test]
fn the_subscribers_of_several_cores_are_all_there_again_and_no_more() {
    listen_through(&mut Scene::start_on("2"), 2, |scene| {
        scene.watched.fail_over(0, 0);
        scene.wait_moved(0, 1);
    });
}
