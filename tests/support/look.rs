//! A look behind the proxy at one node. Sentinel closes all connections of a node that it promotes
//! or demotes; a look is then taken again on a new one.

use std::net::SocketAddr;

use super::{PATIENCE, Value, Wire, encode, wait_until};

#[derive(Debug)]
pub struct Look {
    address: SocketAddr,
    password: Option<&'static str>,
    wire: Option<Wire>,
}

impl Look {
    pub fn at(address: SocketAddr, password: Option<&'static str>) -> Look {
        Look { address, password, wire: None }
    }

    /// The replies to requests of one moment; `None` if the node does not answer now.
    pub fn try_ask(&mut self, requests: &[&[&str]]) -> Option<Vec<Value>> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.connect()?,
        };
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        wire.try_send(&bytes).ok()?;
        let replies = requests.iter().map(|_| wire.next().ok()).collect::<Option<Vec<Value>>>()?;
        self.wire = Some(wire);
        Some(replies)
    }

    fn connect(&self) -> Option<Wire> {
        let mut wire = Wire::try_connect(self.address).ok()?;
        if let Some(password) = self.password {
            wire.try_send(&encode(&["AUTH", password])).ok()?;
            wire.next().ok()?;
        }
        Some(wire)
    }

    /// The same, asked until the node answers.
    pub fn ask(&mut self, requests: &[&[&str]]) -> Vec<Value> {
        let mut found = None;
        wait_until(PATIENCE, "the node answers", || {
            found = self.try_ask(requests);
            found.is_some()
        });
        found.expect("what was waited for")
    }
}
