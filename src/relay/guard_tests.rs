//! WATCH, request by request: what aborts EXEC, what becomes of the private connection, and that
//! nothing of one client's watch is left for the next.

use std::path::PathBuf;

use crate::base::ids::{PoolId, ShardId};
use crate::base::limits::{GUARD_MAX_MS, RECONNECT_MAX_MS};
use crate::config::model::ReadFrom;
use crate::relay::api::{ClientEnd, LaneEnd};
use crate::relay::blocking_tests::{
    NIL, at_rest, count, private, promote, watched_with, world_with,
};
use crate::relay::plants::{Plant, plant};
use crate::relay::world::{Store, World, req};
use crate::stats::cells::{PoolMetric, ShardMetric};
use crate::topology::{NodeEndpoint, Replica};

const SET: &str = "+OK\r\n+QUEUED\r\n";
const DONE: &str = "*1\r\n+OK\r\n";
const UNKNOWN: &str =
    "-ERR outcome unknown: the connection to shard s0000 was lost before the reply came\r\n";

fn all(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| req(line)).collect()
}

/// What the store was asked, apart from what the proxy asks for itself.
fn seen(store: &mut Store) -> Vec<String> {
    let own = ["CLIENT", "PING", "ROLE", "HELLO"];
    std::mem::take(&mut store.seen).into_iter().filter(|name| !own.contains(&&**name)).collect()
}

#[test]
fn what_has_changed_since_watch_aborts_exec() {
    for (hello, nil) in [("HELLO 2", NIL), ("HELLO 3", "_\r\n")] {
        let (mut world, client) = world_with(|_| ());
        let other = world.client();
        world.ask(client, &req(hello));
        for changed in [false, true] {
            assert_eq!(world.ask(client, &all(&["WATCH k", "GET k"]))[..5], *"+OK\r\n");
            if changed {
                world.ask(other, &req("SET k theirs"));
            }
            let heard = world.ask(client, &all(&["MULTI", "SET k mine", "EXEC", "GET k"]));
            let (exec, value) = match changed {
                true => (nil, "$6\r\ntheirs\r\n"),
                false => (DONE, "$4\r\nmine\r\n"),
            };
            assert_eq!(heard, format!("{SET}{exec}{value}"));
            at_rest(&world);
        }
        assert_eq!(private(&world).len(), 1, "the same connection");
    }
}

#[test]
fn an_empty_transaction_tells_whether_something_has_changed() {
    let (mut world, client) = world_with(|_| ());
    assert_eq!(world.ask(client, &all(&["WATCH k", "MULTI", "EXEC"])), "+OK\r\n+OK\r\n*0\r\n");
    let own = world.ask(client, &all(&["WATCH k", "SET k 1", "MULTI", "EXEC"]));
    assert_eq!(own, format!("+OK\r\n+OK\r\n+OK\r\n{NIL}"), "its own write counts");
    at_rest(&world);
}

#[test]
fn in_a_pipeline_each_step_comes_behind_the_one_before() {
    let (mut world, client) = world_with(|_| ());
    world.ask(client, &req("GET k"));
    let line = ["SET k 1", "WATCH k", "GET k", "MULTI", "SET k 2", "EXEC", "GET k"];
    let heard = world.ask(client, &all(&line));
    let value = |value: &str| format!("$1\r\n{value}\r\n");
    assert_eq!(heard, format!("+OK\r\n+OK\r\n{}{SET}{DONE}{}", value("1"), value("2")));
    let order = ["GET", "SET", "WATCH", "GET", "MULTI", "EXEC", "SET", "GET"];
    assert_eq!(seen(&mut world.stores[0]), order);
    // The shared lane is slow: WATCH waits for what came before.
    world.silence(0);
    let shared = world.lanes[0].0;
    world.say(client, &all(&["SET k 3", "WATCH k", "GET k"]));
    assert_eq!(seen(&mut world.stores[0]), ["SET"]);
    world.unsilence_lane(0, shared);
    assert_eq!(world.heard(client), format!("+OK\r\n+OK\r\n{}", value("3")));
    // And so does EXEC.
    world.silence(0);
    world.say(client, &all(&["SET k 4", "MULTI", "SET k 5", "EXEC", "GET k"]));
    assert_eq!(seen(&mut world.stores[0]), ["WATCH", "GET", "SET"]);
    world.unsilence_lane(0, shared);
    assert_eq!(world.heard(client), format!("+OK\r\n{SET}{NIL}{}", value("4")));
    at_rest(&world);
}

/// Watches `k` and ends that in some way; then `k` changes, and the next client gets the connection.
fn next_transaction_after(end: &str) -> (String, usize) {
    let (mut world, client) = world_with(|pool| pool.limits.private_connections_max = 1);
    let (other, next) = (world.client(), world.client());
    assert_eq!(world.ask(client, &req("WATCH k")), "+OK\r\n");
    match end {
        "leaves" => world.relay.on_client_closed(client, ClientEnd::Eof, world.now),
        "is killed" => {
            let number = world.ask(client, &req("CLIENT ID"));
            let kill = format!("CLIENT KILL ID {}", number[1..].trim_end());
            assert_eq!(world.ask(other, &req(&kill)), ":1\r\n");
        }
        "leaves while WATCH is under way" | "leaves while EXEC is under way" => {
            let (before, last) = match end.contains("EXEC") {
                true => (&["MULTI", "SET l 1"][..], "EXEC"),
                false => (&["GET l"][..], "WATCH l"),
            };
            world.ask(client, &all(before));
            world.silence(0);
            world.say(client, &req(last));
            world.relay.on_client_closed(client, ClientEnd::Error(104), world.now);
            world.run();
            let lane = private(&world).first().copied().unwrap_or(world.lanes[0].0);
            world.unsilence_lane(0, lane);
        }
        lines => {
            let heard = world.ask(client, &all(&lines.split("; ").collect::<Vec<_>>()));
            assert!(!heard.is_empty());
        }
    }
    world.run();
    at_rest(&world);
    world.ask(other, &req("SET k changed"));
    let heard = world.ask(next, &all(&["WATCH mine", "MULTI", "SET mine 1", "EXEC"]));
    (heard, count(&world, ShardMetric::LaneConnects) as usize)
}

#[test]
fn the_next_client_is_not_aborted_by_what_the_last_one_watched() {
    let ends = [
        "UNWATCH",
        "MULTI; DISCARD",
        "RESET",
        "QUIT",
        "MULTI; SET k 1; EXEC",
        "SET k 1; MULTI; SET k 2; EXEC",
        "MULTI; GET; EXEC",
        "MULTI; EXEC x",
        "WATCH other; UNWATCH",
        "leaves",
        "is killed",
        "leaves while WATCH is under way",
        "leaves while EXEC is under way",
    ];
    for end in ends {
        let (heard, connects) = next_transaction_after(end);
        assert_eq!(heard, format!("+OK\r\n{SET}{DONE}"), "after {end}");
        assert_eq!(connects, 2, "after {end}: a shared one, and the same private one");
    }
    plant(Some(Plant::KeepGuard));
    let found = ends.iter().filter(|end| next_transaction_after(end).0.ends_with(NIL)).count();
    plant(None);
    assert!(found >= 6, "found after {found} of them only");
}

/// UNWATCH itself is refused, by the server's rights: nobody knows what is still watched.
#[test]
fn a_connection_that_could_not_be_cleaned_is_closed() {
    let (mut world, client) = world_with(|_| ());
    world.ask(client, &req("WATCH k"));
    let lane = private(&world)[0];
    world.silence(0);
    assert_eq!(world.ask(client, &req("UNWATCH")), "+OK\r\n");
    world.reply(lane, b"-NOPERM no\r\n");
    world.run();
    assert!(private(&world).is_empty());
    // A WATCH that is refused is no watch, and leaves nothing behind.
    (world.stores[0].silent, world.stores[0].held) = (false, Vec::new());
    world.ask(client, &all(&["WATCH k", "UNWATCH"]));
    let lane = private(&world)[0];
    world.silence(0);
    world.say(client, &req("WATCH k"));
    world.reply(lane, b"-NOPERM no\r\n");
    world.run();
    assert_eq!(world.heard(client), "-NOPERM no\r\n");
    world.stores[0].silent = false;
    world.reply(lane, b"+OK\r\n");
    world.run();
    at_rest(&world);
    assert_eq!(world.ask(client, &all(&["MULTI", "SET k 1", "EXEC"])), format!("{SET}{DONE}"));
}

#[test]
fn the_words_are_those_of_redis_and_all_keys_are_on_one_shard() {
    let mut world = World::new(3);
    let (here, there) = (world.key_on(1), world.key_on(2));
    let client = world.client();
    let crossslot = "-CROSSSLOT Keys in request don't hash to the same shard\r\n";
    let abort = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    let wrong = "-ERR wrong number of arguments for 'watch' command\r\n";
    let heard = world.ask(client, &all(&["UNWATCH", "WATCH"]));
    assert_eq!(heard, format!("+OK\r\n{wrong}"), "there need not be a watch");
    let keys = format!("WATCH {here} {there}");
    assert_eq!(world.ask(client, &req(&keys)), crossslot);
    let elsewhere = world.ask(client, &all(&[&format!("WATCH {here}"), &format!("WATCH {there}")]));
    assert!(
        elsewhere.starts_with("+OK\r\n-CROSSSLOT Keys that are watched already"),
        "{elsewhere}"
    );
    let line = [
        "MULTI",
        "WATCH x",
        &format!("SET {there} 1"),
        &format!("SET {here} 1"),
        "EXEC",
        "MULTI",
        &format!("SET {there} 1"),
        "EXEC",
    ];
    let nested = "-ERR WATCH inside MULTI is not allowed\r\n";
    let heard = world.ask(client, &all(&line));
    let expected = format!("+OK\r\n{nested}{crossslot}+QUEUED\r\n{abort}{SET}{DONE}");
    assert_eq!(heard, expected, "the watch has ended with EXEC");
    let line = [&format!("WATCH {here}"), "MULTI", "UNWATCH", "PING", "EXEC"];
    let heard = world.ask(client, &all(&line));
    assert_eq!(heard, "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n");
    assert_eq!(seen(&mut world.stores[1]).last().unwrap(), "UNWATCH", "asked of its shard");
}

#[test]
fn what_a_connection_is_needed_for_is_refused_while_it_remembers_keys() {
    let (mut world, client) = world_with(|_| ());
    assert_eq!(world.ask(client, &all(&["WATCH a b", "WATCH c"])), "+OK\r\n+OK\r\n");
    let list = world.ask(client, &req("CLIENT LIST"));
    assert!(list.contains(" watch=3 "), "{list}");
    for wrong in ["SELECT 1", "HELLO 3", "BLPOP q 0"] {
        let heard = world.ask(client, &req(wrong));
        assert!(heard.starts_with("-ERR who watches keys can not "), "{wrong}: {heard}");
    }
    assert_eq!(world.ask(client, &req("SELECT 0")), "+OK\r\n");
    assert!(world.ask(client, &req("HELLO")).starts_with("*14\r\n"));
    assert_eq!(world.ask(client, &all(&["MULTI", "SET a 1", "EXEC"])), format!("{SET}{DONE}"));
    assert_eq!(world.ask(client, &req("SELECT 1")), "+OK\r\n");
    at_rest(&world);
}

#[test]
fn when_all_are_lent_the_others_hear_so_or_wait() {
    let (mut world, client) = world_with(|pool| pool.limits.private_connections_max = 1);
    let other = world.client();
    world.ask(client, &req("WATCH k"));
    let text = "-ERR all 1 private connections of this core to shard s0000 are lent \
                (private_connections_max): not executed\r\n+PONG\r\n";
    assert_eq!(world.ask(other, &all(&["WATCH k", "PING"])), text);
    assert_eq!(world.stats.pool(PoolId(0), PoolMetric::WatchingClients).get(), 1);

    let (mut world, client) = world_with(|pool| {
        (pool.limits.private_connections_max, pool.limits.private_connections_queue) = (1, 2);
    });
    let (second, third) = (world.client(), world.client());
    world.ask(client, &req("WATCH k"));
    world.say(second, &all(&["WATCH k", "PING"]));
    world.advance(600);
    world.say(third, &all(&["WATCH k", "PING"]));
    world.advance(400);
    let late = world.heard(second);
    assert!(late.starts_with("-ERR all 1 private connections"), "after timeout_ms: {late}");
    assert_eq!(world.heard(third), "");
    assert_eq!(world.ask(client, &req("UNWATCH")), "+OK\r\n");
    assert_eq!(world.heard(third), "+OK\r\n+PONG\r\n");
    assert_eq!(private(&world).len(), 1);
}

#[test]
fn who_forgets_its_watch_gives_the_connection_back_and_hears_nil() {
    let (mut world, client) = world_with(|_| ());
    world.ask(client, &req("WATCH k"));
    world.advance(GUARD_MAX_MS - 1);
    assert_eq!(count(&world, ShardMetric::WatchesBroken), 0);
    world.advance(1);
    assert_eq!(count(&world, ShardMetric::WatchesBroken), 1);
    assert_eq!(world.relay.pools[0].lendings[0].lent(), 0);
    assert_eq!(seen(&mut world.stores[0]), ["WATCH", "UNWATCH"]);
    let heard = world.ask(client, &all(&["WATCH j", "MULTI", "SET k 1", "EXEC", "GET k"]));
    assert_eq!(heard, format!("+OK\r\n{SET}{NIL}$-1\r\n"));
    at_rest(&world);
}

#[test]
fn without_its_connection_a_transaction_is_never_executed() {
    // Lost, and lost again while further keys are to be watched.
    let (mut world, client) = world_with(|_| ());
    for further in [false, true] {
        world.ask(client, &all(&["WATCH k", "GET k"]));
        world.silence(0);
        if further {
            world.say(client, &req("WATCH j"));
        }
        let lane = private(&world)[0];
        world.lanes.retain(|(id, _)| *id != lane);
        world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
        world.run();
        (world.stores[0].silent, world.stores[0].held) = (false, Vec::new());
        assert_eq!(world.heard(client), if further { "+OK\r\n" } else { "" });
        let heard = world.ask(client, &all(&["MULTI", "SET k 1", "EXEC", "GET k"]));
        assert_eq!(heard, format!("{SET}{NIL}$-1\r\n"));
        at_rest(&world);
    }
    assert_eq!(count(&world, ShardMetric::WatchesBroken), 2);
}

#[test]
fn a_watch_that_was_not_confirmed_goes_to_the_next_primary() {
    let (mut world, client) = watched_with(|_| ());
    world.silence(0);
    world.say(client, &all(&["WATCH k", "GET k"]));
    world.lose(0);
    world.advance(500);
    assert_eq!(world.heard(client), "");
    promote(&mut world);
    assert_eq!(world.heard(client), "+OK\r\n$-1\r\n");
    assert_eq!(seen(&mut world.stores[1]), ["WATCH", "GET"]);
    assert_eq!(world.ask(client, &all(&["MULTI", "SET k 1", "EXEC"])), format!("{SET}{DONE}"));
    at_rest(&world);
}

#[test]
fn a_failover_breaks_the_watch() {
    for how in
        ["lost", "moved", "refused", "in EXEC", "in EXEC that publishes", "in EXEC that reads"]
    {
        let (mut world, client) = watched_with(|_| ());
        world.ask(client, &all(&["WATCH k", "GET k"]));
        let request = match how {
            "in EXEC that publishes" => "PUBLISH c m",
            "in EXEC that reads" => "GET k",
            _ => "SET k 1",
        };
        world.ask(client, &all(&["MULTI", request]));
        let lane = private(&world)[0];
        let lose = |world: &mut World| {
            world.lanes.retain(|(id, _)| *id != lane);
            world.relay.on_lane_closed(lane, LaneEnd::Eof, world.now);
            world.run();
        };
        match how {
            "lost" => lose(&mut world),
            "refused" => world.stores[0].refusal = Some("READONLY You can't write."),
            "moved" => {}
            _ => {
                world.silence(0);
                world.say(client, &req("EXEC"));
                lose(&mut world);
                assert_eq!(world.heard(client), if request == "GET k" { NIL } else { UNKNOWN });
            }
        }
        if how == "refused" {
            assert_eq!(world.ask(client, &req("EXEC")), NIL);
            assert!(!world.relay.is_verified(PoolId(0), ShardId(0)), "it is in doubt");
        }
        promote(&mut world);
        assert!(private(&world).is_empty());
        if matches!(how, "lost" | "moved") {
            assert_eq!(world.ask(client, &req("EXEC")), NIL);
        }
        assert!(!seen(&mut world.stores[1]).contains(&"EXEC".to_owned()), "never there");
        let line = ["WATCH k", "GET k", "MULTI", "SET k 1", "EXEC"];
        assert!(world.ask(client, &all(&line)).ends_with(DONE), "and the next one goes well");
        at_rest(&world);
    }
}

#[test]
fn nothing_is_executed_on_a_shard_that_is_switched_over_or_takes_no_writes() {
    let (mut world, client) = watched_with(|_| ());
    world.ask(client, &all(&["WATCH k", "MULTI", "SET k 1"]));
    world.publish(0, |shard| shard.paused = true);
    assert_eq!(world.ask(client, &req("EXEC")), NIL);
    world.say(client, &req("WATCH k"));
    assert_eq!(world.heard(client), "", "it waits for the new primary");
    promote(&mut world);
    world.publish(0, |shard| (shard.paused, shard.writable) = (false, false));
    assert_eq!(world.heard(client), "+OK\r\n");
    let heard = world.ask(client, &all(&["MULTI", "SET k 1", "EXEC"]));
    assert!(heard.starts_with(&format!("{SET}-NOREPLICAS shard s0000 ")), "{heard}");
    assert!(world.stores.iter_mut().all(|store| !seen(store).contains(&"EXEC".to_owned())));
    at_rest(&world);
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let (mut world, client) = world_with(|_| ());
    let late = "-ERR Connection timed out: shard s0000 at unix:/s0\r\n";
    world.ask(client, &all(&["WATCH k", "UNWATCH"]));
    world.silence(0);
    world.say(client, &req("WATCH k"));
    world.advance(1_000);
    assert_eq!(world.heard(client), late);
    world.stores[0].silent = false;
    world.stores[0].held.clear();
    world.ask(client, &all(&["WATCH k", "MULTI", "SET k 1"]));
    world.silence(0);
    world.say(client, &req("EXEC"));
    world.advance(999);
    assert_eq!(world.heard(client), "");
    world.advance(1);
    assert_eq!(world.heard(client), late);
    assert!(private(&world).is_empty(), "what comes late finds nobody");
    at_rest(&world);
}

#[test]
fn who_is_let_go_at_the_end_of_a_drain_has_its_transaction() {
    let (mut world, client) = world_with(|_| ());
    world.ask(client, &all(&["GET k", "WATCH k"]));
    let shared = world.lanes[0].0;
    world.silence(0);
    world.say(client, &all(&["GET k", "MULTI", "SET k 1", "EXEC"]));
    let now = world.now;
    world.relay.dismiss(now);
    world.run();
    assert!(world.finished.is_empty());
    world.unsilence_lane(0, shared);
    assert_eq!(world.heard(client), format!("$-1\r\n{SET}{DONE}"));
    assert_eq!(world.finished, [client]);
    at_rest(&world);
}

#[test]
fn who_watches_keys_reads_them_at_the_primary() {
    let (mut world, client) = world_with(|pool| pool.read_from = ReadFrom::Replica);
    let mut replica = Store { replica: Some("connected"), ..Store::default() };
    replica.keys.insert(b"k".to_vec(), b"old".to_vec());
    world.stores.push(replica);
    let endpoint = NodeEndpoint::Unix(PathBuf::from("/s1"));
    world.publish(0, |shard| {
        (shard.verified, shard.replicas) = (1, vec![Replica { endpoint, near: false }]);
    });
    let old = "$3\r\nold\r\n";
    assert_eq!(world.ask(client, &req("GET k")), old);
    assert_eq!(world.ask(client, &all(&["WATCH k", "GET k"])), "+OK\r\n$-1\r\n");
    assert_eq!(world.ask(client, &all(&["UNWATCH", "GET k"])), format!("+OK\r\n{old}"));
}

/// WAIT asks the shared lane, which did not carry the write.
#[test]
fn a_wait_behind_exec_asks_for_all_that_it_wrote() {
    for is_lost_behind in [false, true] {
        let (mut world, client) = world_with(|pool| pool.fence_interval_ms = 0);
        world.ask(client, &all(&["GET k", "WATCH k", "MULTI", "SET k 1"]));
        world.silence(0);
        world.say(client, &req("EXEC"));
        let mut answer = std::mem::take(&mut world.stores[0].held);
        world.stores[0].silent = false;
        answer.extend_from_slice(if is_lost_behind { b"+stray\r\n" } else { b"" });
        world.reply(private(&world)[0], &answer);
        assert_eq!(world.ask(client, &req("WAIT 1 0")), format!("{DONE}:1\r\n"));
        assert_eq!(private(&world).is_empty(), is_lost_behind);
        let seen = world.stores[0].seen.iter().filter(|name| *name != "CLIENT");
        let behind: Vec<_> = seen.skip_while(|name| *name != "EXEC").skip(1).collect();
        assert_eq!(behind, ["SET", "PING", "WAIT"], "its connection is at this write, or past it");
    }
}

/// Nobody can tell any more which replicas have what a lost connection was to write.
#[test]
fn a_wait_behind_an_exec_whose_connection_was_lost_does_not_count_too_many() {
    let (mut world, client) = world_with(|_| ());
    world.ask(client, &all(&["GET k", "WATCH k", "MULTI", "SET k 1"]));
    world.silence(0);
    world.say(client, &req("EXEC"));
    world.lose(0);
    (world.stores[0].silent, world.stores[0].held) = (false, Vec::new());
    assert!(world.heard(client).starts_with("-ERR Connection closed by server"));
    let lost = world.ask(client, &all(&["WAIT 1 0", "WAIT 1 0"]));
    assert!(lost.starts_with("-ERR A connection that carried writes of yours was lost"), "{lost}");
    assert!(lost.ends_with(":1\r\n"), "once: {lost}");
    // The shared lane is down when EXEC is answered, and has carried nothing when it is up again.
    let (mut world, client) = world_with(|_| ());
    world.ask(client, &all(&["GET k", "WATCH k", "MULTI", "SET k 1"]));
    world.stores[0].down = true;
    let shared = world.lanes.remove(0).0;
    world.relay.on_lane_closed(shared, LaneEnd::Eof, world.now);
    world.run();
    assert_eq!(world.ask(client, &req("EXEC")), DONE);
    world.stores[0].down = false;
    world.advance(RECONNECT_MAX_MS);
    let lost = world.ask(client, &req("WAIT 1 0"));
    assert!(lost.starts_with("-ERR A connection that carried writes of yours was lost"), "{lost}");
    at_rest(&world);
}

/// What a script has said to EXEC is not why WATCH is refused afterwards.
#[test]
fn a_refusal_of_before_is_forgotten() {
    let (mut world, client) = watched_with(|_| ());
    world.stores[0].script_says = Some("READONLY You can't write against a read only replica.");
    let heard = world.ask(client, &all(&["WATCH k", "MULTI", "EVAL x 1 k", "EXEC"]));
    assert!(heard.contains("*1\r\n-READONLY "), "{heard}");
    let lane = private(&world)[0];
    world.silence(0);
    world.say(client, &req("WATCH k"));
    world.reply(lane, b"-NOPERM no\r\n");
    world.run();
    assert_eq!(world.heard(client), "-NOPERM no\r\n");
    assert!(world.relay.is_verified(PoolId(0), ShardId(0)));
}
