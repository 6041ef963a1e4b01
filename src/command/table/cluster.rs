//! The cluster: this proxy is none, and may look like one of one node (`facade = "cluster"`).

use super::line::*;

const ACCEPTED: Run = cluster(ClusterQuestion::Accepted);

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::Cluster, [
    cmd("asking",      "3.0.0",  1, FAST,           NO_KEYS, ACCEPTED).acl(CONNECTION),
    cmd("cluster",     "3.0.0", -2, 0,              NO_KEYS, HELP).with(CLUSTER_COMMANDS),
    cmd("clusterscan", "9.1.0", -2, READONLY,       NO_KEYS, NO_CLUSTER).acl(KEYSPACE),
    cmd("readonly",    "3.0.0",  1, FAST | ANYTIME, NO_KEYS, ACCEPTED).acl(CONNECTION),
    cmd("readwrite",   "3.0.0",  1, FAST | ANYTIME, NO_KEYS, ACCEPTED).acl(CONNECTION),
]);

#[rustfmt::skip]
static CLUSTER_COMMANDS: &[Command] = &family(Family::Cluster, [
    cmd("cluster|addslots",              "3.0.0", -3, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|addslotsrange",         "7.0.0", -4, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|bumpepoch",             "3.0.0",  2, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|cancelslotmigrations",  "9.0.0",  2, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|count-failure-reports", "3.0.0",  3, ADMIN | STALE,                    NO_KEYS, NO_CLUSTER),
    cmd("cluster|countkeysinslot",       "3.0.0",  3, STALE,                            NO_KEYS, NO_CLUSTER),
    cmd("cluster|delslots",              "3.0.0", -3, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|delslotsrange",         "7.0.0", -4, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|failover",              "3.0.0", -2, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|flushslot",             "9.0.0", -3, WRITE | ADMIN | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER).acl(KEYSPACE),
    cmd("cluster|flushslots",            "3.0.0",  2, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|forget",                "3.0.0",  3, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|getkeysinslot",         "3.0.0",  4, STALE,                            NO_KEYS, NO_CLUSTER),
    cmd("cluster|getslotmigrations",     "9.0.0",  2, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|help",                  "5.0.0",  2, ANYTIME,                          NO_KEYS, cluster(ClusterQuestion::Help)),
    cmd("cluster|info",                  "3.0.0",  2, STALE,                            NO_KEYS, cluster(ClusterQuestion::Info)),
    cmd("cluster|keyslot",               "3.0.0",  3, STALE,                            NO_KEYS, cluster(ClusterQuestion::Keyslot)),
    cmd("cluster|links",                 "7.0.0",  2, STALE,                            NO_KEYS, cluster(ClusterQuestion::Links)),
    cmd("cluster|meet",                  "3.0.0", -4, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|migrateslots",          "9.0.0", -4, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|migration",             "8.4.0", -4, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|myid",                  "3.0.0",  2, STALE,                            NO_KEYS, cluster(ClusterQuestion::MyId)),
    cmd("cluster|myshardid",             "7.2.0",  2, STALE,                            NO_KEYS, cluster(ClusterQuestion::MyShardId)),
    cmd("cluster|nodes",                 "3.0.0",  2, STALE,                            NO_KEYS, cluster(ClusterQuestion::Nodes)),
    cmd("cluster|replicas",              "5.0.0",  3, ADMIN | STALE,                    NO_KEYS, cluster(ClusterQuestion::Replicas)),
    cmd("cluster|replicate",             "3.0.0",  3, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|reset",                 "3.0.0", -2, ADMIN | NOSCRIPT | STALE,         NO_KEYS, NO_CLUSTER),
    cmd("cluster|saveconfig",            "3.0.0",  2, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|set-config-epoch",      "3.0.0",  3, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|setslot",               "3.0.0", -4, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
    cmd("cluster|shards",                "7.0.0",  2, STALE,                            NO_KEYS, cluster(ClusterQuestion::Shards)),
    cmd("cluster|slaves",                "3.0.0",  3, ADMIN | STALE,                    NO_KEYS, cluster(ClusterQuestion::Replicas)),
    cmd("cluster|slot-stats",            "8.2.0", -4, ANYTIME,                          NO_KEYS, NO_CLUSTER),
    cmd("cluster|slots",                 "3.0.0",  2, STALE,                            NO_KEYS, cluster(ClusterQuestion::Slots)),
    cmd("cluster|syncslots",             "8.4.0", -2, ADMIN | STALE | NO_ASYNC_LOADING, NO_KEYS, NO_CLUSTER),
]);
