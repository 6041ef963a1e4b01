//! From one configuration to the next in a process that runs: what stands in the way.
//!
//! Two things do. What the process was built on at its start (cores, ports, the shards of its pools)
//! can not be changed under its clients: that needs a restart. And what places keys elsewhere makes data
//! unreachable, silently: that needs to be asked for. Everything else can be taken while requests
//! are under way. A new key has to be put on one of these sides here, or this does not compile.
//!
//! Called by the reload of `control`.

use std::fmt::Debug;
use std::sync::Arc;

use super::complaint::Complaint;
use super::model::{Config, NodeAddress, PoolConfig, ProxyConfig};
use crate::route::Rules;
use crate::route::moves::{Moves, random_keys};

/// Keys that are tried to tell what share moves.
const SAMPLE: u64 = 100_000;
const RESTART: &str = "corelay run --take-over, or restart corelay, or put back what it was";

/// What is in force when `file` has taken the place of `now`: every pool keeps its id, wherever it
/// stands in the file, and further ones come behind.
pub fn succeed(now: &Config, file: Config) -> Config {
    let of_name = |name: &str| file.pools.iter().find(|pool| pool.name == name);
    let known = now.pools.iter().map(|pool| of_name(&pool.name).unwrap_or(pool).clone());
    let is_new = |pool: &&Arc<PoolConfig>| now.pools.iter().all(|known| known.name != pool.name);
    let pools = known.chain(file.pools.iter().filter(is_new).cloned()).collect();
    Config { proxy: file.proxy, pools }
}

/// Why `file`, read from the file of this name, can not take the place of `now`; empty: it can.
/// `allow_moved_keys`: keys may be placed elsewhere.
pub fn hindrances(
    name: &str,
    now: &Config,
    file: &Config,
    allow_moved_keys: bool,
) -> Vec<Complaint> {
    let mut hindrances = Hindrances { file: name, list: Vec::new() };
    hindrances.of_proxy(&now.proxy, &file.proxy);
    for pool in &now.pools {
        let Some(next) = file.pools.iter().find(|next| next.name == pool.name) else {
            let why = "restart needed: it is out of the file, and its clients are still served";
            hindrances.add(&format!("pool {}", pool.name), why.to_owned(), RESTART);
            continue;
        };
        hindrances.of_pool(pool, next);
        if !allow_moved_keys {
            hindrances.moved_keys(pool, next);
        }
    }
    let is_new = |pool: &&Arc<PoolConfig>| now.pools.iter().all(|known| known.name != pool.name);
    for pool in file.pools.iter().filter(is_new) {
        if pool.sentinel.is_some() || pool.reads_replicas() {
            let why = "restart needed: sentinels and replicas are looked at from the start";
            hindrances.add(&format!("pool {}", pool.name), why.to_owned(), RESTART);
        }
    }
    hindrances.list
}

struct Hindrances<'a> {
    file: &'a str,
    list: Vec<Complaint>,
}

impl Hindrances<'_> {
    fn add(&mut self, key: &str, why: String, remedy: &str) -> &mut Complaint {
        let mut complaint = Complaint::of_file(self.file, why, remedy);
        complaint.key = key.to_owned();
        self.list.push(complaint);
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// A key that can not change without a restart.
    fn fixed<T: PartialEq + Debug>(&mut self, key: &str, now: &T, next: &T) {
        if now != next {
            let why = format!("restart needed: it was {now:?} when this process started");
            self.add(key, why, RESTART).value(format!("{next:?}"));
        }
    }

    fn of_proxy(&mut self, now: &ProxyConfig, next: &ProxyConfig) {
        let ProxyConfig {
            cores,
            admin_listen,
            stats_listen,
            log_file,
            handover_socket,
            handover_grace_ms: _,
            log_level: _,
            core_buffer_max_bytes: _,
            spin_us: _,
            batch_us: _,
        } = now;
        self.fixed("proxy.cores", cores, &next.cores);
        self.fixed("proxy.admin_listen", admin_listen, &next.admin_listen);
        self.fixed("proxy.stats_listen", stats_listen, &next.stats_listen);
        self.fixed("proxy.log_file", log_file, &next.log_file);
        self.fixed("proxy.handover_socket", handover_socket, &next.handover_socket);
    }

    fn of_pool(&mut self, now: &PoolConfig, next: &PoolConfig) {
        let PoolConfig {
            name,
            lanes_per_node,
            shards,
            sentinel,
            hold_ms,
            backend_auth,
            // See `moved_keys`.
            hash: _,
            hash_tag: _,
            distribution: _,
            char_signedness: _,
            // Read for each request, client, connection, listener.
            listen: _,
            backlog: _,
            tcp_keepalive: _,
            timeout_ms: _,
            connect_timeout_ms: _,
            fence_interval_ms: _,
            preconnect: _,
            hold_bytes: _,
            replay: _,
            read_from: _,
            read_from_by_family: _,
            replica_lag_max_bytes: _,
            read_your_writes_ms: _,
            client_password: _,
            database: _,
            databases: _,
            unknown_commands: _,
            dangerous_commands: _,
            keyless_scripts: _,
            facade: _,
            facade_address: _,
            limits: _,
        } = now;
        let key = |key: &str| format!("pool {name}: {key}");
        self.fixed(&key("lanes_per_node"), lanes_per_node, &next.lanes_per_node);
        if now.reads_replicas() != next.reads_replicas() {
            let why = "restart needed: replicas are looked at from the start, or never";
            self.add(&key("read_from"), why.to_owned(), RESTART);
        }
        let names = |pool: &PoolConfig| -> Vec<String> {
            pool.shards.iter().map(|shard| shard.name.clone()).collect()
        };
        if names(now) != names(next) {
            self.fixed(&key("shard.name"), &names(now), &names(next));
        }
        let watched = |pool: &PoolConfig| -> Vec<bool> {
            pool.shards.iter().map(|shard| shard.address == NodeAddress::Sentinel).collect()
        };
        if sentinel != &next.sentinel || watched(now) != watched(next) {
            let why = "restart needed: its sentinels are watched as they were at the start";
            self.add(&key("sentinel"), why.to_owned(), RESTART);
        }
        if sentinel.is_some() {
            self.fixed(&key("hold_ms"), hold_ms, &next.hold_ms);
            if backend_auth != &next.backend_auth {
                let why = "restart needed: the watcher of sentinels uses it, too";
                self.add(&key("backend_auth"), why.to_owned(), RESTART);
            }
        }
        let _ = shards;
    }

    /// Whatever may make data unreachable: another placement, or a server under another name.
    fn moved_keys(&mut self, now: &PoolConfig, next: &PoolConfig) {
        let remedy = "corelay reload --allow-moved-keys if that is wanted; corelay placement shows \
                      which keys";
        if Rules::from(now) != Rules::from(next) {
            let moves = Moves::of(now, next, |each| {
                random_keys(SAMPLE, each);
                Ok(())
            });
            let moves = moves.unwrap_or_default();
            let mut why = format!(
                "keys move: {} of {} keys that were tried would be on another shard",
                moves.percent(moves.moved),
                moves.keys
            );
            if now.hash_tag != next.hash_tag {
                why.push_str(", and others with a hash tag");
            }
            self.add(&format!("pool {}", now.name), why, remedy);
        }
        for shard in &next.shards {
            let taken_from = now.shards.iter().find(|before| {
                before.name != shard.name
                    && before.address == shard.address
                    && before.address != NodeAddress::Sentinel
            });
            let Some(before) = taken_from else { continue };
            let why = format!(
                "keys move: {} would be where {} was, with other keys",
                shard.name, before.name
            );
            self.add(&format!("pool {}: shard.address", now.name), why, remedy)
                .value(&shard.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::HashKind;
    use crate::config::sample;

    fn told(change: impl FnOnce(&mut Config), allow_moved_keys: bool) -> Vec<String> {
        let now = sample::config(&[("cache", &["one", "two", "three"])]);
        let mut next = Config::clone(&now);
        change(&mut next);
        let hindrances = hindrances("corelay.toml", &now, &next, allow_moved_keys);
        hindrances.iter().map(ToString::to_string).collect()
    }

    fn pool(config: &mut Config) -> &mut PoolConfig {
        Arc::make_mut(&mut config.pools[0])
    }

    #[test]
    fn what_is_read_when_it_is_needed_stands_in_nobodys_way() {
        let change = |config: &mut Config| {
            config.proxy.spin_us = 7;
            let pool = pool(config);
            pool.timeout_ms = None;
            pool.limits.client_connections_max = 3;
            pool.client_password = Some("secret".to_owned());
            pool.shards[1].address = NodeAddress::Tcp { host: "10.9.8.7".to_owned(), port: 7 };
        };
        assert_eq!(told(change, false), Vec::<String>::new());
    }

    #[test]
    fn what_the_process_was_built_on_needs_a_restart_and_all_of_it_is_told() {
        let change = |config: &mut Config| {
            config.proxy.cores = vec![0];
            config.proxy.stats_listen = Some("127.0.0.1:22222".parse().unwrap());
        };
        let told = told(change, true);
        assert_eq!(
            told[0],
            "corelay.toml: proxy.cores = [0]: restart needed: it was [0, 1] when this process \
             started; corelay run --take-over, or restart corelay, or put back what it was"
        );
        assert!(told[1].starts_with("corelay.toml: proxy.stats_listen = Some("), "{told:?}");
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn reads_may_go_to_other_nodes_but_not_to_replicas_at_all_where_they_never_did() {
        use crate::config::model::ReadFrom;
        let change = |config: &mut Config| pool(config).read_from = ReadFrom::Replica;
        assert!(told(change, true)[0].contains("read_from: restart needed"));
        let now = |from| {
            let mut config = Config::clone(&sample::config(&[("cache", &["one"])]));
            pool(&mut config).read_from = from;
            config
        };
        let (now, mut next) = (now(ReadFrom::Replica), now(ReadFrom::Nearest));
        pool(&mut next).replica_lag_max_bytes = 7;
        assert!(hindrances("f", &now, &next, false).is_empty());
    }

    #[test]
    fn what_moves_keys_is_told_with_its_share_unless_it_is_wanted() {
        let change = |config: &mut Config| pool(config).hash = HashKind::Md5;
        let refused = told(change, false);
        assert_eq!(refused.len(), 1);
        assert!(refused[0].contains("pool cache: keys move: 66."), "two of three: {refused:?}");
        assert!(refused[0].contains("corelay reload --allow-moved-keys"), "{refused:?}");
        assert_eq!(told(change, true), Vec::<String>::new());

        let tag = |config: &mut Config| pool(config).hash_tag = Some((b'{', b'}'));
        assert!(told(tag, false)[0].contains("0.0 %"), "plain keys stay");
        let swap = |config: &mut Config| {
            let shards = &mut pool(config).shards;
            let first = shards[0].address.clone();
            shards[0].address = std::mem::replace(&mut shards[1].address, first);
        };
        let swapped = told(swap, false);
        assert_eq!(swapped.len(), 2);
        assert!(swapped[0].contains("would be where"), "{swapped:?}");
    }

    #[test]
    fn pools_keep_their_ids_and_further_ones_come_behind() {
        let now = sample::config(&[("cache", &["one"]), ("other", &["one"])]);
        let mut file = Config::clone(&sample::config(&[("new", &["x"])]));
        file.pools.extend(now.pools.iter().rev().cloned());
        Arc::make_mut(&mut file.pools[2]).timeout_ms = Some(77);
        assert_eq!(hindrances("f", &now, &file, false), []);
        let next = succeed(&now, file.clone());
        let names: Vec<&str> = next.pools.iter().map(|pool| pool.name.as_str()).collect();
        assert_eq!(names, ["cache", "other", "new"]);
        assert_eq!(next.pools[0].timeout_ms, Some(77));
        assert_eq!(succeed(&next, file.clone()), next, "the same file changes nothing");
        file.pools.truncate(2);
        let told = hindrances("f", &next, &file, true);
        assert!(told[0].to_string().contains("pool cache: restart needed"), "{told:?}");
        let watched = sample::watched(&next);
        assert_eq!(hindrances("f", &now, &watched, true).len(), 3, "the two known, and the new");
    }

    #[test]
    fn no_secret_is_told() {
        let now = sample::watched(&sample::config(&[("cache", &["one"])]));
        let mut next = Config::clone(&now);
        pool(&mut next).backend_auth = Some(crate::config::model::Credentials {
            user: None,
            password: "back door".to_owned(),
        });
        let told = format!("{:?}", hindrances("f", &now, &next, false));
        assert!(told.contains("restart needed") && !told.contains("back door"), "{told}");
    }
}
