//! What tests of replicas need: readers that check what they read, and a cable that can be cut.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{PATIENCE, Port, Proxy, Threads, Value, wait_until};

/// Reads of clients that write nothing; every reply has to be the value.
#[derive(Debug)]
pub struct Readers {
    stop: Arc<AtomicBool>,
    replies: Arc<AtomicU64>,
    threads: Threads,
}

impl Readers {
    pub fn start(proxy: &Proxy) -> Readers {
        let (stop, replies) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Threads::default();
        for _ in 0..8 {
            let (stop, replies, mut wire) = (stop.clone(), replies.clone(), proxy.client());
            threads.run(move || {
                let get = vec!["GET", "k"];
                let pipeline = vec![get.clone(), vec!["MGET", "k", "k"], get];
                while !stop.load(Ordering::SeqCst) {
                    for reply in wire.pipeline(&pipeline) {
                        let values = if let Value::Array(_) = reply { reply.items() } else { &[] };
                        let right = values.iter().all(|value| *value == Value::bulk("v"));
                        let right =
                            if values.is_empty() { reply == Value::bulk("v") } else { right };
                        assert!(right, "{reply:?}");
                        replies.fetch_add(1, Ordering::SeqCst);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        Readers { stop, replies, threads }
    }

    pub fn wait_for(&self, more: u64) {
        let wanted = self.replies.load(Ordering::SeqCst) + more;
        wait_until(PATIENCE, "right replies", || self.replies.load(Ordering::SeqCst) >= wanted);
    }

    pub fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.join();
    }
}

/// A cable between a replica and its primary that can be cut so that neither notices.
#[derive(Debug)]
pub struct Cable {
    pub at: Port,
    pub cut: Arc<AtomicBool>,
}

impl Cable {
    pub fn lay(to: std::net::SocketAddr) -> Cable {
        let at = Port::reserve();
        let listener = TcpListener::bind(at.address).expect("a listener");
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = cut.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(here), Ok(there)) = (stream, TcpStream::connect(to)) else { continue };
                for (mut from, mut to) in [
                    (here.try_clone().expect("a handle"), there.try_clone().expect("a handle")),
                    (there, here),
                ] {
                    let is_cut = is_cut.clone();
                    std::thread::spawn(move || {
                        let mut bytes = [0; 65_536];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            while is_cut.load(Ordering::SeqCst) {
                                std::thread::sleep(Duration::from_millis(5));
                            }
                            if to.write_all(&bytes[..count]).is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        });
        Cable { at, cut }
    }
}
