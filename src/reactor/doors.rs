//! Doors: the listeners of a core, as the configuration in force wants them.
//!
//! A door stays open as long as its address stands in the configuration, whichever pool is behind
//! it: what waits in its queue is lost to nobody.

use std::sync::Arc;

use super::CoreEvent;
use super::conn::Door;
use super::core::Core;
use super::heart::Heart;
use crate::base::ids::PoolId;
use crate::config::model::LogLevel;
use crate::net::listen::{self, Listener};
use crate::stats::cells::PoolMetric;
use crate::topology::Topology;

impl<H: Heart> Core<H> {
    pub(super) fn knows(&self, pool: PoolId) -> bool {
        pool.index() < self.config.pools.len()
    }

    /// A new picture, and what its configuration says of the core itself.
    pub(super) fn follow(&mut self, topology: Arc<Topology>) {
        let config = topology.config.clone();
        self.heart.on_topology(topology, self.now);
        if Arc::ptr_eq(&config, &self.config) {
            return;
        }
        self.spin_us = config.proxy.spin_us;
        self.pace.set_batch_us(config.proxy.batch_us);
        self.config = config.clone();
        (self.log)(CoreEvent::Config(config));
        for at in 0..self.doors.len() {
            self.follow_door(at);
        }
        for letter in std::mem::take(&mut self.early) {
            self.read_letter(letter);
        }
    }

    /// Keeps a door for the pool that has its address now; closes one that no pool has.
    fn follow_door(&mut self, at: usize) {
        let config = self.config.clone();
        let Some(door) = self.doors.get_mut(at).filter(|door| !door.closed) else { return };
        let listeners = |pool| self.stats.pool(pool, PoolMetric::Listeners);
        let mut served = config.numbered();
        let Some((id, pool)) = served.find(|(_, pool)| pool.listen.contains(&door.at)) else {
            door.closed = true;
            self.sockets.stop_accepting(door.id);
            return listeners(door.pool).sub(1);
        };
        listeners(door.pool).sub(1);
        listeners(id).add(1);
        door.pool = id;
        let tuned = self.sockets.listener(door.id).map(|socket| listen::tune(socket, pool));
        if let Some(Err(error)) = tuned {
            let text = format!("listen {}: {error}; it goes on as it was", door.at);
            self.note(LogLevel::Warn, text);
        }
    }

    /// A door that was not there at the start.
    pub(super) fn open_door(&mut self, listener: Listener) {
        self.stats.pool(listener.pool, PoolMetric::Listeners).add(1);
        self.add_door(listener);
    }

    pub(super) fn add_door(&mut self, listener: Listener) {
        let id = self.sockets.add_listener(listener.socket);
        if self.drain_until_us.is_none() {
            self.sockets.accept(id);
        }
        self.doors.push(Door { id, pool: listener.pool, at: listener.at, closed: false });
    }
}
