use super::*;
use crate::control::sentinel::hearing::Heard;
use crate::control::sentinel::verdict::{Said, Voice, Word};

const OLD: &str = "10.0.0.1";
const NEW: &str = "10.0.0.2";

fn ms(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn address(host: &str) -> Address {
    Address { host: host.to_owned(), port: 6379 }
}

fn socket(host: &str) -> SocketAddr {
    SocketAddr::new(host.parse().unwrap(), 6379)
}

fn said(host: &str, config_epoch: u64) -> Word {
    Word::Known(Said {
        address: address(host),
        config_epoch,
        failing_over: false,
        other_sentinels: 2,
        quorum: 2,
        down_after_ms: 1_000,
    })
}

/// A master with three sentinels that answer when they are told to.
struct World {
    master: Master,
    now: Moment,
    words: [Option<(Moment, Word)>; 3],
    /// Sentinels that owe no answer.
    reachable: [bool; 3],
}

impl World {
    fn new(quorum_required: bool) -> World {
        let rules = Rules { quorum_required, quorum_grace: ms(2_000), hold: ms(5_000) };
        let master = Master::new(rules, ms(0));
        World { master, now: ms(0), words: [const { None }; 3], reachable: [true; 3] }
    }

    /// One that has verified OLD with epoch 1.
    fn settled(quorum_required: bool) -> World {
        let mut world = World::new(quorum_required);
        world.all_say(OLD, 1);
        let number = world.looks_at(OLD);
        assert_eq!(world.is_master(number, OLD), Some(Change::Moved { from: None }));
        world
    }

    fn say(&mut self, sentinel: usize, host: &str, epoch: u64) {
        self.words[sentinel] = Some((self.now, said(host, epoch)));
    }

    fn all_say(&mut self, host: &str, epoch: u64) {
        (0..3).for_each(|sentinel| self.say(sentinel, host, epoch));
    }

    fn after(&mut self, pause: u64) -> &mut World {
        self.now += ms(pause);
        self
    }

    fn step(&mut self) -> Option<Act> {
        let heard = self
            .words
            .iter()
            .flatten()
            .map(|(asked, word)| Heard { asked: *asked, voice: Voice { word, tilt: false } });
        let answered = self.words.iter().zip(self.reachable).filter(|(_, reachable)| *reachable);
        let complete = answered.map(|(word, _)| word.as_ref().map_or(ms(0), |(asked, _)| *asked));
        let hearing = Hearing {
            heard: heard.collect(),
            configured: 3,
            complete_since: complete.min().unwrap_or(self.now),
        };
        self.master.step(&hearing, self.now)
    }

    #[track_caller]
    fn looks_at(&mut self, host: &str) -> u64 {
        match self.step() {
            Some(Act::Look { number, address, .. }) => {
                assert_eq!(address.host, host);
                number
            }
            other => panic!("no look but {other:?}"),
        }
    }

    fn is_master(&mut self, number: u64, host: &str) -> Option<Change> {
        match self.master.seen(number, Seen::Master(socket(host)), self.now)? {
            Act::Publish(change) => {
                // As the watcher does when it has told it.
                self.master.noticed = None;
                Some(change)
            }
            Act::Look { .. } => panic!("a look after a look"),
        }
    }

    fn is_none(&mut self, number: u64) {
        let seen = Seen::Other("no answer in time".to_owned());
        assert_eq!(self.master.seen(number, seen, self.now), None);
    }

    fn verified(&self) -> u64 {
        self.master.in_force.as_ref().unwrap().verified
    }
}

#[test]
fn a_promotion_pauses_the_old_primary_until_the_new_one_is_verified() {
    let mut world = World::settled(false);
    world.after(100).master.promoting(&address(NEW), ms(100));
    world.all_say(OLD, 1);
    assert_eq!(world.step(), None, "that is not the primary in force");
    world.master.promoting(&address(OLD), ms(100));
    assert_eq!(world.step(), Some(Act::Publish(Change::Paused)));
    assert_eq!(world.master.in_force.as_ref().unwrap().paused, Some(true));
    world.after(900).all_say(OLD, 1);
    assert_eq!(world.step(), None, "it is neither verified again nor paused again");
    world.after(10).all_say(NEW, 2);
    let number = world.looks_at(NEW);
    let from = Some(socket(OLD));
    assert_eq!(world.is_master(number, NEW), Some(Change::Moved { from }));
    assert_eq!(world.master.in_force.as_ref().unwrap().paused, Some(false));
}

#[test]
fn a_promotion_that_is_given_up_or_takes_too_long_ends_the_pause_by_a_verification() {
    let abort = "-failover-abort-slave-timeout";
    for (pause, event) in [(100, Some(abort)), (2_600, None)] {
        let mut world = World::settled(false);
        world.master.promoting(&address(OLD), ms(0));
        assert_eq!(world.step(), Some(Act::Publish(Change::Paused)));
        world.after(pause);
        if let Some(event) = event {
            world.master.signal(event, true, world.now);
        }
        assert_eq!(world.step(), None, "the answers are from before");
        world.after(1).all_say(OLD, 1);
        let number = world.looks_at(OLD);
        assert_eq!(world.is_master(number, OLD), Some(Change::Confirmed));
        assert_eq!(world.master.in_force.as_ref().unwrap().paused, Some(false));
    }
}

#[test]
fn nothing_is_published_before_a_majority_and_role_say_so() {
    let mut world = World::new(false);
    assert_eq!(world.step(), None);
    world.say(0, OLD, 1);
    assert_eq!(world.after(100).step(), None);
    assert!(matches!(world.master.refusal, Some(Refusal::TooFew { answered: 1, known: 3 })));
    world.say(1, OLD, 1);
    let number = world.looks_at(OLD);
    assert_eq!(world.step(), None, "one look at a time");
    world.is_none(number);
    assert_eq!(world.step(), None, "not at once again");
    let number = world.after(20).looks_at(OLD);
    assert_eq!(world.is_master(number, OLD), Some(Change::Moved { from: None }));
    assert_eq!((world.verified(), world.master.doubt.is_none()), (1, true));
}

#[test]
fn doubt_is_removed_only_by_what_was_asked_for_after_it() {
    let mut world = World::settled(false);
    world.after(100).all_say(OLD, 1);
    world.after(1).master.suspect(1, false, "EOF", ms(101));
    assert_eq!(world.step(), None, "the answers are from before");
    world.after(1).all_say(OLD, 1);
    let before = world.looks_at(OLD);
    // Another core loses its connection while the node is being looked at.
    let now = world.after(1).now;
    world.master.suspect(1, false, "EOF", now);
    assert_eq!(world.is_master(before, OLD), None);
    assert_eq!(world.step(), None);
    world.after(1).all_say(OLD, 1);
    let number = world.looks_at(OLD);
    assert_eq!(world.is_master(number, OLD), Some(Change::Confirmed));
    assert_eq!(world.verified(), 2);
    // A core that had not heard of it yet means the one before; a reminder means nothing new.
    world.master.suspect(1, false, "EOF", world.now);
    assert!(world.master.doubt.is_none());
    world.master.suspect(2, true, "EOF", world.now);
    assert!(world.master.doubt.is_some(), "a reminder of what was lost on the way");
}

#[test]
fn a_newer_epoch_is_acted_on_with_the_answers_that_are_there() {
    let mut world = World::settled(false);
    // The old primary hangs: a look at it is under way and takes long.
    world.after(50).master.suspect(1, false, "timed out", ms(50));
    world.after(1).all_say(OLD, 1);
    let hanging = world.looks_at(OLD);
    world.after(5).say(2, NEW, 2);
    let number = world.looks_at(NEW);
    assert_eq!(world.is_master(hanging, OLD), None, "overtaken");
    let from = Some(socket(OLD));
    assert_eq!(world.is_master(number, NEW), Some(Change::Moved { from }));
    assert_eq!((world.verified(), world.master.in_force.as_ref().unwrap().config_epoch), (2, 2));
    // The two that have not heard of it yet are no reason to go back.
    world.after(10).say(0, OLD, 1);
    world.say(1, OLD, 1);
    assert_eq!(world.step(), None);
    // Nor is it, for long, when the third is gone.
    world.words[2] = None;
    for _ in 0..100 {
        world.after(100).say(0, OLD, 1);
        world.say(1, OLD, 1);
        if let Some(Act::Look { number, address, .. }) = world.step() {
            assert_eq!(address.host, NEW, "the routine");
            world.is_master(number, NEW);
        }
    }
    assert_eq!(world.verified(), 2);
}

#[test]
fn the_old_address_waits_for_all_sentinels_that_can_answer() {
    let mut world = World::settled(false);
    world.after(50).master.suspect(1, false, "READONLY", ms(50));
    world.after(1).say(0, OLD, 1);
    world.say(1, OLD, 1);
    assert_eq!(world.step(), None, "the third may know better");
    world.reachable[2] = false;
    world.looks_at(OLD);
    let mut world = World::settled(false);
    world.after(50).master.suspect(1, false, "READONLY", ms(50));
    world.after(1).say(0, OLD, 1);
    world.say(1, OLD, 1);
    assert_eq!(world.after(20).step(), None);
    world.after(20).looks_at(OLD);
}

#[test]
fn during_a_failover_the_old_address_is_not_verified_again() {
    let mut world = World::settled(false);
    world.after(50).master.suspect(1, false, "EOF", ms(50));
    let failing = match said(OLD, 1) {
        Word::Known(said) => Word::Known(Said { failing_over: true, ..said }),
        Word::Unknown => Word::Unknown,
    };
    for _ in 0..20 {
        world.after(100).all_say(OLD, 1);
        world.words[0] = Some((world.now, failing.clone()));
        assert_eq!(world.step(), None);
    }
    world.after(2_000).all_say(OLD, 1);
    world.words[0] = Some((world.now, failing));
    world.looks_at(OLD);
}

#[test]
fn without_sentinels_role_alone_decides_after_a_grace() {
    let mut world = World::settled(false);
    world.after(5_000);
    let now = world.now;
    world.master.suspect(1, false, "EOF", now);
    world.reachable = [false; 3];
    assert_eq!(world.step(), None);
    assert_eq!(world.after(900).step(), None);
    assert_eq!(world.master.refusal, Some(Refusal::Unreachable));
    let number = world.after(200).looks_at(OLD);
    world.is_none(number);
    let number = world.after(20).looks_at(OLD);
    assert_eq!(world.is_master(number, OLD), Some(Change::ConfirmedAlone));
    assert_eq!(world.verified(), 2);
    assert!(world.master.in_force.as_ref().unwrap().writable);
}

#[test]
fn a_required_quorum_that_is_lost_refuses_writes_until_it_is_back_and_has_verified() {
    let mut world = World::settled(true);
    world.after(1_500).say(0, OLD, 1);
    assert!(!matches!(world.step(), Some(Act::Publish(_))), "one answers, two are late");
    world.after(600);
    assert_eq!(world.step(), Some(Act::Publish(Change::ReadOnly)));
    assert_eq!(world.verified(), 1);
    let now = world.now;
    world.master.suspect(1, false, "EOF", now);
    let number = world.after(1_100).looks_at(OLD);
    assert_eq!(world.is_master(number, OLD), Some(Change::ConfirmedAlone));
    assert!(!world.master.in_force.as_ref().unwrap().writable);
    world.after(10).all_say(OLD, 1);
    assert_eq!(world.after(1).step(), None, "asked again");
    world.after(30).all_say(OLD, 1);
    let number = world.looks_at(OLD);
    assert_eq!(world.is_master(number, OLD), Some(Change::Confirmed));
    assert!(world.master.in_force.as_ref().unwrap().writable);
}

#[test]
fn a_node_in_force_is_looked_at_and_what_it_says_is_doubt() {
    let mut world = World::settled(false);
    world.after(3_100).all_say(OLD, 1);
    let number = world.looks_at(OLD);
    assert_eq!(world.is_master(number, OLD), None);
    assert!(world.master.doubt.is_none());
    world.after(3_100).all_say(OLD, 1);
    let number = world.looks_at(OLD);
    let seen = Seen::Other("its role is slave".to_owned());
    assert_eq!(world.master.seen(number, seen, world.now), None);
    assert_eq!(world.master.doubt.as_ref().unwrap().why, "ROLE: its role is slave");
}

#[test]
fn events_and_doubt_make_it_ask_often_and_long_trouble_seldom() {
    let mut world = World::settled(false);
    let asks = |world: &mut World, period: u64| {
        let mut asks = 0;
        for _ in 0..period {
            world.now += ms(1);
            asks += u32::from(world.master.take_ask(world.now, 1.0));
        }
        asks
    };
    assert!(asks(&mut world, 1_000) <= 1, "the routine asks");
    world.master.signal("+odown", true, world.now);
    let soon = asks(&mut world, 1_000);
    assert!((20..=25).contains(&soon), "{soon}");
    world.master.signal("-odown", true, world.now);
    assert!(asks(&mut world, 1_000) <= 1);
    world.master.suspect(1, false, "EOF", world.now);
    let long = asks(&mut world, 15_000);
    assert!((300..=330).contains(&long), "{long}");
    let seldom = asks(&mut world, 10_000);
    assert!((18..=22).contains(&seldom), "{seldom}");
}

#[test]
fn what_happens_to_a_replica_or_a_sentinel_is_not_the_masters_trouble() {
    let mut world = World::settled(false);
    world.master.signal("+sdown", false, world.now);
    assert!(!world.master.is_urgent(world.now));
    world.master.signal("+odown", true, world.now);
    world.master.signal("-sdown", false, world.now);
    assert!(world.master.is_urgent(world.now), "a sentinel that is back ends no trouble");
    assert_eq!(world.master.noticed.as_ref().unwrap().why, "+odown");
}

#[test]
fn what_is_verified_and_doubted_again_and_again_is_so_at_most_once_a_second() {
    let mut world = World::settled(false);
    world.after(6_000);
    let (begun, first) = (world.now, world.verified());
    while world.now < begun + ms(20_000) {
        world.after(5).all_say(OLD, 1);
        if world.master.doubt.is_none() {
            let verified = world.verified();
            world.master.suspect(verified, false, "ERR max number of clients", world.now);
        }
        if let Some(Act::Look { number, .. }) = world.step() {
            world.is_master(number, OLD);
        }
    }
    let times = world.verified() - first;
    assert!((20..=30).contains(&times), "{times}");
}

/// Sentinels that lag, fall silent and come back; nodes that die, come back as masters, are
/// demoted. What is published was a master when it was asked, after the doubt that it removes, at
/// the address of the newest epoch that a sentinel of the majority knew; an address once replaced
/// never returns without a newer epoch.
#[test]
fn no_course_of_events_publishes_what_was_not_verified() {
    for seed in 0..400_u64 {
        course(seed);
    }
}

fn course(seed: u64) {
    let mut state = seed;
    let mut below = move |bound: u64| {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    };
    let hosts = [OLD, NEW];
    let mut world = World::new(seed.is_multiple_of(3));
    // The truth: which host has which epoch; each sentinel knows an epoch not above it.
    let (mut epoch, mut known) = (1_u64, [1_u64; 3]);
    let host_of = |epoch: u64| hosts[(epoch % 2) as usize];
    let mut calls_itself_master = [true, true];
    let mut pending: Option<(u64, Address, Moment)> = None;
    let mut newest_published = 0;
    for _ in 0..600 {
        world.now += ms(1 + below(40));
        match below(14) {
            0 if below(4) == 0 => epoch += 1,
            1 => known[below(3) as usize] = epoch,
            2 => calls_itself_master[below(2) as usize] ^= true,
            3 => {
                let verified = world.master.in_force.as_ref().map_or(0, |f| f.verified);
                let before = verified.saturating_sub(below(2));
                world.master.suspect(before, below(2) == 0, "EOF", world.now);
            }
            4 => world.reachable[below(3) as usize] ^= true,
            5 => world.master.signal("+odown", true, world.now),
            _ => {}
        }
        for (sentinel, epoch) in known.into_iter().enumerate() {
            if world.reachable[sentinel] && below(2) == 0 {
                world.say(sentinel, host_of(epoch), epoch);
            }
        }
        if let Some((number, address, begun)) = pending.take_if(|_| below(3) == 0) {
            let at = hosts.iter().position(|host| *host == address.host).unwrap();
            let doubt = world.master.doubt.clone();
            let before = world.master.in_force.clone();
            let act = match calls_itself_master[at] {
                true => world.master.seen(number, Seen::Master(socket(&address.host)), world.now),
                false => world.master.seen(number, Seen::Other("slave".to_owned()), world.now),
            };
            if let Some(Act::Publish(change)) = act {
                let current = world.master.in_force.clone().unwrap();
                assert!(calls_itself_master[at], "seed {seed}: {change:?}");
                assert_eq!(current.at, socket(hosts[at]));
                assert_eq!(current.verified, before.as_ref().map_or(0, |b| b.verified) + 1);
                let stays = before.is_some_and(|before| before.at == current.at);
                assert!(!stays || begun >= doubt.unwrap().at, "seed {seed}: asked too early");
                assert!(stays || current.config_epoch >= newest_published, "seed {seed}");
                newest_published = newest_published.max(current.config_epoch);
            }
        }
        match world.step() {
            Some(Act::Look { number, address, .. }) => pending = Some((number, address, world.now)),
            Some(Act::Publish(change)) => assert_eq!(change, Change::ReadOnly, "seed {seed}"),
            None => {}
        }
    }
}
