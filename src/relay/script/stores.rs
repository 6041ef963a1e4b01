//! The stores of a script: they answer, lie, forget, are lost and move.

use crate::base::ids::LaneId;
use crate::relay::api::{Dirty, LaneEnd};
use crate::relay::script::model::Wire;
use crate::relay::script::{SHARDS, Script};
use crate::resp::args::Request;
use crate::resp::request::{Parsed, RequestLimits, RequestParser};
use crate::topology::{NodeEndpoint, PoolTopology, ShardTopology, Topology};

/// The relay has bounds of its own for what it passes on.
const LIMITS: RequestLimits = RequestLimits {
    args_max: usize::MAX,
    bulk_bytes_max: usize::MAX,
    request_bytes_max: usize::MAX,
};

impl Script {
    /// The oldest connect is answered.
    pub(super) fn connect(&mut self) {
        if self.connecting.is_empty() {
            return;
        }
        let ((id, shard), now) = (self.connecting.remove(0), self.world.now);
        if self.world.stores[shard].down {
            self.world.relay.on_lane_closed(id, LaneEnd::Error(111), now);
        } else {
            self.wires.push(Wire::new(id, shard));
            self.world.relay.on_lane_open(id, now);
        }
    }

    /// A lane's bytes go to its store, which answers each whole request.
    pub(super) fn serve(&mut self, at: usize, most: usize) {
        let wire = &mut self.wires[at];
        let id = wire.id;
        let count = most.min(wire.sending.len());
        wire.input.extend(wire.sending.drain(..count));
        let mut ranges = Vec::new();
        let mut used = 0;
        loop {
            let rest = &wire.input[used..];
            let parsed = RequestParser::default().parse(rest, &mut ranges, &LIMITS);
            let Ok(Parsed::Request { bytes }) = parsed else {
                assert_eq!(parsed, Ok(Parsed::More), "a store is sent {}", rest.escape_ascii());
                break;
            };
            let request = Request { bytes: &rest[..bytes], ranges: &ranges };
            if request.name().eq_ignore_ascii_case(b"SET") || request.name() == b"MSET" {
                for pair in 0..request.len() / 2 {
                    let (key, value) = (request.arg(1 + 2 * pair), request.arg(2 + 2 * pair));
                    self.history.entry(key.to_vec()).or_default().insert(value.to_vec());
                }
            }
            let mut out = Vec::new();
            self.world.stores[wire.shard].answer_on(&mut wire.session, &request, &mut out);
            wire.output.extend(out);
            used += bytes;
        }
        wire.input.drain(..used);
        let empty = wire.sending.is_empty();
        if count > 0 {
            self.world.relay.on_lane_sent(id, count);
        }
        if empty {
            self.take(Dirty::Lane(id));
        }
    }

    pub(super) fn reply(&mut self, at: usize, most: usize) {
        let wire = &mut self.wires[at];
        let count = most.min(wire.output.len());
        let (id, bytes) = (wire.id, wire.output.drain(..count).collect::<Vec<u8>>());
        self.receive(id, bytes);
    }

    pub(super) fn receive(&mut self, id: LaneId, bytes: Vec<u8>) {
        let now = self.world.now;
        if bytes.is_empty() {
            return;
        }
        if self.world.relay.lane_takes_chunk(id, bytes.len()) {
            self.world.relay.on_lane_chunk(id, bytes, now);
        } else {
            self.world.relay.on_lane_bytes(id, &bytes, now);
        }
    }

    /// A store says what it likes, at once or behind its honest replies; or it forgets some.
    pub(super) fn lie(&mut self) {
        if self.wires.is_empty() {
            return;
        }
        let at = self.below(self.wires.len());
        self.liars.insert(self.wires[at].shard);
        match self.below(4) {
            0 => {
                let count = 1 + self.below(256);
                let wire = &mut self.wires[at];
                wire.output.drain(..count.min(wire.output.len()));
            }
            how => {
                let count = self.below(64);
                let bytes = self.chance.take(count);
                if how == 1 {
                    self.receive(self.wires[at].id, bytes);
                } else {
                    self.wires[at].output.extend(bytes);
                }
            }
        }
    }

    pub(super) fn lose(&mut self, at: usize) {
        let (wire, now) = (self.wires.swap_remove(at), self.world.now);
        self.dead = Some(wire.id);
        let end = if self.below(2) == 0 { LaneEnd::Eof } else { LaneEnd::Error(104) };
        self.world.relay.on_lane_closed(wire.id, end, now);
    }

    /// What comes late from a connection that is no more, nobody may hear.
    pub(super) fn haunt(&mut self) {
        let Some(id) = self.dead else { return };
        self.receive(id, b"$5\r\nstray\r\n".to_vec());
        let now = self.world.now;
        self.world.relay.on_lane_closed(id, LaneEnd::Eof, now);
    }

    /// A picture of where the primaries are: newer, or of an older epoch; on one node or the other.
    pub(super) fn publish(&mut self) {
        let bits = self.below(256);
        if bits & 128 == 0 {
            self.epoch += 1;
        }
        self.hand_over(|shard| match bits >> (2 * shard) & 3 {
            0 => None,
            1 => Some(format!("/t{shard}")),
            _ => Some(format!("/s{shard}")),
        });
    }

    pub(super) fn hand_over(&mut self, primary: impl Fn(usize) -> Option<String>) {
        let shard = |shard| {
            ShardTopology::fixed(primary(shard).map(|path| NodeEndpoint::Unix(path.into())))
        };
        let shards = (0..SHARDS).map(shard).collect();
        let (epoch, config) = (self.epoch, self.world.relay.config.clone());
        let topology = Topology { epoch, config, pools: vec![PoolTopology { shards }] };
        let now = self.world.now;
        self.world.relay.on_topology(topology.into(), now);
    }
}
