use super::*;
use crate::command::test_request::Owned;

fn resp2(words: &str, say: impl Fn(&Request<'_>, Protocol, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    say(&Owned::of_words(words).request(), Protocol::Resp2, &mut out);
    String::from_utf8(out).unwrap()
}

/// Byte for byte as redis-server 7.0.15 answers.
#[test]
fn info_is_written_as_redis_writes_it() {
    let spec = "*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\n\
                type\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n\
                *4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\n\
                keystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n";
    let get = format!(
        "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n\
         *3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n{spec}*0\r\n$-1\r\n"
    );
    assert_eq!(resp2("COMMAND INFO GET bogus", info), get);

    let mut out = Vec::new();
    info(&Owned::of_words("COMMAND INFO MeMoRy|usage").request(), Protocol::Resp3, &mut out);
    let usage = "*1\r\n*10\r\n$12\r\nmemory|usage\r\n:-3\r\n~1\r\n+readonly\r\n:2\r\n:2\r\n:1\r\n\
                 ~2\r\n+@read\r\n+@slow\r\n~0\r\n~1\r\n%3\r\n$5\r\nflags\r\n~1\r\n+RO\r\n\
                 $12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n\
                 $5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\n\
                 spec\r\n%3\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n\
                 ~0\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), usage);
}

#[test]
fn docs_name_version_and_group() {
    let expected = "*4\r\n$3\r\nget\r\n*6\r\n$7\r\nsummary\r\n$34\r\n\
                    forwarded to the shard of its keys\r\n$5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\n\
                    group\r\n$6\r\nstring\r\n$9\r\nclient|id\r\n*6\r\n$7\r\nsummary\r\n$21\r\n\
                    answered by the proxy\r\n$5\r\nsince\r\n$5\r\n5.0.0\r\n$5\r\ngroup\r\n$10\r\n\
                    connection\r\n";
    assert_eq!(resp2("COMMAND DOCS get bogus CLIENT|ID", docs), expected);
}

#[test]
fn a_small_request_does_not_ask_for_gigabytes() {
    let words = format!("COMMAND INFO {}", "client ".repeat(NAMES_MAX + 1));
    let error = "-ERR too many names: 1025, at most 1024 at once\r\n";
    assert_eq!(resp2(&words, info), error);
    assert_eq!(resp2(&words, docs), error);
    let most = resp2(&format!("COMMAND INFO {}", "cluster ".repeat(NAMES_MAX)), info);
    assert!(most.len() < 16 * 1024 * 1024, "{}", most.len());
}

#[test]
fn lists_are_filtered() {
    let list = |words| resp2(words, |request, _, out| list(request, out));
    assert_eq!(list("COMMAND LIST FILTERBY PATTERN xr*[gd]"), "*1\r\n$5\r\nxread\r\n");
    assert_eq!(list("COMMAND LIST filterby module json"), "*0\r\n");
    assert_eq!(list("COMMAND LIST FILTERBY ACLCAT bogus"), "*0\r\n");
    assert!(list("COMMAND LIST FILTERBY aclcat HyperLogLog").starts_with("*5\r\n$5\r\npfadd"));
    assert!(list("COMMAND LIST").contains("client|id"));
    assert_eq!(list("COMMAND LIST FILTERBY ACLCAT"), "-ERR syntax error\r\n");
    assert_eq!(list("COMMAND LIST BY ACLCAT read"), "-ERR syntax error\r\n");
}

#[test]
fn keys_are_shown() {
    let keys = |words| resp2(words, |request, _, out| getkeys(request, out));
    assert_eq!(keys("COMMAND GETKEYS MSET a 1 b 2"), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(keys("COMMAND GETKEYS EVAL body 0"), "*0\r\n");
    assert_eq!(keys("COMMAND GETKEYS EVAL body 5 a"), "*0\r\n");
    let errors = [
        ("COMMAND GETKEYS bogus a", "Invalid command specified"),
        ("COMMAND GETKEYS CLIENT bogus", "Invalid command specified"),
        ("COMMAND GETKEYS PING", "The command has no key arguments"),
        ("COMMAND GETKEYS GET a b", "Invalid number of arguments specified for command"),
        ("COMMAND GETKEYS ZUNION 3 a b", "Invalid arguments specified for command"),
        ("COMMAND GETKEYS", "Invalid command specified"),
    ];
    for (words, text) in errors {
        assert_eq!(keys(words), format!("-ERR {text}\r\n"), "{words}");
    }
    assert_eq!(
        resp2("COMMAND GETKEYSANDFLAGS ZUNIONSTORE d 1 a", getkeysandflags),
        "*2\r\n*2\r\n$1\r\nd\r\n*2\r\n+OW\r\n+update\r\n*2\r\n$1\r\na\r\n*2\r\n+RO\r\n+access\r\n"
    );
}

#[test]
fn help_lists_what_is_served() {
    let mut out = Vec::new();
    help(by_name("client|help").unwrap(), &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("+SETNAME\r\n") && text.contains("+HELP\r\n"));
    assert!(!text.contains("IMPORT-SOURCE\r\n"), "what is refused is not listed");
    assert_eq!(text.matches("\r\n+").count(), text[1..3].parse::<usize>().unwrap());
}

/// The whole table is one well-formed reply in both versions.
#[test]
fn the_whole_table_is_one_reply() {
    use crate::resp::reply::{ReplyScanner, Scanned};
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let none = Owned::of_words("COMMAND DOCS");
        let mut replies = [Vec::new(), Vec::new(), Vec::new()];
        command(protocol, &mut replies[0]);
        docs(&none.request(), protocol, &mut replies[1]);
        list(&none.request(), &mut replies[2]);
        for reply in replies {
            let scanned = ReplyScanner::default().scan(&reply);
            let Ok(Scanned::Reply { bytes, .. }) = scanned else { panic!("{scanned:?}") };
            assert_eq!(bytes, reply.len());
        }
    }
}
