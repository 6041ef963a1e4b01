//! Lanes: connected, lost and closed as the heart asks. The heart decides when and where to.

use super::conn::Conn;
use super::core::Core;
use super::heart::Heart;
use crate::base::ids::LaneId;
use crate::net::event::SocketId;
use crate::net::socket;
use crate::relay::api::LaneEnd;
use crate::topology::NodeEndpoint;

impl<H: Heart> Core<H> {
    /// The socket of a lane, unless the id is of an earlier attempt.
    pub(super) fn lane_socket(&self, lane: LaneId) -> Option<SocketId> {
        let socket = (*self.lanes.get(lane.index as usize)?)?;
        match self.conn(socket) {
            Conn::Lane { id } if id == lane => Some(socket),
            _ => None,
        }
    }

    pub(super) fn connect_lane(&mut self, lane: LaneId, endpoint: &NodeEndpoint) {
        let failed = match socket::for_lane(endpoint) {
            Ok((descriptor, address)) => match self.sockets.add(descriptor) {
                Ok(socket) => {
                    self.sockets.connect(socket, address);
                    self.set_conn(socket, Conn::Lane { id: lane });
                    let index = lane.index as usize;
                    if self.lanes.len() <= index {
                        self.lanes.resize(index + 1, None);
                    }
                    debug_assert!(self.lanes[index].is_none(), "closed before connected again");
                    self.lanes[index] = Some(socket);
                    return;
                }
                Err(_) => libc::EMFILE,
            },
            Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
        };
        self.heart.on_lane_closed(lane, LaneEnd::Error(failed), self.now);
    }

    pub(super) fn on_connected(&mut self, socket: SocketId) {
        if let Conn::Lane { id } = self.conn(socket) {
            self.sockets.receive(socket);
            self.heart.on_lane_open(id, self.now);
        }
    }

    /// The other end has gone; `errno` 0: it said so.
    pub(super) fn lose_lane(&mut self, socket: SocketId, lane: LaneId, errno: i32) {
        self.forget_lane(socket, lane);
        let end = if errno == 0 { LaneEnd::Eof } else { LaneEnd::Error(errno) };
        self.heart.on_lane_closed(lane, end, self.now);
    }

    pub(super) fn close_lane(&mut self, lane: LaneId) {
        if let Some(socket) = self.lane_socket(lane) {
            self.forget_lane(socket, lane);
        }
    }

    fn forget_lane(&mut self, socket: SocketId, lane: LaneId) {
        self.sockets.close(socket);
        self.set_conn(socket, Conn::Free);
        if let Some(slot) = self.lanes.get_mut(lane.index as usize) {
            *slot = None;
        }
    }
}
