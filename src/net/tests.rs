//! The ring on socket pairs, with all features and with none: an older kernel must deliver the same
//! bytes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::event::{Event, Rest, SocketId};
use super::features::Features;
use super::ring::{Kind, Patience, Token};
use super::socket;
use super::sockets::Sockets;
use super::wake::WakeFd;
use crate::base::limits::{RECEIVE_BUFFERS, RING_COMPLETIONS, RING_SUBMISSIONS};
use crate::topology::NodeEndpoint;

/// Every way in which a kernel may be older.
fn each_kernel(test: impl Fn(Features)) {
    test(Features::ALL);
    test(Features { deferred: false, ..Features::ALL });
    test(Features { buffer_ring: false, ..Features::ALL });
    test(Features { multishot_receive: false, ..Features::ALL });
    test(Features { quiet_sends: false, ..Features::ALL });
    test(Features::PLAIN);
}

const STEP: Patience = Patience { max_us: 10_000, events: 1, gather_us: 0 };
/// 10 s of steps.
const STEPS_MAX: usize = 1000;

/// A core's sockets, and what was told of them.
struct World {
    sockets: Sockets,
    received: Vec<(SocketId, Vec<u8>)>,
    /// Everything but bytes.
    others: Vec<Event>,
}

impl World {
    fn new(features: Features) -> World {
        let sockets = Sockets::new(features).unwrap();
        assert_eq!(sockets.features(), features, "this kernel has everything");
        World { sockets, received: Vec::new(), others: Vec::new() }
    }

    /// Turns until `done`, at most 10 s.
    fn until(&mut self, done: impl Fn(&World) -> bool) {
        for _ in 0..STEPS_MAX {
            if done(self) {
                return;
            }
            self.sockets.enter(STEP).unwrap();
            self.take_events();
        }
        panic!("not within {STEPS_MAX} steps: {:?}", self.others);
    }

    fn take_events(&mut self) {
        while let Some(event) = self.sockets.next_event() {
            match event {
                Event::Bytes { socket, bytes } => {
                    self.received.push((socket, self.sockets.bytes(&bytes).to_vec()));
                    self.sockets.give_back(bytes);
                }
                other => self.others.push(other),
            }
        }
    }

    fn pair(&mut self) -> (SocketId, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (self.sockets.add(OwnedFd::from(near)).unwrap(), far)
    }

    fn bytes_of(&self, id: SocketId) -> Vec<u8> {
        let of_it = self.received.iter().filter(|(from, _)| *from == id);
        of_it.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }

    fn sent(&self, id: SocketId) -> usize {
        let of_it = self.others.iter().map(|event| match event {
            Event::Sent { socket, bytes, .. } if *socket == id => *bytes,
            _ => 0,
        });
        of_it.sum()
    }

    fn has_ended(&self, id: SocketId) -> bool {
        self.others
            .iter()
            .any(|event| matches!(event, Event::Ended { socket, errno: 0 } if *socket == id))
    }
}

/// Bytes that differ at every place.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n ^ (n >> 8) ^ (n >> 16)) as u8).collect()
}

#[test]
fn bytes_arrive_in_order_and_every_buffer_goes_back() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, mut far) = world.pair();
        world.sockets.receive(id);
        let sent = pattern(3_000_000);
        let expected = sent.clone();
        let writer = std::thread::spawn(move || far.write_all(&sent));
        world.until(|world| world.has_ended(id));
        writer.join().unwrap().unwrap();
        assert_eq!(world.bytes_of(id), expected, "{features}");
        assert_eq!(world.sockets.buffers_taken(), 0);
    });
}

#[test]
fn what_is_kept_stays_as_it_is_while_more_arrives() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, mut far) = world.pair();
        let (out, mut sink) = world.pair();
        world.sockets.receive(id);
        let sent = pattern(3_000_000);
        let expected = sent.clone();
        let writer = std::thread::spawn(move || far.write_all(&sent));
        let mut kept = Vec::new();
        'until_the_end: for _ in 0..STEPS_MAX {
            world.sockets.enter(STEP).unwrap();
            while let Some(event) = world.sockets.next_event() {
                match event {
                    Event::Bytes { bytes, .. } => kept.push(world.sockets.keep(bytes)),
                    Event::Ended { .. } => break 'until_the_end,
                    other => world.others.push(other),
                }
            }
        }
        writer.join().unwrap().unwrap();
        assert_eq!(world.sockets.buffers_taken(), 0);
        assert!(kept.concat() == expected, "{features}");
        // Sent on, they are receive buffers again, and nothing for the heart.
        let chunks = kept.len();
        world.sockets.outgoing(out).unwrap().extend(kept);
        world.sockets.send(out);
        let reader = std::thread::spawn(move || {
            let mut heard = vec![0; 3_000_000];
            sink.read_exact(&mut heard).map(|()| heard)
        });
        world.until(|world| world.sent(out) == 3_000_000);
        assert!(reader.join().unwrap().unwrap() == expected, "{features}");
        assert!(chunks > 50 && world.sockets.next_spent().is_none());
    });
}

#[test]
fn more_senders_than_buffers_are_all_heard() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let pairs: Vec<_> = (0..2 * usize::from(RECEIVE_BUFFERS)).map(|_| world.pair()).collect();
        for (id, far) in &pairs {
            world.sockets.receive(*id);
            (&*far).write_all(b"hello").unwrap();
        }
        // All buffers are held before the first is given back: the others find none (ENOBUFS).
        let mut held = Vec::new();
        for _ in 0..STEPS_MAX {
            world.sockets.enter(STEP).unwrap();
            while let Some(event) = world.sockets.next_event() {
                match event {
                    Event::Bytes { bytes, .. } => held.push(bytes),
                    other => world.others.push(other),
                }
            }
            if held.len() == usize::from(RECEIVE_BUFFERS) {
                break;
            }
        }
        assert_eq!(held.len(), usize::from(RECEIVE_BUFFERS));
        assert_eq!(world.sockets.buffers_taken(), held.len());
        for received in held.drain(..) {
            assert_eq!(world.sockets.bytes(&received), b"hello");
            world.sockets.give_back(received);
        }
        world.until(|world| world.received.len() == usize::from(RECEIVE_BUFFERS));
        assert!(world.others.is_empty(), "{:?}", world.others);
        assert_eq!(world.sockets.buffers_taken(), 0);
    });
}

#[test]
fn a_paused_socket_is_silent_and_loses_nothing() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, mut far) = world.pair();
        let (other, mut far_other) = world.pair();
        world.sockets.receive(id);
        world.sockets.receive(other);
        far.write_all(b"one").unwrap();
        world.until(|world| world.bytes_of(id) == b"one");
        world.sockets.pause(id);
        world.sockets.enter(Patience::default()).unwrap();
        world.take_events();
        far.write_all(b"two").unwrap();
        far_other.write_all(b"here").unwrap();
        world.until(|world| world.bytes_of(other) == b"here");
        assert_eq!(world.bytes_of(id), b"one", "{features}");
        world.sockets.receive(id);
        world.until(|world| world.bytes_of(id) == b"onetwo");
        // Pausing and resuming within one turn must not end the reading.
        world.sockets.pause(id);
        world.sockets.receive(id);
        far.write_all(b"three").unwrap();
        world.until(|world| world.bytes_of(id) == b"onetwothree");
    });
}

#[test]
fn a_slow_reader_gets_every_byte_and_every_chunk_comes_back() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, mut far) = world.pair();
        let expected = pattern(5_000_000);
        let chunks = world.sockets.outgoing(id).unwrap();
        chunks.extend(expected.chunks(16 * 1024).map(<[u8]>::to_vec));
        chunks.push_back(Vec::new());
        let count = chunks.len();
        world.sockets.send(id);
        assert!(world.sockets.outgoing(id).is_none(), "nobody gets at chunks under way");
        world.sockets.enter(Patience::default()).unwrap();
        world.take_events();
        let wanted = expected.len();
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; wanted];
            far.read_exact(&mut all).map(|()| all)
        });
        world.until(|world| world.sent(id) == wanted);
        assert_eq!(reader.join().unwrap().unwrap(), expected, "{features}");
        assert!(world.sockets.outgoing(id).is_some());
        world.sockets.close(id);
        assert_eq!(std::iter::from_fn(|| world.sockets.next_spent()).count(), count);
    });
}

#[test]
fn a_write_that_goes_through_is_told_after_the_next_enter_and_not_before() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, mut far) = world.pair();
        world.sockets.outgoing(id).unwrap().push_back(b"hello".to_vec());
        world.sockets.send(id);
        world.take_events();
        assert!(world.others.is_empty(), "not submitted yet: {:?}", world.others);
        world.until(|world| world.sent(id) == 5);
        if features.quiet_sends {
            let quietly = |event: &Event| matches!(event, Event::Sent { rest: Rest::Nothing, .. });
            assert!(world.others.iter().all(quietly));
        }
        let mut hello = [0; 5];
        far.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
    });
}

#[test]
fn a_failed_write_is_told_once() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, far) = world.pair();
        drop(far);
        world.sockets.outgoing(id).unwrap().push_back(b"hello".to_vec());
        world.sockets.send(id);
        world.until(|world| !world.others.is_empty());
        match &world.others[..] {
            [Event::SendFailed { socket, errno: libc::EPIPE }] => assert_eq!(*socket, id),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_socket_closed_with_everything_under_way_is_buried_when_the_kernel_is_done() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, mut far) = world.pair();
        world.sockets.receive(id);
        world.sockets.outgoing(id).unwrap().push_back(pattern(4_000_000));
        world.sockets.send(id);
        world.sockets.enter(Patience::default()).unwrap();
        world.take_events();
        assert!(world.sockets.outgoing(id).is_none(), "waiting for the reader");
        far.write_all(b"too late").unwrap();
        world.others.clear();
        world.sockets.close(id);
        assert_eq!(world.sockets.open(), 1, "the kernel still has its chunks");
        // Its index is not free yet; another socket must not hear of its end.
        let (next, mut far_next) = world.pair();
        assert_ne!(next.index(), id.index());
        world.sockets.receive(next);
        far_next.write_all(b"mine").unwrap();
        world.until(|world| world.sockets.open() == 1 && !world.bytes_of(next).is_empty());
        assert_eq!(world.bytes_of(next), b"mine");
        assert!(world.others.is_empty(), "{:?}", world.others);
        assert!(world.bytes_of(id).is_empty());
        assert!(world.sockets.next_spent().is_some());
        assert_eq!(world.sockets.buffers_taken(), 0);
        // And the peer reads what had gone, then the end.
        let mut rest = Vec::new();
        let _ = far.read_to_end(&mut rest);
        assert!(rest.len() < 4_000_000);
        assert_eq!(rest, pattern(rest.len()));
    });
}

#[test]
fn last_words_leave_before_the_close() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let (id, mut far) = world.pair();
        world.sockets.outgoing(id).unwrap().push_back(b"bye".to_vec());
        world.sockets.send(id);
        if !features.quiet_sends {
            world.until(|world| world.sent(id) == 3);
        }
        world.sockets.close(id);
        world.until(|world| world.sockets.open() == 0);
        let mut words = String::new();
        far.read_to_string(&mut words).unwrap();
        assert_eq!(words, "bye");
    });
}

#[test]
fn more_entries_than_the_queue_holds_all_get_through() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let pairs: Vec<_> = (0..RING_SUBMISSIONS + 100).map(|_| world.pair()).collect();
        for (id, _) in &pairs {
            world.sockets.receive(*id);
        }
        for (_, far) in &pairs {
            (&*far).write_all(b"x").unwrap();
        }
        world.until(|world| world.received.len() == pairs.len());
    });
}

#[test]
fn more_completions_than_the_queue_holds_are_all_taken_in() {
    let mut world = World::new(Features::PLAIN);
    let (id, mut far) = world.pair();
    let nobody = Token { kind: Kind::Receive, index: 0xff_ffff, generation: 0 };
    for _ in 0..RING_COMPLETIONS + 1000 {
        // Each completes with ENOENT.
        world.sockets.cancel(nobody);
    }
    world.sockets.receive(id);
    far.write_all(b"heard").unwrap();
    world.until(|world| world.bytes_of(id) == b"heard");
    world.sockets.outgoing(id).unwrap().push_back(b"answer".to_vec());
    world.sockets.send(id);
    world.until(|world| world.sent(id) == 6);
}

#[test]
fn connections_are_made_refused_and_accepted() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let door = world.sockets.add_listener(OwnedFd::from(listener));
        world.sockets.accept(door);
        let mut lanes = Vec::new();
        for _ in 0..3 {
            let (descriptor, address) = socket::for_lane(&NodeEndpoint::Tcp(address)).unwrap();
            let id = world.sockets.add(descriptor).unwrap();
            world.sockets.connect(id, address);
            lanes.push(id);
        }
        let both = |world: &World| {
            let count =
                |wanted: fn(&Event) -> bool| world.others.iter().filter(|e| wanted(e)).count();
            count(|event| matches!(event, Event::Accepted { .. })) == 3
                && count(|event| matches!(event, Event::Connected { .. })) == 3
        };
        world.until(both);
        world.others.clear();
        world.sockets.stop_accepting(door);
        // Closed as soon as the kernel lets go of it: whoever comes now is refused.
        world.until(|_| TcpStream::connect(address).is_err());
        world.others.clear();
        let (descriptor, refused) = socket::for_lane(&NodeEndpoint::Tcp(address)).unwrap();
        let id = world.sockets.add(descriptor).unwrap();
        world.sockets.connect(id, refused);
        world.until(|world| !world.others.is_empty());
        match &world.others[..] {
            [Event::ConnectFailed { socket, errno: libc::ECONNREFUSED }] => assert_eq!(*socket, id),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_connect_that_nobody_answers_can_be_closed() {
    each_kernel(|features| {
        let mut world = World::new(features);
        // A backlog of one that is full: further connects wait.
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        let ids: Vec<_> = (0..4)
            .map(|_| {
                let (descriptor, to) = socket::for_lane(&NodeEndpoint::Tcp(address)).unwrap();
                let id = world.sockets.add(descriptor).unwrap();
                world.sockets.connect(id, to);
                id
            })
            .collect();
        world.sockets.enter(STEP).unwrap();
        world.take_events();
        assert!(world.others.len() < 4, "{:?}", world.others);
        world.others.clear();
        ids.into_iter().for_each(|id| world.sockets.close(id));
        world.until(|world| world.sockets.open() == 0);
        assert!(world.others.is_empty(), "{:?}", world.others);
    });
}

#[test]
fn a_wake_is_told_every_time() {
    each_kernel(|features| {
        let mut world = World::new(features);
        let wake = WakeFd::new().unwrap();
        world.sockets.watch(wake.clone());
        for round in 1..=3 {
            let from_elsewhere = wake.clone();
            std::thread::spawn(move || from_elsewhere.wake()).join().unwrap();
            world.until(|world| world.others.len() == round);
        }
        assert!(world.others.iter().all(|event| matches!(event, Event::Woken)));
    });
}

#[test]
fn a_ring_dropped_with_everything_under_way_closes_every_connection() {
    each_kernel(|features| {
        let mut world = World::new(features);
        world.sockets.watch(WakeFd::new().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = world.sockets.add_listener(OwnedFd::from(listener));
        world.sockets.accept(door);
        let (id, mut far) = world.pair();
        world.sockets.receive(id);
        world.sockets.outgoing(id).unwrap().push_back(pattern(4_000_000));
        world.sockets.send(id);
        world.sockets.enter(Patience::default()).unwrap();
        drop(world);
        let mut rest = Vec::new();
        let _ = far.read_to_end(&mut rest);
        assert!(rest.len() < 4_000_000);
    });
}

#[test]
fn user_data_carries_its_token_there_and_back() {
    for kind in [
        Kind::Accept,
        Kind::Receive,
        Kind::Send,
        Kind::QuietSend,
        Kind::Connect,
        Kind::Wake,
        Kind::Other,
    ] {
        for (index, generation) in [(0, 0), (1, 2), (0xff_ffff, u32::MAX)] {
            let token = Token { kind, index, generation };
            assert_eq!(Token::from_user_data(token.to_user_data()), token);
        }
    }
}
