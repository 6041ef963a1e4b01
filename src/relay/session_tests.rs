//! What a client that changes its connection's state, in the middle of a pipeline, may rely on.

use super::world::{World, pool_config};
use crate::base::limits::{STRANGER_ARGS_MAX, STRANGER_BULK_BYTES_MAX};
use crate::resp::encode;

#[test]
fn what_was_asked_before_a_change_of_lanes_is_done_first() {
    for change in ["SELECT 3", "HELLO 3"] {
        let mut world = World::with(pool_config(1));
        let (id, other) = (world.client(), world.client());
        // The lane that it will change to is there already: nothing else holds it up.
        world.say(other, format!("{change}\r\nGET x\r\n").as_bytes());
        world.ask(id, b"GET x\r\n");
        let seen = world.requests_seen();
        world.silence(0);
        world.say(id, format!("SET a 1\r\n{change}\r\nGET a\r\n").as_bytes());
        assert_eq!(world.requests_seen(), seen + 1, "{change}: GET waits for SET's reply");
        world.unsilence_second(0);
        let heard = world.heard(id);
        assert!(heard.starts_with("+OK\r\n") && heard.ends_with("$1\r\n1\r\n"), "{heard}");
        assert_eq!(world.requests_seen(), seen + 2);
    }
}

#[test]
fn who_has_not_given_the_password_may_say_little() {
    let ask = |words: usize, bytes: usize| {
        let mut pool = pool_config(1);
        pool.client_password = Some("secret".to_owned());
        let mut world = World::with(pool);
        let id = world.client();
        let long = vec![b'x'; bytes];
        let mut words = vec![long.as_slice(); words];
        words[0] = b"PING";
        let mut request = Vec::new();
        encode::request(&mut request, &words);
        world.ask(id, &request)
    };
    assert!(ask(STRANGER_ARGS_MAX, 1).starts_with("-NOAUTH"));
    assert!(ask(2, STRANGER_BULK_BYTES_MAX).starts_with("-NOAUTH"));
    let heard = ask(STRANGER_ARGS_MAX + 1, 1);
    assert_eq!(heard, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let heard = ask(2, STRANGER_BULK_BYTES_MAX + 1);
    assert_eq!(heard, "-ERR Protocol error: unauthenticated bulk length\r\n");
}

#[test]
fn after_the_password_all_may_be_said_in_the_same_pipeline() {
    let mut pool = pool_config(1);
    pool.client_password = Some("secret".to_owned());
    let mut world = World::with(pool);
    let id = world.client();
    let mut requests = b"AUTH secret\r\n".to_vec();
    let long = vec![b'x'; 2 * STRANGER_BULK_BYTES_MAX];
    encode::request(&mut requests, &[b"SET", b"a", &long]);
    requests.extend_from_slice(b"*x\r\n");
    let heard = world.ask(id, &requests);
    assert_eq!(heard, "+OK\r\n+OK\r\n-ERR Protocol error: invalid multibulk length\r\n");
}
