//! Every reply of a real redis-server has a shape that the command table allows for its command, in
//! RESP2 and in RESP3, with keys that are there and keys that are not.
//!
//! Why it must stay: a reply of another shape closes a lane as out of step. A line of the table that
//! is too strict would close lanes that are in step, so every command that a shard may be asked has
//! to be run here before it gets a line.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use corelay::command::model::{Command, Family, Run, Special};
use corelay::command::shape::Kinds;
use corelay::command::{all, by_name};
use corelay::resp::encode;
use corelay::resp::reply::{ReplyScanner, Scanned};
use corelay::resp::value;

#[path = "support/one_redis.rs"]
mod one_redis;
use one_redis::OneRedis;

/// In this order, on an empty server; what makes no difference between the versions stands once.
const REQUESTS: &str = "
    SET s 1 / SET s 1 GET / SET s 2 NX / SET none 1 XX / SET none 1 XX GET / SET s 10 EX 1000
    GET s / GET none / GETRANGE s 0 1 / GETRANGE none 0 1 / SUBSTR s 0 1 / STRLEN s / STRLEN none
    APPEND s 0 / DECR n / DECRBY n 2 / INCR n / INCRBY n 2 / INCRBYFLOAT n 1.5 / SET n 1
    MSET {m}1 a {m}2 b / MGET {m}1 {m}2 {m}3 / MGET {m}1 / MGET none / MSETNX {m}1 a / MSETNX {x}1 1
    GETSET g v / GETSET g w / GETEX g / GETEX none / GETDEL g / GETDEL g / PSETEX e 100000 v
    SETEX e 100 v / SETNX e v / SETRANGE r 3 abc / LCS {m}1 {m}2 / LCS {m}1 {m}2 LEN
    LCS {m}1 {m}2 IDX / LCS none {m}2
    BITCOUNT s / BITFIELD b INCRBY u8 0 250 / BITFIELD b OVERFLOW FAIL INCRBY u8 0 250
    BITFIELD_RO b GET u8 0 / BITFIELD_RO none GET u8 0 / BITOP NOT {b}c b / BITPOS s 1 / BITPOS none 1
    GETBIT s 1 / SETBIT b 1 1
    HSET h a 1 b 2 / HGET h a / HGET h z / HGET none a / HMGET h a z / HMGET none a b c / HGETALL h
    HGETALL none / HEXISTS h a / HINCRBY h a 2 / HINCRBYFLOAT h a 1.5 / HKEYS h / HKEYS none / HVALS h
    HLEN h / HMSET h c 3 / HRANDFIELD h / HRANDFIELD none / HRANDFIELD h 2 / HRANDFIELD none 2
    HRANDFIELD h -2 WITHVALUES / HSCAN h 0 / HSCAN none 0 / HSETNX h a 1 / HSTRLEN h a / HDEL h a
    RPUSH l a b c d e f g / LPUSH l z / RPUSHX l z / LPUSHX none z / LRANGE l 0 -1 / LRANGE none 0 -1
    LINDEX l 0 / LINDEX l 99 / LINSERT l BEFORE a y / LINSERT none BEFORE a y / LLEN l
    LMOVE l l LEFT RIGHT / LMOVE none l LEFT RIGHT / LMPOP 1 l LEFT / LMPOP 1 none LEFT
    LMPOP 1 l LEFT COUNT 2 / LPOP l / LPOP none / LPOP l 1 / LPOP none 1 / LPOP l 0 / RPOP l / RPOP none
    RPOP none 2 / RPOP l 1 / LPOS l d / LPOS l nothing / LPOS l d COUNT 0 / LPOS none d
    LPOS none d COUNT 0 / LREM l 0 zz / LSET l 0 q / LTRIM l 0 5 / RPOPLPUSH l l / RPOPLPUSH none l
    RPUSH bl a b c d e f g / BLPOP bl 1 / BLPOP none 0.01 / BRPOP bl 1 / BRPOP none 0.01
    BLMOVE bl bl LEFT RIGHT 1 / BLMOVE none bl LEFT RIGHT 0.01 / BRPOPLPUSH bl bl 1
    BRPOPLPUSH none bl 0.01 / BLMPOP 1 1 bl LEFT / BLMPOP 0.01 1 none LEFT
    ZADD bz 1 a 2 b 3 c / BZPOPMIN bz 1 / BZPOPMIN none 0.01 / BZPOPMAX bz 1 / BZPOPMAX none 0.01
    BZMPOP 1 1 bz MIN / BZMPOP 0.01 1 none MIN
    SADD t a b c d / SADD u a b / SCARD t / SCARD none / SDIFF t u / SDIFF none / SINTER t u
    SINTER none / SUNION t u / SUNION none / SMEMBERS t / SMEMBERS none / SDIFFSTORE v t u
    SINTERSTORE v t u / SUNIONSTORE v t u / SINTERCARD 2 t u / SISMEMBER t a / SISMEMBER none a
    SMISMEMBER t a z / SMISMEMBER none a b / SMOVE t u d / SRANDMEMBER t / SRANDMEMBER none
    SRANDMEMBER t 2 / SRANDMEMBER t -9 / SRANDMEMBER none 2 / SPOP v / SPOP none / SPOP v 1
    SPOP none 2 / SPOP v 100 / SREM t a / SSCAN t 0 / SSCAN none 0
    ZADD z 1 a 2 b 3 c / ZADD z INCR 1.5 a / ZADD z NX INCR 1 a / ZADD y 1 a 5 q / ZCARD z / ZCOUNT z 0 9
    ZDIFF 2 z y / ZDIFF 2 z y WITHSCORES / ZDIFF 1 none / ZINTER 2 z y / ZINTER 2 z y WITHSCORES
    ZUNION 2 z y / ZUNION 2 z y WITHSCORES / ZDIFFSTORE x 2 z y / ZINTERSTORE x 2 z y
    ZUNIONSTORE x 2 z y / ZINTERCARD 2 z y / ZINCRBY z 1 a / ZLEXCOUNT z - + / ZMPOP 1 x MIN
    ZMPOP 1 none MIN / ZMPOP 1 x MAX COUNT 2 / ZMSCORE z a nothing / ZMSCORE none a b / ZPOPMAX x
    ZPOPMAX none / ZPOPMAX x 2 / ZPOPMIN x / ZPOPMIN none 2 / ZRANDMEMBER z / ZRANDMEMBER none
    ZRANDMEMBER z 2 / ZRANDMEMBER z -2 WITHSCORES / ZRANDMEMBER none 2 / ZRANGE z 0 -1
    ZRANGE z 0 -1 WITHSCORES / ZRANGE none 0 -1 / ZRANGEBYLEX z - + / ZRANGEBYSCORE z 0 9 WITHSCORES
    ZRANGEBYSCORE z 0 9 / ZRANGESTORE x z 0 -1 / ZRANK z a / ZRANK z nothing / ZRANK none a
    ZRANK z a WITHSCORE / ZREVRANK z a WITHSCORE / ZREVRANK z a / ZREVRANK none a / ZREVRANGE z 0 -1
    ZREVRANGEBYLEX z + - / ZREVRANGEBYSCORE z 9 0 / ZSCORE z a / ZSCORE z nothing / ZSCORE none a
    ZSCAN z 0 / ZSCAN none 0 / ZREM z a / ZREMRANGEBYLEX z [b [b / ZREMRANGEBYRANK z 0 0
    ZREMRANGEBYSCORE z 100 200
    XADD x1 * f v / XADD x1 1-1 f v / XADD none NOMKSTREAM * f v / XLEN x1 / XRANGE x1 - +
    XRANGE none - + / XREVRANGE x1 + - / XREAD STREAMS x1 0 / XREAD STREAMS none 0 / XREAD STREAMS x1 $
    XREAD BLOCK 10 STREAMS x1 $ / XREAD BLOCK 10 STREAMS x1 0
    XGROUP CREATE x1 gr 0 / XGROUP CREATECONSUMER x1 gr c / XREADGROUP GROUP gr c STREAMS x1 >
    XREADGROUP GROUP gr c STREAMS x1 > / XREADGROUP GROUP gr c STREAMS x1 0 / XPENDING x1 gr
    XPENDING x1 gr - + 9 / XCLAIM x1 gr c 0 1-1 / XCLAIM x1 gr c 0 1-1 JUSTID
    XAUTOCLAIM x1 gr c 0 0 / XACK x1 gr 1-1 / XINFO STREAM x1 / XINFO STREAM x1 FULL / XINFO GROUPS x1
    XINFO CONSUMERS x1 gr / XGROUP SETID x1 gr 0 / XGROUP DELCONSUMER x1 gr c / XGROUP DESTROY x1 gr
    XSETID x1 99999999999999-1 / XDEL x1 1-1 / XTRIM x1 MAXLEN 0
    GEOADD geo 13.3 38.1 p 15.0 37.5 c / GEODIST geo p c / GEODIST geo p none / GEOHASH geo p none
    GEOHASH none a b / GEOPOS geo p none / GEOPOS none a / GEORADIUS geo 15 37 200 km
    GEORADIUS geo 15 37 200 km WITHDIST WITHCOORD / GEORADIUS geo 15 37 200 km STORE geo2
    GEORADIUS none 15 37 200 km / GEORADIUS none 15 37 200 km STORE geo3
    GEORADIUS_RO geo 15 37 200 km / GEORADIUS_RO none 15 37 200 km / GEORADIUSBYMEMBER geo p 200 km
    GEORADIUSBYMEMBER geo p 200 km STORE geo2 / GEORADIUSBYMEMBER_RO geo p 200 km
    GEORADIUSBYMEMBER none p 200 km / GEORADIUSBYMEMBER_RO none p 200 km
    GEOSEARCH geo FROMMEMBER p BYRADIUS 200 km / GEOSEARCH none FROMLONLAT 1 1 BYRADIUS 200 km
    GEOSEARCHSTORE geo2 geo FROMMEMBER p BYRADIUS 200 km
    GEOSEARCHSTORE geo2 none FROMLONLAT 1 1 BYRADIUS 200 km
    PFADD p1 a b / PFADD p2 a / PFCOUNT p1 / PFCOUNT p1 p2 / PFCOUNT none / PFMERGE p3 p1 p2
    COPY s s2 / COPY none s3 / DUMP s / RESTORE restored 0 DUMPED REPLACE / DUMP none / EXISTS s none s / EXPIRE s 100 / EXPIREAT s 9999999999
    PEXPIRE s 100000 / PEXPIREAT s 9999999999000 / EXPIRETIME s / PEXPIRETIME s / TTL s / PTTL s
    TTL none / PTTL none / PERSIST s / KEYS * / KEYS nothing / MIGRATE 127.0.0.1 1 none 0 100
    MOVE s2 1 / MOVE none 1 / OBJECT ENCODING s / OBJECT ENCODING none / OBJECT IDLETIME s
    OBJECT IDLETIME none / OBJECT REFCOUNT s / OBJECT REFCOUNT none / RANDOMKEY / RENAME s s4
    RENAMENX s4 s / SCAN 0 / SCAN 0 COUNT 1000 TYPE hash / SORT l ALPHA / SORT none / SORT l ALPHA STORE l2
    SORT none STORE l2 / SORT l BY nosort GET none* / SORT_RO l ALPHA / SORT_RO none / TOUCH s none
    TYPE s / TYPE none / WAIT 0 0 / WAITAOF 0 0 0 / DEL s none / UNLINK s none
    CONFIG SET maxmemory-policy allkeys-lfu / SET lfu 1 / OBJECT FREQ lfu / OBJECT FREQ none
    CONFIG SET maxmemory-policy noeviction / CONFIG GET maxmemory / CONFIG GET nothing
    CONFIG RESETSTAT / CONFIG REWRITE / DBSIZE / LASTSAVE
    INFO / INFO server / DEBUG OBJECT lfu / LATENCY RESET / MEMORY PURGE / MEMORY USAGE lfu
    MEMORY USAGE none / MODULE LIST / SLOWLOG RESET / PUBLISH c m / SPUBLISH c m
    SCRIPT LOAD BODY / SCRIPT EXISTS 098e0f0d1448c0a81dafe820f66d460eb09263da x / SCRIPT EXISTS x
    SCRIPT KILL / SCRIPT FLUSH / FUNCTION LOAD LIBRARY / FUNCTION LIST / FUNCTION LIST WITHCODE
    FUNCTION DUMP / FUNCTION STATS / FUNCTION KILL / FUNCTION RESTORE DUMPED / FUNCTION DELETE lib
    FUNCTION LIST / FUNCTION DUMP / FUNCTION FLUSH
    FLUSHDB / FLUSHALL / RANDOMKEY / DBSIZE
";

/// These have no answer but an error here: nothing runs that could be killed, the server has no
/// file to rewrite, DEBUG is off, redis may be older than WAITAOF.
const ERRORS_ONLY: [&str; 5] =
    ["config|rewrite", "debug|object", "function|kill", "script|kill", "waitaof"];

const LIBRARY: &[u8] =
    b"#!lua name=lib\nredis.register_function('f', function(keys, args) return 1 end)";

struct Asker {
    socket: UnixStream,
    unread: Vec<u8>,
}

impl Asker {
    fn of(redis: &OneRedis) -> Asker {
        Asker { socket: redis.connect(), unread: Vec::new() }
    }

    fn ask(&mut self, words: &[&[u8]]) -> (u8, Vec<u8>) {
        let mut request = Vec::new();
        encode::request(&mut request, words);
        self.socket.write_all(&request).expect("redis-server reads");
        loop {
            if let Ok(Scanned::Reply { bytes, kind }) = ReplyScanner::default().scan(&self.unread) {
                let rest = self.unread.split_off(bytes);
                return (kind, std::mem::replace(&mut self.unread, rest));
            }
            let mut chunk = [0; 64 * 1024];
            let bytes = self.socket.read(&mut chunk).expect("redis-server answers in time");
            assert_ne!(bytes, 0, "redis-server closed");
            self.unread.extend_from_slice(&chunk[..bytes]);
        }
    }
}

/// The line of a request: that of its subcommand, if it has such.
fn command_of(words: &[&[u8]]) -> &'static Command {
    let name = String::from_utf8_lossy(words[0]).to_lowercase();
    let command = by_name(&name).unwrap_or_else(|| panic!("{name} is not in the table"));
    if command.subcommands.is_empty() {
        return command;
    }
    let sub = format!("{name}|{}", String::from_utf8_lossy(words[1]).to_lowercase());
    by_name(&sub).unwrap_or_else(|| panic!("{sub} is not in the table"))
}

#[test]
fn in_both_protocol_versions() {
    let redis = OneRedis::start();
    let mut run = BTreeSet::new();
    for version in ["2", "3"] {
        let mut asker = Asker::of(&redis);
        asker.ask(&[b"HELLO", version.as_bytes()]);
        let protocol = if version == "2" { Kinds::RESP2 } else { Kinds::ANY };
        let mut dump = Vec::new();
        for line in REQUESTS.split(['/', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
            let mut words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            for word in &mut words {
                *word = match *word {
                    b"BODY" => b"return ARGV[1]",
                    b"LIBRARY" => LIBRARY,
                    b"DUMPED" => &dump,
                    other => other,
                };
            }
            if line.starts_with("FUNCTION RESTORE") {
                asker.ask(&[b"FUNCTION", b"FLUSH"]);
            }
            let (kind, reply) = asker.ask(&words);
            let command = command_of(&words);
            let asked = command.asked(words.len());
            let count = value::elements(&reply).map_or(0, |elements| elements.left() as u64);
            let fits = protocol.and(asked.kinds).has(kind)
                || (kind == b'*' && asked.elements != 0 && asked.allows_array(count));
            let shown = String::from_utf8_lossy(&reply[..reply.len().min(60)]).into_owned();
            assert!(fits, "RESP{version}: {line}: the table does not allow {shown:?}");
            if kind != b'-' {
                run.insert(command.name);
            }
            if words.contains(&b"DUMP".as_slice())
                && let Some(value) = value::bulk(&reply).flatten()
            {
                dump = value.to_vec();
            }
        }
    }
    for command in lines().filter(|command| command.reply != Kinds::ANY) {
        let tried = run.contains(command.name) || ERRORS_ONLY.contains(&command.name);
        assert!(tried, "{}: its shape was never seen", command.name);
    }
}

#[test]
fn what_may_be_anything_is_a_script_or_too_new_to_be_known() {
    for command in lines() {
        let anything = command.reply == Kinds::ANY;
        let major = command.since.split('.').next().and_then(|major| major.parse::<u32>().ok());
        let minor = command.since.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        // WAITAOF's is in its description: two numbers.
        let unknown = ((major, minor) > (Some(7), Some(0)) && command.name != "waitaof")
            || command.family == Family::Module
            || command.name.starts_with("eval")
            || command.name.starts_with("fcall");
        assert_eq!(anything, unknown, "{}", command.name);
    }
}

/// All lines that a shard may be asked for. (A transaction is one block of several replies, whose
/// shape has a check of its own; who subscribes has a lane of its own, whose frames are no replies.)
fn lines() -> impl Iterator<Item = &'static Command> {
    all()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .filter(|command| command.subcommands.is_empty() && command.family != Family::Transactions)
        .filter(|command| {
            let subscribes = matches!(
                command.run,
                Run::Special(Special::Subscribe(_) | Special::Unsubscribe(_))
            );
            command.name == "info"
                || !(subscribes || matches!(command.run, Run::Local(_) | Run::Refuse(_)))
        })
}
