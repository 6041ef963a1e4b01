//! What clients take the pool for, and where scripts without keys run: what has to hold between
//! these keys, the placement and the shards.

use super::complaint::Complaints;
use super::draft::PoolDraft;
use super::model::{Facade, KeylessScripts};

/// The hash tag of a Redis Cluster.
const CLUSTER_TAG: (u8, u8) = (b'{', b'}');

/// Complains where facade and placement do not fit. The pool's hash tag and shards are read.
pub(super) fn check(draft: &PoolDraft, complaints: &mut Complaints) {
    check_keyless(draft, complaints);
    let pool = &draft.pool;
    if pool.facade == Facade::None {
        if pool.facade_address.is_some() {
            complaints
                .warning(
                    draft.line_of("facade_address"),
                    draft.key("facade_address"),
                    "no effect: clients ask for addresses only where facade = \"cluster\"",
                )
                .remedy("remove it, or set facade");
        }
        return;
    }
    if pool.shards.len() > 1 && pool.hash_tag != Some(CLUSTER_TAG) {
        complaints
            .warning(
                draft.line_of("facade"),
                draft.key("facade"),
                "keys that clients believe together by {} may be on several shards: commands on \
                 several of them get CROSSSLOT",
            )
            .quoted("cluster")
            .remedy("set hash_tag = \"{}\" if no data is there yet: it moves keys that have a tag");
    }
}

fn check_keyless(draft: &PoolDraft, complaints: &mut Complaints) {
    let KeylessScripts::Shard(name) = &draft.pool.keyless_scripts else { return };
    if !draft.pool.shards.iter().any(|shard| shard.name == *name) {
        complaints
            .error(
                draft.line_of("keyless_scripts"),
                draft.key("keyless_scripts"),
                "the pool has no shard of this name",
            )
            .quoted(&format!("shard:{name}"))
            .remedy("name one of its shards");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::model::{Facade, KeylessScripts};
    use crate::config::tests::{pool_with, told, toml};

    #[test]
    fn a_cluster_of_another_hash_tag_is_warned_about() {
        let said = |keys: &str| told(toml(&pool_with(keys)));
        assert_eq!(said("facade = \"cluster\"\nhash_tag = \"{}\""), "");
        for tag in ["", "\nhash_tag = \"$$\""] {
            let said = said(&format!("facade = \"cluster\"{tag}"));
            assert!(
                said.starts_with("c.toml:4: warning: pool.facade = \"cluster\": keys"),
                "{said}"
            );
        }
        let said = said("facade_address = \"redis.example:7000\"");
        assert!(said.starts_with("c.toml:4: warning: pool.facade_address: no effect"), "{said}");
    }

    #[test]
    fn an_address_may_be_any() {
        for (text, host) in [("[::1]:7000", "::1"), ("redis.example:7000", "redis.example")] {
            let keys =
                format!("facade = \"cluster\"\nhash_tag = \"{{}}\"\nfacade_address = \"{text}\"");
            let config = toml(&pool_with(&keys)).unwrap().config;
            assert_eq!(config.pools[0].facade, Facade::Cluster);
            assert_eq!(config.pools[0].facade_address, Some((host.to_owned(), 7000)));
        }
    }

    #[test]
    fn scripts_without_keys_go_to_a_shard_that_there_is() {
        let keyless = |text: &str| {
            let keys = format!("keyless_scripts = \"{text}\"");
            toml(&pool_with(&keys)).map(|loaded| loaded.config.pools[0].keyless_scripts.clone())
        };
        assert_eq!(keyless("refuse").unwrap(), KeylessScripts::Refuse);
        assert_eq!(keyless("first-shard").unwrap(), KeylessScripts::FirstShard);
        assert_eq!(keyless("shard:b").unwrap(), KeylessScripts::Shard("b".to_owned()));
        for wrong in ["shard:c", "shard", "b", ""] {
            assert!(keyless(wrong).is_err(), "{wrong}");
        }
    }
}
