use super::*;
use crate::resp::encode;

fn list(items: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::request(&mut out, &items.iter().map(|item| item.as_bytes()).collect::<Vec<_>>());
    out
}

const MASTER: [&str; 12] = [
    "name",
    "shard1",
    "flags",
    "master",
    "config-epoch",
    "4",
    "num-other-sentinels",
    "2",
    "quorum",
    "2",
    "down-after-milliseconds",
    "1000",
];

#[test]
fn a_master_and_its_address_are_read() {
    let Ok(Word::Known(said)) = word(&list(&MASTER), &list(&["10.0.0.1", "6379"])) else {
        panic!()
    };
    assert_eq!(said.address.to_string(), "10.0.0.1:6379");
    assert_eq!((said.config_epoch, said.other_sentinels, said.quorum), (4, 2, 2));
    assert_eq!((said.down_after_ms, said.failing_over), (1_000, false));
    let mut busy = MASTER;
    busy[3] = "master,o_down,failover_in_progress";
    let Ok(Word::Known(said)) = word(&list(&busy), &list(&["redis-1", "x"])) else { panic!() };
    assert!(said.failing_over && !said.address.is_usable(), "{said:?}");
}

#[test]
fn an_unknown_master_is_no_error_and_an_error_is_no_word() {
    assert_eq!(word(b"-ERR No such master with that name\r\n", b"*-1\r\n"), Ok(Word::Unknown));
    assert_eq!(word(b"-ERR No such primary with that name\r\n", b"*-1\r\n"), Ok(Word::Unknown));
    assert_eq!(word(&list(&MASTER), b"*-1\r\n"), Ok(Word::Unknown));
    let noauth = word(b"-NOAUTH Authentication required.\r\n", b"-NOAUTH x\r\n");
    assert_eq!(noauth, Err("NOAUTH Authentication required.".to_owned()));
    assert!(word(&list(&MASTER[..4]), &list(&["10.0.0.1", "6379"])).is_err(), "no epoch");
    assert!(word(b"+OK\r\n", b":1\r\n").is_err());
}

#[test]
fn other_sentinels_are_read_and_placeholders_among_them_left_out() {
    let mut reply = b"*3\r\n".to_vec();
    reply.extend(list(&["name", "x", "ip", "10.0.0.7", "port", "26379", "runid", "abc"]));
    reply.extend(list(&["ip", "0.0.0.0", "port", "26379"]));
    reply.extend(list(&["ip", "s2.example", "port", "26379"]));
    let named: Vec<_> =
        named(&reply).iter().map(|n| (n.address.to_string(), n.id.clone())).collect();
    assert_eq!(
        named,
        [
            ("10.0.0.7:26379".to_owned(), Some("abc".to_owned())),
            ("s2.example:26379".to_owned(), None)
        ]
    );
}

#[test]
fn tilt_and_roles_are_read() {
    let info = |text: &str| is_tilted(&list(&[text])[4..]);
    assert!(info(
        "# Sentinel\r\nsentinel_masters:1\r\nsentinel_tilt:1\r\nsentinel_tilt_since_seconds:3\r\n"
    ));
    assert!(!info("# Sentinel\r\nsentinel_tilt:0\r\n"));
    let reply = |first: &[u8]| [b"*3\r\n", first, b":0\r\n*0\r\n"].concat();
    assert_eq!(role(&reply(b"$6\r\nmaster\r\n")), Ok(Role::Master));
    assert_eq!(role(&reply(b"$5\r\nslave\r\n")), Ok(Role::Other("slave".to_owned())));
    assert_eq!(role(&reply(b"$8\r\nsentinel\r\n")), Ok(Role::Other("sentinel".to_owned())));
    assert_eq!(role(b"-NOAUTH x\r\n"), Err("NOAUTH x".to_owned()));
    assert!(role(b"+PONG\r\n").is_err());
}

#[test]
fn events_name_their_master() {
    let of = |kind: &str, payload: &str| {
        signal(&list(&["pmessage", "*", kind, payload])).unwrap().master
    };
    let shard1 = Some("shard1".to_owned());
    assert_eq!(of("+switch-master", "shard1 10.0.0.1 6379 10.0.0.2 6379"), shard1);
    assert_eq!(of("+odown", "master shard1 10.0.0.1 6379 #quorum 2/2"), shard1);
    assert_eq!(of("+try-failover", "master shard1 10.0.0.1 6379"), shard1);
    assert_eq!(
        of("+promoted-slave", "slave 10.0.0.2:6379 10.0.0.2 6379 @ shard1 10.0.0.1 6379"),
        shard1
    );
    let of_itself =
        |payload: &str| signal(&list(&["pmessage", "*", "-sdown", payload])).unwrap().of_itself;
    assert!(of_itself("master shard1 10.0.0.1 6379"));
    assert!(!of_itself("sentinel abc 10.0.0.7 26379 @ shard1 10.0.0.1 6379"));
    let payload = "slave 10.0.0.2:6379 10.0.0.2 6379 @ shard1 10.0.0.1 6379";
    let promoted = signal(&list(&["pmessage", "*", "+promoted-slave", payload])).unwrap();
    assert_eq!(promoted.of.unwrap().to_string(), "10.0.0.1:6379");
    assert_eq!(of("+new-epoch", "7"), None);
    assert_eq!(of("+tilt", "#tilt mode entered"), None);
    assert_eq!(signal(&list(&["psubscribe", "*", "1"])), None);
    assert_eq!(signal(&list(&["pong", ""])), None);
    assert_eq!(signal(b":1\r\n"), None);
}

#[test]
fn replicas_are_listed_with_what_a_sentinel_has_against_them() {
    let one = |ip: &str, flags: &str, announced: &str| {
        let fields = ["name", "r", "ip", ip, "port", "6379", "flags", flags];
        list(
            &[&fields[..], &["master-link-status", "err", "replica-announced", announced]].concat(),
        )
    };
    let mut reply = Vec::new();
    encode::array_header(&mut reply, 5);
    reply.extend(one("10.0.0.1", "slave", "1"));
    reply.extend(one("10.0.0.2", "s_down,slave,disconnected", "1"));
    reply.extend(one("10.0.0.3", "slave", "0"));
    reply.extend(one("0.0.0.0", "slave", "1"));
    reply.extend(list(&["ip", "10.0.0.4"]));
    let down = Listed {
        trouble: Some("a sentinel says s_down".to_owned()),
        ..Listed::at("10.0.0.2", 6379)
    };
    assert_eq!(replicas(&reply), Some(vec![Listed::at("10.0.0.1", 6379), down]));
    assert_eq!(replicas(b"*0\r\n"), Some(Vec::new()));
    assert_eq!(replicas(b"-ERR No such master with that name\r\n"), None);
}
