//! Publish and subscribe.

use super::line::*;

#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &family(Family::PubSub, [
    cmd("psubscribe",   "2.0.0", -2, PUBSUB | SESSION,        NO_KEYS,  subscribe(TopicKind::Pattern)),
    cmd("publish",      "2.0.0",  3, PUBSUB | FAST | ANYTIME, NO_KEYS,  by_argument(1)).gives(INTEGER),
    cmd("pubsub",       "2.8.0", -2, 0,                       NO_KEYS,  HELP).with(PUBSUB_COMMANDS),
    cmd("punsubscribe", "2.0.0", -1, PUBSUB | SESSION,        NO_KEYS,  unsubscribe(TopicKind::Pattern)),
    cmd("spublish",     "7.0.0",  3, PUBSUB | FAST | ANYTIME, KEY,      FORWARD).does(&[NOT_A_KEY]).gives(INTEGER),
    cmd("ssubscribe",   "7.0.0", -2, PUBSUB | SESSION,        ALL_KEYS, subscribe(TopicKind::ShardChannel)).does(&[NOT_A_KEY]),
    cmd("subscribe",    "2.0.0", -2, PUBSUB | SESSION,        NO_KEYS,  subscribe(TopicKind::Channel)),
    cmd("sunsubscribe", "7.0.0", -1, PUBSUB | SESSION,        ALL_KEYS, unsubscribe(TopicKind::ShardChannel)).does(&[NOT_A_KEY]),
    cmd("unsubscribe",  "2.0.0", -1, PUBSUB | SESSION,        NO_KEYS,  unsubscribe(TopicKind::Channel)),
]);

#[rustfmt::skip]
static PUBSUB_COMMANDS: &[Command] = &family(Family::PubSub, [
    cmd("pubsub|channels",      "2.8.0", -2, PUBSUB | ANYTIME, NO_KEYS, local(Local::PubsubChannels(TopicKind::Channel))),
    cmd("pubsub|help",          "6.2.0",  2, ANYTIME,          NO_KEYS, HELP),
    cmd("pubsub|numpat",        "2.8.0",  2, PUBSUB | ANYTIME, NO_KEYS, local(Local::PubsubNumpat)),
    cmd("pubsub|numsub",        "2.8.0", -2, PUBSUB | ANYTIME, NO_KEYS, local(Local::PubsubNumsub(TopicKind::Channel))),
    cmd("pubsub|shardchannels", "7.0.0", -2, PUBSUB | ANYTIME, NO_KEYS, local(Local::PubsubChannels(TopicKind::ShardChannel))),
    cmd("pubsub|shardnumsub",   "7.0.0", -2, PUBSUB | ANYTIME, NO_KEYS, local(Local::PubsubNumsub(TopicKind::ShardChannel))),
]);
