//! The end of a simulation: all is well again, and nothing may be left.

use crate::relay::api::ClientEnd;
use crate::relay::lane::LaneState;
use crate::relay::sim_model::Node;
use crate::relay::sim_tests::{SHARDS, Simulation};

impl Simulation {
    /// All is well again: everybody gets what is owed to them, and nothing is left behind.
    pub(super) fn calm(&mut self) {
        self.calming = true;
        for store in &mut self.stores {
            (store.silent, store.down, store.loading) = (false, false, false);
            store.wild = None;
        }
        if let Some(sentinels) = &mut self.sentinels {
            sentinels.paused = [false; SHARDS];
        }
        if let Some(replicas) = &mut self.replicas {
            replicas.calm();
        }
        self.verify_all();
        self.epoch += 1;
        let known = |node: &Option<Node>| Some(node.unwrap_or(Node::First));
        self.primaries = self.primaries.iter().map(known).collect();
        self.hand_over(&self.primaries.clone());
        self.settle();
        self.executed.check_transactions();
        self.check_caches();
        if self.lose_trackers() {
            self.settle();
            self.check_caches();
        }
        self.check_nothing_is_left();
    }

    /// Until nothing is owed to anybody.
    fn settle(&mut self) {
        let mut quiet_rounds = 0;
        for _ in 0..4_000 {
            self.turn();
            self.verify_suspects();
            for at in (0..self.players.len()).rev() {
                self.players[at].deaf = false;
                self.play(at, 100_000);
            }
            self.turn();
            for at in (0..self.wires.len()).rev() {
                if at < self.wires.len() {
                    self.serve(at, 100_000);
                }
            }
            // Then four seconds more: what was lost is connected again, what was late has come.
            let owed = self.players.iter().any(|player| self.is_owed(player));
            quiet_rounds = if owed { 0 } else { quiet_rounds + 1 };
            self.world.now.mono_us += if owed { 10_000 } else { 100_000 };
            let asked = self.world.relay.lanes.iter().any(|lane| !lane.inflight.is_empty());
            if quiet_rounds > 40 && !asked {
                break;
            }
        }
    }

    fn check_nothing_is_left(&mut self) {
        for player in &self.players {
            assert!(
                player.expects.is_empty(),
                "still owed: {:.300?} ({} bytes unsaid, paused: {})",
                player.expects,
                player.to_say.len(),
                player.paused
            );
        }
        self.all_hear();
        assert_eq!(self.relay().buffered_bytes, 0, "bytes that are accounted for and not there");
        assert_eq!(self.relay().lane_bytes, 0, "the same, of lanes");
        while let Some(player) = self.players.first() {
            self.leave(player.id, ClientEnd::Eof);
        }
        self.nobody_listens();
        self.check_all_given_back();
        let relay = &self.world.relay;
        assert_eq!((relay.buffered_bytes, relay.gathers.len(), relay.naps.len()), (0, 0, 0));
        for lane in &relay.lanes {
            let ready = matches!(lane.state, LaneState::Ready | LaneState::Idle);
            assert!(ready && lane.inflight.is_empty() && lane.feeders.is_empty(), "{lane:?}");
            assert_eq!((lane.expired, lane.output_bytes(), lane.tail.len()), (0, 0, 0));
        }
    }
}
