//! What most tests need: some shards and the proxy in front of them.

use super::{Options, Proxy, Redis, Wire};

#[derive(Debug)]
pub struct Stack {
    /// Dropped first: it should not see its shards die.
    pub proxy: Proxy,
    /// `shard1`, `shard2` … in this order.
    pub shards: Vec<Redis>,
}

impl Stack {
    /// `shards` fresh redis-servers and the proxy.
    pub fn start(shards: usize, options: &Options) -> Stack {
        Stack::start_with(shards, &[], options)
    }

    /// The same with arguments for the redis-servers.
    pub fn start_with(shards: usize, redis_args: &[&str], options: &Options) -> Stack {
        let shards: Vec<Redis> = (0..shards).map(|_| Redis::start(redis_args)).collect();
        let names: Vec<(String, String)> = shards
            .iter()
            .enumerate()
            .map(|(index, redis)| (Stack::shard_name(index), redis.address().to_string()))
            .collect();
        Stack { proxy: Proxy::start(&names, options), shards }
    }

    /// A check in RESP2 and then in RESP3, on one stack with the same keys: none.
    pub fn in_both_versions(shards: usize, options: &Options, check: impl Fn(&Stack, &str)) {
        let stack = Stack::start(shards, options);
        check(&stack, "2");
        stack.client().exchange(&["FLUSHALL"]);
        check(&stack, "3");
    }

    pub fn shard_name(index: usize) -> String {
        format!("shard{}", index + 1)
    }

    pub fn client(&self) -> Wire {
        self.proxy.client()
    }

    /// `count` keys for each shard, found by writing candidates through the proxy and looking
    /// where they are; they are deleted again.
    pub fn keys_by_shard(&self, count: usize) -> Vec<Vec<String>> {
        let mut through = self.client();
        let mut behind: Vec<Wire> = self.shards.iter().map(Redis::client).collect();
        let mut keys = vec![Vec::new(); self.shards.len()];
        for candidate in 0.. {
            if keys.iter().all(|keys: &Vec<String>| keys.len() >= count) {
                break;
            }
            assert!(candidate < 10_000, "keys do not reach every shard: {keys:?}");
            let key = format!("probe:{candidate}");
            through.exchange(&["SET", &key, "1"]);
            let owners: Vec<usize> = (0..behind.len())
                .filter(|&shard| behind[shard].exchange(&["EXISTS", &key]).integer() == 1)
                .collect();
            assert_eq!(owners.len(), 1, "{key} is on shards {owners:?}");
            through.exchange(&["DEL", &key]);
            if keys[owners[0]].len() < count {
                keys[owners[0]].push(key);
            }
        }
        keys
    }

    /// Keys over all shards.
    pub fn keys_behind(&self) -> i64 {
        self.shards.iter().map(|redis| redis.ask(&["DBSIZE"]).integer()).sum()
    }
}
