use super::*;

const OLD: (&str, u16) = ("10.0.0.1", 6379);
const NEW: (&str, u16) = ("10.0.0.2", 6379);

fn address((host, port): (&str, u16)) -> Address {
    Address { host: host.to_owned(), port }
}

/// What a sentinel says that knows two others.
fn said(at: (&str, u16), config_epoch: u64) -> Word {
    Word::Known(Said {
        address: address(at),
        config_epoch,
        failing_over: false,
        other_sentinels: 2,
        quorum: 2,
        down_after_ms: 1_000,
    })
}

fn of(words: &[Word], published: Option<u64>) -> Result<Choice, Refusal> {
    let voices: Vec<_> = words.iter().map(|word| Voice { word, tilt: false }).collect();
    verdict(&voices, 3, published)
}

fn chosen(words: &[Word], published: Option<u64>) -> String {
    of(words, published).map_or_else(|refusal| refusal.to_string(), |c| c.address.to_string())
}

#[test]
fn a_majority_has_to_answer_and_the_highest_epoch_wins() {
    assert_eq!(chosen(&[said(OLD, 1), said(OLD, 1)], None), "10.0.0.1:6379");
    assert_eq!(chosen(&[said(OLD, 1), said(NEW, 2)], None), "10.0.0.2:6379");
    assert_eq!(chosen(&[said(OLD, 1), said(OLD, 1), said(NEW, 2)], Some(1)), "10.0.0.2:6379");
    let few = Refusal::TooFew { answered: 1, known: 3 };
    assert_eq!(of(&[said(NEW, 9)], None), Err(few.clone()));
    assert_eq!(of(&[said(NEW, 9), Word::Unknown], None), Err(few), "the one names two others");
}

#[test]
fn sentinels_that_are_named_count_and_those_that_do_not_know_the_master_do_not() {
    let voice = |word| Voice { word, tilt: false };
    let word = said(OLD, 1);
    let five = match said(OLD, 1) {
        Word::Known(said) => Word::Known(Said { other_sentinels: 4, ..said }),
        Word::Unknown => Word::Unknown,
    };
    let two = [voice(&word), voice(&five)];
    assert_eq!(verdict(&two, 1, None), Err(Refusal::TooFew { answered: 2, known: 5 }));
    let unknown = Word::Unknown;
    // Five are configured, three of them watch this master.
    let five = [voice(&word), voice(&word), voice(&unknown), voice(&unknown)];
    assert_eq!(verdict(&five, 5, None).map(|choice| choice.unanimous), Ok(false));
    assert_eq!(verdict(&[], 3, None), Err(Refusal::Unreachable));
    assert_eq!(of(&[Word::Unknown, Word::Unknown], None), Err(Refusal::UnknownMaster));
}

#[test]
fn placeholders_are_no_addresses() {
    for bad in [("0.0.0.0", 6379), ("::", 6379), ("", 6379), ("10.0.0.9", 0), ("a b", 1)] {
        let words = [said(bad, 1), said(bad, 1)];
        assert_eq!(of(&words, None), Err(Refusal::Placeholder(address(bad))), "{bad:?}");
        // Beside one that has an address it does not matter, in a newer epoch it does.
        assert_eq!(chosen(&[said(bad, 1), said(OLD, 1)], None), "10.0.0.1:6379");
        assert!(matches!(of(&[said(bad, 2), said(OLD, 1)], None), Err(Refusal::Placeholder(_))));
    }
    assert!(address(("redis-1.example", 6379)).is_usable());
}

#[test]
fn a_sentinel_in_tilt_is_not_believed_and_not_ignored() {
    let (old, new) = (said(OLD, 1), said(NEW, 2));
    let voice = |word, tilt| Voice { word, tilt };
    let of = |voices: &[Voice<'_>]| verdict(voices, 3, Some(1));
    let tilted = [voice(&old, false), voice(&old, true), voice(&old, true)];
    assert_eq!(of(&tilted), Err(Refusal::TooFew { answered: 1, known: 3 }));
    let newer = [voice(&old, false), voice(&old, false), voice(&new, true)];
    assert_eq!(of(&newer), Err(Refusal::Tilt));
    let same = [voice(&old, false), voice(&old, false), voice(&old, true)];
    assert_eq!(of(&same).map(|choice| choice.address), Ok(address(OLD)));
}

#[test]
fn an_older_epoch_than_published_counts_only_if_all_say_so() {
    let older = Refusal::Older { said: 1, published: 2 };
    assert_eq!(of(&[said(OLD, 1), said(OLD, 1)], Some(2)), Err(older));
    assert_eq!(chosen(&[said(OLD, 1), said(OLD, 1), said(OLD, 1)], Some(2)), "10.0.0.1:6379");
}

#[test]
fn of_answers_with_one_epoch_the_most_named_address_wins_and_a_tie_is_none() {
    assert_eq!(chosen(&[said(OLD, 1), said(NEW, 1), said(NEW, 1)], None), "10.0.0.2:6379");
    let tie = of(&[said(OLD, 1), said(NEW, 1)], None);
    assert_eq!(tie, Err(Refusal::Disagreement(address(OLD), address(NEW))));
}

/// Whatever answers come, in whatever order: the choice has the highest epoch of all of them, a
/// majority has answered, and the order of the answers does not matter.
#[test]
fn no_answers_make_a_wrong_choice() {
    let mut state: u64 = 7;
    let mut below = |bound: u64| {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    };
    let hosts = [("10.0.0.1", 1), ("10.0.0.2", 1), ("0.0.0.0", 1), ("", 0)];
    let mut choices = 0;
    for _ in 0..20_000 {
        let words: Vec<(Word, bool)> = (0..below(6))
            .map(|_| match below(8) {
                0 => (Word::Unknown, false),
                _ => (said(hosts[below(4) as usize], below(3)), below(6) == 0),
            })
            .collect();
        let voices: Vec<_> = words.iter().map(|(word, tilt)| Voice { word, tilt: *tilt }).collect();
        let (configured, published) = (below(6) as usize, Some(below(3)));
        let result = verdict(&voices, configured, published);
        let reversed: Vec<_> = voices.iter().rev().copied().collect();
        let again = verdict(&reversed, configured, published);
        assert_eq!(result.is_ok(), again.is_ok());
        let Ok(choice) = result else { continue };
        assert_eq!(Ok(choice.clone()), again);
        choices += 1;
        assert!(choice.address.is_usable());
        let epochs = words.iter().filter_map(|(word, _)| match word {
            Word::Known(said) => Some(said.config_epoch),
            Word::Unknown => None,
        });
        assert_eq!(Some(choice.config_epoch), epochs.max());
        let believed = voices.iter().filter(|voice| voice.counts()).count();
        assert!(believed > 1, "the one answer of three made a choice: {words:?}");
    }
    assert!(choices > 1_000, "{choices}");
}
