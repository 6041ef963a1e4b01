#!/usr/bin/env python3
"""redis-py keeps what it reads, and never what is not so any more.

    caching.py HOST:PORT

What the client wrote itself it reads at once, what others write soon. Ends with an exception if not.
"""

import sys
import time

import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"  # than what it asks of HELLO, for the proxy's sake
host, port = sys.argv[1].split(":")
address = {"host": host, "port": int(port), "protocol": 3, "decode_responses": True}
keeper = redis.Redis(**address, cache_config=CacheConfig())
writer = redis.Redis(**address)
keys = [f"kept:{number}:0123456789" for number in range(100)]


def kept(key):
    """Whether a key is in the cache."""
    return any(key in cached.redis_keys for cached in keeper.get_cache().collection)


for key in keys:
    writer.set(key, "first")
deadline = time.monotonic() + 10
while not all(kept(key) for key in keys):  # the first are read before the trackers are there
    assert time.monotonic() < deadline, "nothing is kept"
    assert all(keeper.get(key) == "first" for key in keys)

for number in range(200):
    own, other = keys[number % 10], keys[10 + number % 90]
    keeper.set(own, number)
    assert keeper.get(own) == str(number), "it does not see what it wrote"
    writer.set(other, number)
    deadline = time.monotonic() + 10
    while keeper.get(other) != str(number):
        assert time.monotonic() < deadline, "it keeps an old value"
assert keeper.mget(keys[:20]) == writer.mget(keys[:20])
with keeper.pipeline() as pipe:
    pipe.get(keys[0]).set(keys[0], "piped")
    pipe.execute()
assert keeper.get(keys[0]) == "piped"
print(f"{keeper.get_cache().size} kept")
writer.delete(*keys)
deadline = time.monotonic() + 10
while any(keeper.get(key) is not None for key in keys):
    assert time.monotonic() < deadline, "it keeps what was deleted"
