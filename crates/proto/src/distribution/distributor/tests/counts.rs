//! Counting many devices.

use super::*;

/// A distributor of 100 blocks with many members that answer after a while, a few at a time; nothing is lost on the way to the group.
struct Crowd {
    distributor: Distributor,
    now: Instant,
    /// What is under way, in the order of the answers.
    asks: VecDeque<(Instant, Ask)>,
    /// How long an answer takes.
    takes: Duration,
    /// Who was asked in counts, in the order of the questions.
    counted: Vec<Vec<usize>>,
    /// How long each count took.
    lasted: Vec<Duration>,
    sent: Vec<u32>,
    /// Who never answers; it is known after `gone`.
    dead: fn(usize) -> bool,
    gone: Duration,
}

const MEMBERS: u16 = 1_000;

impl Crowd {
    fn new(takes: Duration) -> Self {
        let members = (0..MEMBERS).map(|n| SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 1)));
        let config = DistributorConfig {
            members: members.collect(),
            rate: 1_000_000,
            ..DistributorConfig::new(announcement(100), PATH)
        };
        Self {
            distributor: Distributor::new(config).unwrap(),
            now: Instant::from_millis(1_000),
            asks: VecDeque::new(),
            takes,
            counted: Vec::new(),
            lasted: Vec::new(),
            sent: Vec::new(),
            dead: |_| false,
            gone: takes,
        }
    }

    fn step(&mut self, says: fn(usize) -> DeviceStatus) {
        let counting = self.distributor.phase() == DistributionPhase::Counting;
        if let Some(send) = self.distributor.poll_send(self.now) {
            self.sent.extend(send.fills.map(|fills| fills.number));
            self.distributor.sent(self.now, Some(50));
        }
        let now_counting = self.distributor.phase() == DistributionPhase::Counting;
        if now_counting && !counting {
            self.counted.push(Vec::new());
            self.lasted.push(Duration::ZERO);
        }
        while let Some(ask) = self.distributor.poll_ask(self.now) {
            if now_counting {
                self.counted.last_mut().unwrap().push(ask.member);
            }
            let takes = match (self.dead)(ask.member) {
                true => self.gone,
                false => self.takes,
            };
            self.asks.push_back((self.now + takes, ask));
        }
        self.asks.make_contiguous().sort_by_key(|(at, _)| *at);
        assert!(self.asks.len() <= 8);
        let answer_at = self.asks.front().map(|(at, _)| *at);
        let next = [self.distributor.next_timeout(), answer_at];
        let next = next.into_iter().flatten().min().unwrap().max(self.now);
        if self.distributor.phase() == DistributionPhase::Counting {
            *self.lasted.last_mut().unwrap() += next.since(self.now);
        }
        self.now = next;
        self.distributor.handle_timeout(next);
        if answer_at == Some(next) {
            let (_, ask) = self.asks.pop_front().unwrap();
            let response = answer(&says(ask.member));
            let result = match (self.dead)(ask.member) {
                true => Err(Failure::TimedOut),
                false => Ok(&response),
            };
            self.distributor.asked(next, ask.ask, result);
        }
    }

    /// A count in which devices say this, and the blocks of the pass that follows.
    fn pass(&mut self, says: fn(usize) -> DeviceStatus) -> Vec<u32> {
        let is = |crowd: &Self, phase| crowd.distributor.phase() == phase;
        let counts = self.counted.len();
        self.sent.clear();
        while self.counted.len() == counts {
            self.step(says);
        }
        while is(self, DistributionPhase::Counting) || is(self, DistributionPhase::Passing) {
            self.step(says);
        }
        self.sent.clone()
    }
}

fn fresh(_: usize) -> DeviceStatus {
    receiving(100, &Vec::from_iter(0..100))
}

fn full(_: usize) -> DeviceStatus {
    receiving(100, &[])
}

fn without_the_first_half(_: usize) -> DeviceStatus {
    receiving(100, &Vec::from_iter(0..50))
}

/// Of any 500 members that follow each other four lack each block: sending it once more saves 335 blocks in all, and asking 1,000
/// members costs 400. If they stand for twice as many it saves 770.
fn four_of_500(member: usize) -> DeviceStatus {
    let block = (member % 125) as u32;
    receiving(
        100,
        &Vec::from_iter(Some(block).filter(|block| *block < 100)),
    )
}

#[test]
fn of_1000_members_half_are_counted_and_stand_for_the_others() {
    // Eight answers a second: 240 in 30 s, 500 in about 62 s.
    let mut crowd = Crowd::new(seconds(1));
    assert_eq!(crowd.pass(fresh), Vec::from_iter(0..100), "the first pass");
    assert_eq!(crowd.pass(four_of_500), Vec::from_iter(0..100));
    let lasted = crowd.lasted[1].as_secs();
    assert!((61..=63).contains(&lasted), "{lasted} s");
    // The next count begins where the last one ended.
    assert_eq!(crowd.pass(full), [0; 0]);
    let [first, second, third] = &crowd.counted[..] else {
        panic!("{:?}, {:?}", crowd.counted, crowd.lasted);
    };
    assert_eq!(second.first(), first.last().map(|last| last + 1).as_ref());
    assert_eq!(third.first(), second.last().map(|last| last + 1).as_ref());
    let asked: BTreeSet<_> = crowd.counted.iter().flatten().collect();
    assert_eq!(asked.len(), 1_000, "everyone has had a turn");
}

#[test]
fn a_count_ends_when_everyone_has_answered_and_lasts_30_seconds_if_half_have_by_then() {
    let mut crowd = Crowd::new(Duration::from_millis(10));
    crowd.pass(fresh);
    assert_eq!(crowd.pass(four_of_500), Vec::from_iter(0..100));
    assert!(crowd.lasted[1] < seconds(2), "{:?}", crowd.lasted[1]);
    assert_eq!(crowd.counted[1].len(), 1_000);
    let mut crowd = Crowd::new(Duration::from_millis(400));
    crowd.pass(fresh);
    crowd.pass(four_of_500);
    assert_eq!(crowd.lasted[1], seconds(30));
}

#[test]
fn a_count_lasts_five_minutes_at_most() {
    let mut crowd = Crowd::new(seconds(10));
    crowd.pass(fresh);
    crowd.pass(four_of_500);
    assert_eq!(crowd.lasted[1], seconds(300));
}

#[test]
fn nobody_stands_for_members_that_do_not_answer() {
    let mut crowd = Crowd::new(Duration::from_millis(10));
    crowd.dead = |member| member >= 500;
    crowd.pass(fresh);
    assert_eq!(crowd.pass(four_of_500), [0; 0], "335 blocks are saved");
    assert_eq!(crowd.counted[1].len(), 1_000);
}

#[test]
fn dead_devices_that_stand_together_do_not_end_multicast_for_the_others() {
    // The first eight have said that they are fresh. The next 200 have lost power: in five minutes 24 of them are known to be gone.
    let mut crowd = Crowd::new(Duration::from_millis(100));
    crowd.dead = |member| (8..208).contains(&member);
    crowd.gone = seconds(93);
    crowd.pass(fresh);
    let sent = crowd.pass(without_the_first_half);
    let lasted = crowd.lasted[1].as_secs();
    assert!((300..=600).contains(&lasted), "{lasted} s");
    assert_eq!(sent, Vec::from_iter(0..50));
}

#[test]
fn a_group_that_is_dead_is_counted_twice_and_no_more() {
    let mut crowd = Crowd::new(Duration::from_millis(100));
    crowd.pass(fresh);
    crowd.dead = |_| true;
    crowd.gone = seconds(93);
    assert_eq!(crowd.pass(fresh), [0; 0]);
    let lasted = crowd.lasted[1].as_secs();
    assert!((600..=602).contains(&lasted), "{lasted} s");
}

#[test]
fn who_did_not_answer_before_is_asked_last() {
    let mut crowd = Crowd::new(Duration::from_millis(10));
    crowd.dead = |member| (500..520).contains(&member);
    crowd.pass(fresh);
    crowd.pass(without_the_first_half);
    crowd.pass(full);
    let [_, second, third] = &crowd.counted[..] else {
        panic!("{:?}", crowd.lasted);
    };
    assert_eq!((second.len(), third.len()), (1_000, 1_000));
    assert!(
        second[500..520]
            .iter()
            .any(|member| (500..520).contains(member))
    );
    assert_eq!(third[980..], Vec::from_iter(500..520));
}
