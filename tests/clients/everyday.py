#!/usr/bin/env python3
"""A round of everyday commands with redis-py, through the proxy and on a plain redis.

    everyday.py --plain HOST:PORT --proxy HOST:PORT --protocol 2|3 [--cluster]

Every step runs on both; what redis-py gives back (or raises) has to be equal. Steps whose answer
is free in its order are sorted, those whose answer is random are reduced to what must hold.
With --cluster by redis-py's RedisCluster, and what is plain is a Redis Cluster.
Ends with 1 if a step differs, and says which.
"""

import argparse
import sys

import redis

ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException)
BINARY = bytes(range(256))
COUNT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


def unordered(value):
    """The same for any order of the elements."""
    return sorted(value, key=repr)


def strings(r):
    yield r.set("s", "value")
    yield r.get("s")
    yield r.get("missing")
    yield r.set("s", "other", nx=True)
    yield r.set("s", "other", xx=True, get=True)
    yield r.getset("s", "third") if hasattr(r, "getset") else None
    yield r.getdel("s")
    yield r.setnx("s", "again"), r.setnx("s", "no")
    yield r.append("s", "-tail"), r.strlen("s")
    yield r.getrange("s", 1, -2), r.setrange("s", 2, "XX"), r.get("s")
    yield r.incr("n"), r.incrby("n", 41), r.decr("n"), r.decrby("n", 10)
    yield r.incrbyfloat("f", 1.25), r.incrbyfloat("f", -0.5)
    yield r.mset({f"m:{i}": f"v{i}" for i in range(20)})
    yield r.mget([f"m:{i}" for i in range(21)])
    yield r.msetnx({"{tag}a": 1, "{tag}b": 2}), r.msetnx({"{tag}a": 1, "{tag}c": 2})
    yield r.setex("e", 100, "v"), 90 < r.ttl("e") <= 100
    yield r.psetex("e", 100_000, "v"), 90_000 < r.pttl("e") <= 100_000
    yield r.getex("e", persist=True), r.ttl("e")
    yield r.set("{l}1", "ohmytext"), r.set("{l}2", "mynewtext"), r.lcs("{l}1", "{l}2")
    yield r.set("bin", BINARY), r.get("bin")
    yield r.set(BINARY, "binary key"), r.get(BINARY), r.exists(BINARY)
    yield r.set("", "empty key"), r.get(""), r.set("empty value", ""), r.get("empty value")
    yield r.set("large", "x" * 300_000), len(r.get("large"))
    yield r.set("ключ", "значение"), r.get("ключ")


def bits(r):
    yield r.setbit("b", 7, 1), r.setbit("b", 7, 0), r.getbit("b", 7)
    yield r.set("b", "foobar"), r.bitcount("b"), r.bitcount("b", 1, 1), r.bitpos("b", 0)
    yield r.bitop("AND", "{b}dest", "{b}1", "{b}2"), r.bitop("NOT", "{b}dest", "{b}1")
    field = r.bitfield("bf")
    yield field.incrby("u8", 0, 200).incrby("u8", 0, 100).get("u4", 0).execute()
    yield r.bitfield_ro("bf", "u8", 0)


def keys(r):
    yield r.set("k", 1), r.exists("k", "k", "missing"), r.type("k"), r.type("missing")
    yield r.expire("k", 100), 90 < r.ttl("k") <= 100, r.persist("k"), r.ttl("k"), r.ttl("missing")
    yield r.pexpire("k", 100_000), r.expireat("k", 4_000_000_000), r.expiretime("k")
    yield r.rename("{r}a", "{r}b") if r.set("{r}a", "v") else None, r.get("{r}b")
    yield r.renamenx("{r}b", "{r}c"), r.copy("{r}c", "{r}d"), r.get("{r}d")
    yield r.rename("{r}nothing", "{r}x")
    yield r.set("d:1", 1), r.set("d:2", 2), r.touch("d:1", "d:2", "d:3")
    yield r.delete("d:1", "d:2", "d:3"), r.unlink("k", "missing")
    yield r.object("encoding", "n"), r.set("dumped", "v")
    yield r.restore("restored", 0, r.dump("dumped")), r.get("restored")
    yield r.set("sorted", 1), r.rpush("tosort", 3, 1, 2), r.sort("tosort", desc=True)
    yield r.sort("tosort", alpha=True, start=0, num=2), r.sort("{so}l", store="{so}d")
    yield r.mset({f"scan:{i}": i for i in range(500)}), r.dbsize() > 500
    yield unordered(r.scan_iter("scan:*", count=50)) == unordered(r.keys("scan:*"))
    yield len(set(r.scan_iter("scan:*"))), len(unordered(r.keys("scan:1?")))
    yield r.randomkey() is not None
    yield unordered(r.scan_iter(match="h*", _type="hash"))


def hashes(r):
    yield r.hset("h", "a", "1"), r.hset("h", mapping={"b": "2", "c": "3"})
    yield r.hget("h", "a"), r.hget("h", "missing"), r.hmget("h", "a", "x", "b")
    yield unordered(r.hgetall("h").items()), unordered(r.hkeys("h")), unordered(r.hvals("h"))
    yield r.hlen("h"), r.hexists("h", "a"), r.hstrlen("h", "c"), r.hsetnx("h", "a", "no")
    yield r.hincrby("h", "n", 5), r.hincrbyfloat("h", "f", 0.1), r.hdel("h", "a", "missing")
    yield r.hrandfield("h") in (b"b", b"c", b"n", b"f"), r.hgetall("missing")
    yield r.hset("big hash", mapping={f"f{i}": "x" * i for i in range(600)})
    yield unordered(r.hscan_iter("big hash", count=40)) == unordered(r.hgetall("big hash").items())
    yield r.hset("h bin", BINARY, BINARY), r.hget("h bin", BINARY)
    yield r.get("h")


def lists(r):
    yield r.rpush("l", "a", "b", "c"), r.lpush("l", "z"), r.lpushx("nolist", "x")
    yield r.lrange("l", 0, -1), r.llen("l"), r.lindex("l", 1), r.lindex("l", 99)
    yield r.linsert("l", "BEFORE", "b", "ab"), r.lset("l", 0, "y"), r.lpos("l", "c")
    yield r.lrem("l", 0, "ab"), r.ltrim("l", 0, 2), r.lrange("l", 0, -1)
    yield r.lpop("l"), r.rpop("l"), r.lpop("l", 5), r.lpop("l"), r.rpop("missing", 2)
    yield r.rpush("{m}1", 1, 2, 3), r.lmove("{m}1", "{m}2", "LEFT", "RIGHT")
    yield r.rpoplpush("{m}1", "{m}2"), r.lrange("{m}2", 0, -1)
    yield r.lmpop(2, "{m}1", "{m}2", direction="LEFT", count=2), r.lset("missing", 0, "x")
    yield r.rpush("l bin", BINARY, ""), r.lrange("l bin", 0, -1)


def queues(r):
    yield r.rpush("{q}1", "a", "b", "c", "d"), r.blpop(["{q}0", "{q}1"], 1), r.brpop("{q}1", 1)
    yield r.blpop("{q}0", 0.1), r.brpop(["{q}0"], 0.1), r.blpop("{q}z no list", 0.1)
    yield r.brpoplpush("{q}1", "{q}2", 1), r.blmove("{q}2", "{q}1", 1, "LEFT", "RIGHT")
    yield r.brpoplpush("{q}0", "{q}2", 0.1), r.blmove("{q}0", "{q}1", 0.1)
    yield r.blmpop(1, 2, "{q}0", "{q}1", direction="LEFT", count=5)
    yield r.blmpop(0.1, 1, "{q}0", direction="LEFT")
    yield r.zadd("{q}z", {"a": 1, "b": 2, "c": 3}), r.bzpopmin("{q}z", 1), r.bzpopmax("{q}z", 1)
    yield r.bzmpop(1, 2, ["{q}none", "{q}z"], min=True), r.bzpopmin("{q}z", 0.1)
    yield r.xadd("{q}x", {"f": "v"}, id="1-1"), r.xread({"{q}x": "0"}, block=1000)
    yield r.xread({"{q}x": "$"}, block=50), r.xgroup_create("{q}x", "g", "0")
    yield r.xreadgroup("g", "me", {"{q}x": ">"}, block=1000)
    yield r.xreadgroup("g", "me", {"{q}x": ">"}, block=50)
    yield r.set("{q}s", "text"), r.blpop("{q}s", 1), r.client_unblock(999_999_999)


def sets(r):
    yield r.sadd("set", "a", "b", "c"), r.sadd("set", "a"), r.scard("set")
    yield unordered(r.smembers("set")), r.sismember("set", "a"), r.smismember("set", ["a", "x"])
    yield r.srem("set", "a", "x"), r.smembers("missing"), r.srandmember("set") in (b"b", b"c")
    yield unordered(r.spop("set", 5)), r.spop("set")
    yield r.sadd("{t}1", 1, 2, 3), r.sadd("{t}2", 2, 3, 4)
    yield unordered(r.sinter("{t}1", "{t}2")), unordered(r.sunion("{t}1", "{t}2"))
    yield unordered(r.sdiff("{t}1", "{t}2")), r.sintercard(2, ["{t}1", "{t}2"])
    yield r.sinterstore("{t}3", "{t}1", "{t}2"), r.sunionstore("{t}3", "{t}1", "{t}2")
    yield r.sdiffstore("{t}3", "{t}1", "{t}2"), r.smove("{t}1", "{t}2", "1")
    yield r.sadd("big set", *range(2_000)), len(set(r.sscan_iter("big set", count=100)))


def sorted_sets(r):
    yield r.zadd("z", {"a": 1, "b": 2.5, "c": -3}), r.zadd("z", {"a": 9}, nx=True)
    yield r.zadd("z", {"a": 5}, gt=True, ch=True), r.zincrby("z", 1.5, "b"), r.zcard("z")
    yield r.zscore("z", "b"), r.zscore("z", "x"), r.zmscore("z", ["a", "x", "c"])
    yield r.zrange("z", 0, -1), r.zrange("z", 0, -1, withscores=True, desc=True)
    yield r.zrangebyscore("z", "-inf", 4, withscores=True), r.zrevrange("z", 0, 1)
    yield r.zrank("z", "a"), r.zrevrank("z", "a"), r.zrank("z", "x"), r.zcount("z", 0, 10)
    yield r.zadd("lex", {c: 0 for c in "abcdef"}), r.zrangebylex("lex", "[b", "(e")
    yield r.zlexcount("lex", "-", "+"), r.zremrangebylex("lex", "[a", "[b")
    yield r.zremrangebyrank("lex", 0, 0), r.zremrangebyscore("lex", 5, 6), r.zrem("lex", "d", "x")
    yield r.zpopmin("z"), r.zpopmax("z", 5), r.zpopmin("missing")
    yield r.zadd("{z}1", {"a": 1, "b": 2}), r.zadd("{z}2", {"b": 3, "c": 4})
    yield r.zunion(["{z}1", "{z}2"], withscores=True), r.zinter(["{z}1", "{z}2"])
    yield r.zdiff(["{z}1", "{z}2"]), r.zunionstore("{z}3", ["{z}1", "{z}2"], aggregate="MAX")
    yield r.zinterstore("{z}4", {"{z}1": 2, "{z}2": 3}), r.zrange("{z}4", 0, -1, withscores=True)
    yield r.zrangestore("{z}5", "{z}3", 0, 1), r.zmpop(2, ["{z}5", "{z}1"], min=True)
    yield r.zadd("inf", {"a": "inf", "b": "-inf"}), r.zrange("inf", 0, -1, withscores=True)
    yield r.zadd("big z", {f"m{i}": i for i in range(500)})
    yield unordered(r.zscan_iter("big z", count=50)) == unordered(
        r.zrange("big z", 0, -1, withscores=True)
    )


def streams(r):
    yield r.xadd("x", {"f": "1", "g": "2"}, id="1-1"), r.xadd("x", {"f": "2"}, id="2-0")
    yield r.xadd("x", {"f": "0"}, id="1-0")
    yield len(r.xadd("auto", {"f": BINARY})) > 3, r.xlen("x")
    yield r.xrange("x"), r.xrevrange("x", count=1), r.xread({"x": "0"}, count=1)
    yield r.xread({"{x}1": "0", "{x}2": "0"})
    yield r.xgroup_create("x", "g", id="0"), r.xgroup_create("x", "g", id="0")
    yield r.xreadgroup("g", "me", {"x": ">"}, count=10), r.xpending("x", "g")["pending"]
    yield r.xack("x", "g", "1-1"), r.xclaim("x", "g", "you", 0, ["2-0"], justid=True)
    yield r.xautoclaim("x", "g", "me", 0, justid=True)
    yield r.xinfo_stream("x")["length"], [g["name"] for g in r.xinfo_groups("x")]
    yield r.xdel("x", "1-1"), r.xtrim("x", maxlen=0), r.xgroup_destroy("x", "g")


def geo_and_hyperloglog(r):
    yield r.geoadd("geo", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    yield r.geodist("geo", "Palermo", "Catania", "km"), r.geohash("geo", "Palermo", "x")
    yield r.geopos("geo", "Palermo", "x")
    yield r.geosearch("geo", longitude=15, latitude=37, radius=200, unit="km", sort="ASC")
    yield r.geosearch("geo", member="Palermo", radius=1, unit="m", withdist=True, withcoord=True)
    yield r.pfadd("pf", *range(1_000)), r.pfcount("pf"), r.pfadd("{pf}2", "a", "b")
    yield r.pfmerge("{pf}3", "{pf}2"), r.pfcount("{pf}3", "{pf}2")


def scripts(r):
    yield r.eval(COUNT, 1, "script", 5), r.eval("return {1, 'two', {3}, false}", 0)
    count = r.register_script(COUNT)
    yield [count(keys=[f"script:{i}"], args=[i]) for i in range(20)]
    digest = r.script_load("return ARGV[1]")
    yield digest, r.script_exists(digest, "0" * 40), r.evalsha(digest, 1, "k", BINARY)
    yield r.evalsha("f" * 40, 1, "k")
    yield r.eval("return redis.error_reply('MINE went wrong')", 1, "k")
    library = "#!lua name=l\nredis.register_function('hi', function(k, a) return a[1] end)"
    yield r.function_load(library, replace=True), r.fcall("hi", 1, "k", "there")
    yield r.fcall_ro("hi", 1, "k", "x"), r.function_delete("l")


def pipelines(r):
    pipe = r.pipeline(transaction=False)
    for i in range(1_000):
        pipe.set(f"p:{i}", i).get(f"p:{i}").incr(f"p:{i}")
    yield pipe.execute()
    pipe = r.pipeline(transaction=False)
    pipe.get("p:1").lpush("p:1", "x").mget([f"p:{i}" for i in range(50)]).ping().echo("x")
    yield [type(x) if isinstance(x, Exception) else x for x in pipe.execute(raise_on_error=False)]
    yield r.delete(*[f"p:{i}" for i in range(1_000)])


def transactions(r):
    pipe = r.pipeline(transaction=True)
    for i in range(100):
        pipe.incr("{tx}n").set(f"{{tx}}{i}", i).get(f"{{tx}}{i}")
    yield pipe.execute()
    yield r.pipeline().set("{tx}a", 1).hset("{tx}h", "f", "v").hgetall("{tx}h").execute()
    pipe = r.pipeline().set("{tx}s", "text").incr("{tx}s").get("{tx}s")
    yield [repr(reply) for reply in pipe.execute(raise_on_error=False)]
    try:
        yield r.pipeline().execute_command("GET").get("{tx}a").execute()
    except redis.RedisError as error:
        yield repr(error)


def watches(r):
    def count_up(pipe):
        count = int(pipe.get("{tx}w") or 0)
        pipe.multi()
        pipe.set("{tx}w", count + 1).get("{tx}w")

    yield r.transaction(count_up, "{tx}w"), r.transaction(count_up, "{tx}w", "{tx}x")
    with r.pipeline() as pipe:
        pipe.watch("{tx}w")
        yield pipe.get("{tx}w")
        r.set("{tx}w", "mine")
        pipe.multi()
        try:
            yield pipe.set("{tx}w", "not mine").execute()
        except redis.WatchError as error:
            yield repr(error)
        pipe.watch("{tx}w")
        pipe.unwatch()
        yield pipe.get("{tx}w").execute(), r.get("{tx}w")


def mistakes(r):
    yield r.execute_command("GET")
    yield r.execute_command("SET", "a")
    yield r.execute_command("NOSUCHCOMMAND") and None
    yield r.incr("bin")
    yield r.lpush("n", "x")
    yield r.execute_command("ZADD", "z", "notafloat", "m")
    yield r.execute_command("EXPIRE", "k", "x")
    yield r.eval("this is no Lua", 0) and None


def connection(r):
    yield r.ping(), r.echo("text"), r.echo(BINARY)
    yield r.client_setname("me"), r.client_getname(), r.client_id() > 0
    yield len(r.time()), r.config_get("maxmemory") is not None, "redis_version" in r.info()


GROUPS = [
    strings, bits, keys, hashes, lists, queues, sets, sorted_sets, streams,
    geo_and_hyperloglog, scripts, pipelines, transactions, watches, mistakes, connection,
]


class Recorder:
    """A client whose calls give the error instead of raising it: a step goes on behind it."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        method = getattr(self._client, name)
        if not callable(method) or name in ("pipeline", "register_script", "bitfield"):
            return method

        def call(*args, **kwargs):
            try:
                return method(*args, **kwargs)
            except ERRORS as error:
                return f"{type(error).__name__}: {error}"

        return call


def results(group, client):
    """What each step of `group` gives; an error that the group itself trips over ends it."""
    steps = group(Recorder(client))
    number = 0
    while True:
        try:
            yield number, next(steps)
        except StopIteration:
            return
        except (*ERRORS, AttributeError, TypeError, KeyError) as error:
            yield number, f"{type(error).__name__}: {error}"
            return
        number += 1


def connect(address, protocol, database):
    host, port = address.rsplit(":", 1)
    if database is None:
        return redis.RedisCluster(host=host, port=int(port), protocol=protocol, socket_timeout=20)
    return redis.Redis(
        host=host, port=int(port), protocol=protocol, db=database, socket_timeout=20
    )


def shorten(value):
    text = repr(value)
    return text if len(text) < 600 else text[:600] + " …"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", required=True)
    parser.add_argument("--proxy", required=True)
    parser.add_argument("--protocol", type=int, required=True)
    parser.add_argument("--cluster", action="store_true")
    options = parser.parse_args()
    differences, steps = 0, 0
    for database in [None] if options.cluster else (0, 5):
        plain = connect(options.plain, options.protocol, database)
        proxy = connect(options.proxy, options.protocol, database)
        for group in GROUPS:
            expected, got = list(results(group, plain)), list(results(group, proxy))
            for one, other in zip(expected, got):
                steps += 1
                if one != other:
                    differences += 1
                    print(f"database {database}, {group.__name__}, step {one[0]}:")
                    print(f"  plain: {shorten(one[1])}\n  proxy: {shorten(other[1])}")
            if len(expected) != len(got):
                differences += 1
                print(f"{group.__name__}: {len(expected)} steps and {len(got)}")
            tripped = [value for _, value in expected if str(value).startswith("TypeError")]
            if tripped:
                differences += 1
                print(f"{group.__name__}: the script itself is wrong: {tripped}")
    print(f"redis-py {redis.__version__}, RESP{options.protocol}: "
          f"{steps} steps, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
