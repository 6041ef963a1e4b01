//! A port that the system chose and that nobody else gets while this is held.
//!
//! The port is bound, never listened on, with SO_REUSEADDR and SO_REUSEPORT: the server that it is
//! meant for can still bind it by number (redis-server and nutcracker set the first option,
//! corelay both), again after a restart too, but the kernel gives it to no other `bind(0)` and to
//! no outgoing connection. Without this, two proxies that happened on the same number would share
//! it silently by SO_REUSEPORT.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

#[derive(Debug)]
pub struct Port {
    pub address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// A port of 127.0.0.1.
    pub fn reserve() -> Port {
        Port::reserve_at("127.0.0.1:0".parse().expect("an address"))
    }

    /// A port of `::1`.
    pub fn reserve_v6() -> Port {
        Port::reserve_at("[::1]:0".parse().expect("an address"))
    }

    fn reserve_at(address: SocketAddr) -> Port {
        let held = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
            .expect("a socket");
        held.set_reuse_address(true).expect("SO_REUSEADDR");
        held.set_reuse_port(true).expect("SO_REUSEPORT");
        held.bind(&address.into()).expect("a free port");
        let address = held.local_addr().expect("a bound socket").as_socket().expect("an address");
        Port { address, _held: held }
    }

    pub fn number(&self) -> u16 {
        self.address.port()
    }
}
