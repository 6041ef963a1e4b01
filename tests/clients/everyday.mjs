// A round of everyday commands with ioredis and node-redis, through the proxy and on a plain
// redis:
//
//     node everyday.mjs --plain HOST:PORT --proxy HOST:PORT --library ioredis|cluster|redis2|redis3
//
// (cluster is ioredis' Cluster, and what is plain a Redis Cluster; redis2 and redis3 are node-redis
// in RESP2 and RESP3.) Every step runs on both; the answers have
// to be equal. Ends with 1 if one differs, and says which.

import { isDeepStrictEqual, inspect } from 'node:util';
import { Redis } from 'ioredis';
import { createClient, RESP_TYPES } from 'redis';

const BINARY = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const COUNT = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
const tens = Array.from({ length: 10 }, (_, i) => i);

/** Marks an answer that is free in its order. */
const unordered = (...command) => ({ command, unordered: true });

/** Commands that both libraries send as they are; an answer may be an error. */
const COMMANDS = [
  ['SET', 's', 'value'], ['GET', 's'], ['GET', 'missing'], ['SET', 's', 'x', 'NX'],
  ['APPEND', 's', '-tail'], ['STRLEN', 's'], ['GETRANGE', 's', '1', '-2'],
  ['INCR', 'n'], ['INCRBY', 'n', '41'], ['DECR', 'n'], ['INCRBYFLOAT', 'f', '1.25'],
  ['MSET', ...tens.flatMap((i) => [`m:${i}`, `v${i}`])], ['MGET', ...tens.map((i) => `m:${i}`), 'missing'],
  ['MSETNX', '{t}a', '1', '{t}b', '2'], ['SETEX', 'e', '100', 'v'], ['PERSIST', 'e'], ['TTL', 'e'],
  ['SET', 'bin', BINARY], ['GET', 'bin'], ['SET', BINARY, 'binary key'], ['GET', BINARY],
  ['SETBIT', 'b', '7', '1'], ['BITCOUNT', 'b'], ['BITFIELD', 'bf', 'INCRBY', 'u8', '0', '200'],
  ['EXISTS', 's', 's', 'missing', 'n'], ['TYPE', 's'], ['TOUCH', 's', 'n', 'missing'],
  ['DEL', 'm:0', 'm:1', 'm:99'], ['UNLINK', 'm:2', 'm:3'], ['COPY', '{t}a', '{t}c'],
  ['RENAME', '{t}c', '{t}d'], ['RENAME', '{t}missing', '{t}x'], ['EXPIRE', 's', '100'],
  ['HSET', 'h', 'a', '1', 'b', '2'], ['HGET', 'h', 'a'], unordered('HGETALL', 'h'),
  ['HMGET', 'h', 'a', 'x'], ['HINCRBY', 'h', 'n', '5'], ['HDEL', 'h', 'a'], unordered('HKEYS', 'h'),
  ['RPUSH', 'l', 'a', 'b', 'c'], ['LPUSH', 'l', 'z'], ['LRANGE', 'l', '0', '-1'],
  ['LINDEX', 'l', '9'], ['LPOP', 'l', '2'], ['LMOVE', '{l}1', '{l}2', 'LEFT', 'RIGHT'],
  ['RPUSH', 'l bin', BINARY, ''], ['LRANGE', 'l bin', '0', '-1'],
  ['RPUSH', '{q}1', 'a', 'b'], ['BLPOP', '{q}0', '{q}1', '1'], ['BLPOP', '{q}0', '0.1'],
  ['BLMOVE', '{q}1', '{q}2', 'LEFT', 'RIGHT', '1'], ['BRPOPLPUSH', '{q}1', '{q}2', '0.1'],
  ['XREAD', 'BLOCK', '50', 'STREAMS', '{q}x', '$'], ['ZADD', '{q}z', '1', 'a'], ['BZPOPMIN', '{q}z', '1'],
  ['SADD', 'set', 'a', 'b', 'c'], unordered('SMEMBERS', 'set'), ['SISMEMBER', 'set', 'a'],
  ['SMISMEMBER', 'set', 'a', 'x'], ['SADD', '{s}1', '1', '2'], ['SADD', '{s}2', '2', '3'],
  unordered('SINTER', '{s}1', '{s}2'), unordered('SUNION', '{s}1', '{s}2'),
  ['ZADD', 'z', '1', 'a', '2.5', 'b', '-inf', 'c'], ['ZSCORE', 'z', 'b'], ['ZSCORE', 'z', 'x'],
  ['ZRANGE', 'z', '0', '-1', 'WITHSCORES'], ['ZRANK', 'z', 'a'], ['ZINCRBY', 'z', '1.5', 'b'],
  ['ZPOPMIN', 'z'], ['ZADD', '{z}1', '1', 'a'], ['ZADD', '{z}2', '2', 'a'],
  ['ZUNION', '2', '{z}1', '{z}2', 'WITHSCORES'], ['ZUNIONSTORE', '{z}3', '2', '{z}1', '{z}2'],
  ['XADD', 'x', '1-1', 'f', '1'], ['XADD', 'x', '1-0', 'f', '1'], ['XLEN', 'x'],
  ['XRANGE', 'x', '-', '+'], ['XREAD', 'COUNT', '1', 'STREAMS', 'x', '0'],
  ['XGROUP', 'CREATE', 'x', 'g', '0'],
  ['XREADGROUP', 'GROUP', 'g', 'me', 'STREAMS', 'x', '>'], ['XACK', 'x', 'g', '1-1'],
  ['GEOADD', 'geo', '13.361389', '38.115556', 'Palermo', '15.087269', '37.502669', 'Catania'],
  ['GEODIST', 'geo', 'Palermo', 'Catania', 'km'], ['GEOPOS', 'geo', 'Palermo', 'x'],
  ['GEOSEARCH', 'geo', 'FROMLONLAT', '15', '37', 'BYRADIUS', '200', 'km', 'ASC'],
  ['PFADD', 'pf', 'a', 'b'], ['PFCOUNT', 'pf'], ['PFMERGE', '{pf}3', '{pf}2'],
  ['EVAL', COUNT, '1', 'script', '5'], ['EVAL', "return {1, 'two', {3}, false}", '0'],
  ['SCRIPT', 'LOAD', COUNT], ['EVALSHA', 'f'.repeat(40), '1', 'k'],
  ['GET', 'h'], ['GET'], ['INCR', 'bin'], ['HSET', 'h', 'odd'], ['ECHO', BINARY], ['PING'],
];

function sorted(value) {
  if (value instanceof Map) value = [...value];
  if (value instanceof Set) value = [...value];
  if (Array.isArray(value)) return value.map((item) => inspect(item)).sort();
  return inspect(value, { sorted: true });
}

async function outcome(work) {
  try {
    return await work();
  } catch (error) {
    return `error: ${error.message}`;
  }
}

/** The steps of one library: pairs of a name and a function of a client. */
const ioredisSteps = () => [
  ...COMMANDS.map((entry) => {
    const command = entry.command ?? entry;
    return [command.slice(0, 2).map(String).join(' '), async (client) => {
      const reply = await client.callBuffer(...command);
      return entry.unordered ? sorted(reply) : reply;
    }];
  }),
  ['hset object', (client) => client.hset('object', { a: 1, b: 'two' })],
  ['hgetall object', (client) => client.hgetall('object')],
  ['mset object', (client) => client.mset({ 'o:1': 1, 'o:2': 2 })],
  ['zrange withscores', (client) => client.zrange('{z}3', 0, -1, 'WITHSCORES')],
  ['pipeline', (client) => {
    const pipeline = client.pipeline();
    for (let i = 0; i < 500; i += 1) pipeline.set(`p:${i}`, i).get(`p:${i}`).incr(`p:${i}`);
    pipeline.lpush('p:1', 'x').mget(...tens.map((i) => `p:${i}`));
    return pipeline.exec().then((all) => all.map(([error, reply]) => error?.message ?? reply));
  }],
  ['multi', (client) => {
    const multi = client.multi();
    tens.forEach((i) => multi.set(`{m}${i}`, i).incr('{m}n').get(`{m}${i}`));
    return multi.lpush('{m}n', 'x').exec().then((all) => all.map(([error, reply]) => error?.message ?? reply));
  }],
  ['multi with an error', (client) => client.multi().set('{m}a', 1).get().exec()],
  ['auto pipelining', (client) =>
    Promise.all(Array.from({ length: 300 }, (_, i) => client.get(`p:${i}`)))],
  ['defineCommand', async (client) => {
    client.defineCommand('countBy', { numberOfKeys: 1, lua: COUNT });
    return Promise.all(tens.map((i) => client.countBy(`defined:${i}`, i)));
  }],
  ['scanStream', async (client) => {
    const found = new Set();
    for await (const keys of client.scanStream({ match: 'p:*', count: 50 })) {
      keys.forEach((key) => found.add(key));
    }
    return [...found].sort();
  }],
];

const nodeRedisSteps = () => [
  ...COMMANDS.map((entry) => {
    const command = entry.command ?? entry;
    return [command.slice(0, 2).map(String).join(' '), async (client) => {
      const reply = await client.sendCommand(command, {
        typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer },
      });
      return entry.unordered ? sorted(reply) : reply;
    }];
  }),
  ['hSet object', (client) => client.hSet('object', { a: 1, b: 'two' })],
  ['hGetAll', (client) => client.hGetAll('object')],
  ['mSet and mGet', async (client) => [
    await client.mSet({ 'o:1': '1', 'o:2': '2' }), await client.mGet(['o:1', 'o:2', 'missing'])]],
  ['zRangeWithScores', (client) => client.zRangeWithScores('{z}3', 0, -1)],
  ['sMembers', (client) => client.sMembers('set').then(sorted)],
  ['xRange', (client) => client.xRange('x', '-', '+')],
  ['xRead', (client) => client.xRead([{ key: 'x', id: '0' }])],
  ['geoSearch', (client) => client.geoSearch('geo', 'Palermo', { radius: 500, unit: 'km' })],
  ['concurrent', (client) => Promise.all(Array.from({ length: 300 }, async (_, i) => [
    await client.set(`p:${i}`, String(i)), await client.get(`p:${i}`)]))],
  ['execAsPipeline', (client) => {
    const multi = client.multi();
    for (let i = 0; i < 300; i += 1) multi.incr(`p:${i}`);
    return multi.execAsPipeline();
  }],
  ['multi', (client) => {
    const multi = client.multi();
    tens.forEach((i) => multi.set(`{m}${i}`, String(i)).incr('{m}n').get(`{m}${i}`));
    return multi.exec();
  }],
  ['scanIterator', async (client) => {
    const found = new Set();
    for await (const keys of client.scanIterator({ MATCH: 'p:*', COUNT: 50 })) {
      [keys].flat().forEach((key) => found.add(key));
    }
    return [...found].sort();
  }],
];

const LIBRARIES = {
  ioredis: {
    steps: ioredisSteps,
    open: async (host, port) => new Redis({ host, port, maxRetriesPerRequest: 1 }),
    close: (client) => client.disconnect(),
  },
  cluster: {
    steps: ioredisSteps,
    open: async (host, port) => new Redis.Cluster([{ host, port: Number(port) }]),
    close: (client) => client.disconnect(),
  },
  redis2: nodeRedis(2),
  redis3: nodeRedis(3),
};

function nodeRedis(RESP) {
  return {
    steps: nodeRedisSteps,
    open: async (host, port) => {
      const client = createClient({ socket: { host, port: Number(port) }, RESP });
      client.on('error', (error) => console.log(`connection: ${error.message}`));
      return client.connect();
    },
    close: (client) => client.destroy(),
  };
}

async function main() {
  const options = {};
  for (let at = 2; at + 1 < process.argv.length; at += 2) {
    options[process.argv[at].replace('--', '')] = process.argv[at + 1];
  }
  const library = LIBRARIES[options.library];
  const open = (address) => library.open(...address.split(':'));
  const [plain, proxy] = [await open(options.plain), await open(options.proxy)];
  let differences = 0;
  const steps = library.steps();
  for (const [name, step] of steps) {
    const expected = await outcome(() => step(plain));
    const got = await outcome(() => step(proxy));
    // Keys in several hash slots: a cluster refuses what the proxy splits.
    const splits = options.library === 'cluster' && `${expected}`.startsWith('error: CROSSSLOT');
    if (!isDeepStrictEqual(expected, got) && !splits) {
      differences += 1;
      console.log(`${name}:\n  plain: ${inspect(expected)}\n  proxy: ${inspect(got)}`);
    }
  }
  library.close(plain);
  library.close(proxy);
  console.log(`${options.library}: ${steps.length} steps, ${differences} differences`);
  process.exit(differences ? 1 : 0);
}

await main();
