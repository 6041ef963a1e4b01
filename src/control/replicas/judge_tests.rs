use super::*;

const MS: Duration = Duration::from_millis(1);

fn sample(role: &str, offset: i64, at_ms: u32) -> Sample {
    let info = format!(
        "# Replication\r\nrole:{role}\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\n\
         slave_repl_offset:{offset}\r\nmaster_replid:abc\r\nmaster_repl_offset:{offset}\r\n"
    );
    let mut facts = Facts::default();
    facts.read(&info);
    facts.read("loading:0\r\nasync_loading:0\r\n");
    let at = SocketAddr::from(([127, 0, 0, 1], 6379));
    Sample { at, when: MS * at_ms, round_trip: MS, facts }
}

fn primary(offset: i64, at_ms: u32) -> Primary {
    let mut primary = Primary::default();
    primary.take(Some(sample("master", offset, at_ms)));
    primary
}

/// What becomes of a fresh replica that says this, beside a primary at offset 1000.
fn standing(change: impl FnOnce(&mut Facts)) -> Result<u64, String> {
    let mut sample = sample("slave", 900, 0);
    change(&mut sample.facts);
    let mut track = Track::new();
    track.take(Ok(sample), &primary(1_000, 0), 100, MS);
    track.standing
}

#[test]
fn only_a_replica_in_sync_is_read_from() {
    assert_eq!(standing(|_| ()), Ok(100));
    assert_eq!(standing(|facts| facts.offset = 2_000), Ok(0), "asked a moment later");
    let why = |change: fn(&mut Facts)| standing(change).unwrap_err();
    assert_eq!(why(|facts| facts.offset = 899), "it lacks 101 bytes (replica_lag_max_bytes)");
    assert_eq!(why(|facts| facts.loading = true), "it is loading");
    assert_eq!(why(|facts| facts.syncing = true), "it is loading");
    assert_eq!(why(|facts| facts.link_up = false), "its link to the primary is down");
    assert_eq!(why(|facts| facts.role = "master".to_owned()), "its role is master");
    assert_eq!(why(|facts| facts.history = "def".to_owned()), "it follows another primary");
    assert_eq!(why(|facts| *facts = Facts::default()), "its role is ");
}

#[test]
fn what_the_primary_wrote_between_two_answers_is_no_lag() {
    let mut primary = primary(0, 0);
    primary.take(Some(sample("master", 1_000_000, 1_000)));
    let mut track = Track::new();
    let (early, late) = (sample("slave", 900_000, 900), sample("slave", 1_000_000, 1_100));
    track.take(Ok(early), &primary, 10, MS * 1_000);
    assert_eq!(track.standing, Ok(0));
    track.take(Ok(late), &primary, 10, MS * 1_100);
    assert_eq!(track.standing, Err("it lacks 100000 bytes (replica_lag_max_bytes)".to_owned()));
}

#[test]
fn without_a_primary_that_answers_nothing_is_read_from_replicas() {
    let mut track = Track::new();
    track.take(Ok(sample("slave", 900, 0)), &Primary::default(), 100, MS);
    assert_eq!(track.standing, Err("its primary has not answered yet".to_owned()));
    let primary = primary(1_000, 0);
    track.take(Ok(sample("slave", 900, 2_400)), &primary, 100, MS * 2_400);
    assert_eq!(track.standing, Ok(100));
    track.take(Ok(sample("slave", 900, 2_600)), &primary, 100, MS * 2_600);
    assert_eq!(track.standing, Err("its primary does not answer".to_owned()));
    let mut demoted = Primary::default();
    demoted.take(Some(sample("slave", 1_000, 0)));
    track.take(Ok(sample("slave", 900, 0)), &demoted, 100, MS);
    assert_eq!(track.standing, Err("the role of its primary is slave".to_owned()));
}

#[test]
fn one_that_misses_a_question_stays_and_one_that_is_gone_goes() {
    let (mut track, mut primary) = (Track::new(), primary(1_000, 0));
    let no_answer = || Err("no answer".to_owned());
    track.take(no_answer(), &primary, 100, MS);
    assert_eq!(track.standing, Err("no answer".to_owned()), "it was never there");
    track.take(Ok(sample("slave", 1_000, 1_000)), &primary, 100, MS * 1_000);
    primary.take(Some(sample("master", 1_000, 2_000)));
    track.take(no_answer(), &primary, 100, MS * 2_500);
    assert_eq!(track.standing, Ok(0));
    primary.take(Some(sample("master", 1_000, 3_000)));
    track.take(no_answer(), &primary, 100, MS * 3_501);
    assert_eq!(track.standing, Err("no answer".to_owned()));
}

/// Nothing arrives over its link, and the link does not know it yet.
#[test]
fn one_that_stands_still_while_its_primary_goes_on_is_cut_off() {
    let (mut track, mut primary) = (Track::new(), Primary::default());
    let mut look = |of_primary: i64, offset: i64, at_ms: u32| {
        primary.take(Some(sample("master", of_primary, at_ms)));
        track.take(Ok(sample("slave", offset, at_ms)), &primary, 1_000, MS * at_ms);
        track.standing.clone()
    };
    for second in 0..10 {
        assert_eq!(look(0, 0, second * 1_000), Ok(0), "nobody writes");
    }
    for second in 10..13 {
        assert_eq!(look(14, 0, second * 1_000), Ok(14));
    }
    let still = Err("it stands still, and its primary goes on".to_owned());
    assert_eq!(look(14, 0, 13_000), still);
    assert_eq!(look(28, 14, 14_000), Ok(14), "it moves again");
    for second in 15..30 {
        let offset = i64::from(second) * 14;
        assert_eq!(look(offset, offset - 14, second * 1_000), Ok(14), "behind, but moving");
    }
}

#[test]
fn near_is_what_is_about_as_near_as_the_nearest_and_does_not_flap() {
    let way = |us: u64, near| Way { mean: Some(Duration::from_micros(us)), near };
    let near = |ways: &[(u64, bool)]| {
        let mut ways: Vec<Way> = ways.iter().map(|(us, near)| way(*us, *near)).collect();
        find_near(ways.iter_mut());
        ways.iter().map(|way| way.near).collect::<Vec<_>>()
    };
    assert_eq!(near(&[(100, false), (300, false), (2_000, false)]), [true, true, false]);
    assert_eq!(near(&[(100, true), (360, false), (699, true)]), [true, false, true]);
    assert_eq!(near(&[(100, true), (701, true)]), [true, false]);
    assert_eq!(near(&[(40_000, false), (300, true)]), [false, true]);
    let mut unknown = [Way::default()];
    find_near(unknown.iter_mut());
    assert!(!unknown[0].near);
}
