//! One round: a new group, a new board, and everything that is asked of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use antiphon_embedded_line::{Arrival, Command, Measures, PATH, TEMPERATURE};
use antiphon_oscore::option::OscoreOption;
use antiphon_oscore::{Asked, Mode, To};
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};

use crate::group::{Failed, Host, Made};
use crate::machine::{Machine, Outcome};
use crate::random;

/// The port that requests come from.
const CLIENT: u16 = 50_000;

/// Between two requests: longer than the board takes its leisure.
const PAUSE: Duration = Duration::from_secs(30);

/// Everything, on a new board; what it took of its memory.
pub(crate) fn round(image: &Path) -> Result<Measures, Failed> {
    let group = Made::random()?;
    let mut board = Board::start(image, &group)?;
    let mut client = group.host(&group.client)?;
    let mut other = group.host(&group.other)?;

    both_modes(&mut board, &mut client, &group)?;
    both_modes(&mut board, &mut other, &group)?;
    println!("  group mode and pairwise mode: answered, and the answers verify");

    let tried = silent(&mut board, &mut client, &group)?;
    both_modes(&mut board, &mut client, &group)?;
    println!("  {tried} forged, changed, replayed and unprotected messages: silence");

    let measures = board.machine.measures()?;
    board.power_cut(image)?;
    if !answered(&mut board, &mut client, To::Group, Mode::Group)? {
        return Err("after a power cut the board takes a request for new that may be old".into());
    }
    both_modes(&mut board, &mut client, &group)?;
    println!(
        "  and after a power cut; it sent with {} sequence numbers, each used once",
        board.used.len()
    );
    Ok(measures)
}

fn both_modes(board: &mut Board, host: &mut Host, group: &Made) -> Result<(), Failed> {
    answered(board, host, To::Group, Mode::Group)?;
    answered(board, host, To::Member(group.board.kid), Mode::Pairwise)?;
    Ok(())
}

/// A board in use.
struct Board {
    machine: Machine,
    now: Duration,
    /// What its store holds.
    records: Vec<Vec<u8>>,
    /// The sequence numbers it sent with.
    used: BTreeSet<u64>,
    /// None may be below: used in an earlier life.
    used_before: u64,
}

impl Board {
    fn start(image: &Path, group: &Made) -> Result<Board, Failed> {
        let mut board = Board {
            machine: Machine::start(image)?,
            now: Duration::from_secs(random::between(1, 1 << 30)?),
            records: group.records(),
            used: BTreeSet::new(),
            used_before: group.used,
        };
        board.provision()?;
        Ok(board)
    }

    /// The power is cut and comes back: what is not in the store is gone.
    fn power_cut(&mut self, image: &Path) -> Result<(), Failed> {
        self.machine = Machine::start(image)?;
        self.provision()
    }

    fn provision(&mut self) -> Result<(), Failed> {
        self.machine
            .command(Command::Seed, &[&random::bytes::<32>()?])?;
        for record in &self.records {
            self.machine.command(Command::Record, &[record])?;
        }
        let outcome = self.machine.command(Command::Start, &[&micros(self.now)])?;
        if outcome.records.is_empty() {
            return Err("the board starts without a word to its store".into());
        }
        self.keep(outcome);
        Ok(())
    }

    /// What its store has to remember; what it sent.
    fn keep(&mut self, outcome: Outcome) -> Vec<(u16, Vec<u8>)> {
        self.records.extend(outcome.records);
        outcome.datagrams
    }

    /// Gives it a datagram, and lets it take its leisure. What it sends.
    fn hear(&mut self, bytes: &[u8], multicast: bool) -> Result<Vec<Vec<u8>>, Failed> {
        let arrival = Arrival {
            now: self.now.as_micros() as u64,
            multicast,
            port: CLIENT,
        };
        let mut outcome = self
            .machine
            .command(Command::Datagram, &[&arrival.to_bytes(), bytes])?;
        let until = self.now + PAUSE;
        let mut sent = Vec::new();
        loop {
            let next = outcome.next.map(Duration::from_micros);
            sent.extend(self.keep(outcome));
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            outcome = self.machine.command(Command::Time, &[&micros(self.now)])?;
        }
        self.now = until;
        let sent = sent.into_iter().map(|(port, bytes)| match port {
            CLIENT => Ok(bytes),
            _ => Err(format!("an answer to port {port}").into()),
        });
        sent.collect()
    }

    /// Notes the sequence number of what it sent.
    fn note(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let message = Message::parse(bytes)?;
        let option = message
            .option(OptionNumber::OSCORE)
            .ok_or("no OSCORE option")?;
        let option = OscoreOption::parse(option).map_err(|error| format!("{error:?}"))?;
        // without one, the nonce is that of the request
        let Some(number) = option.partial_iv.map(|it| it.value()) else {
            return Ok(());
        };
        if number < self.used_before || !self.used.insert(number) {
            return Err(format!("sequence number {number} is used twice").into());
        }
        Ok(())
    }
}

fn micros(now: Duration) -> [u8; 8] {
    (now.as_micros() as u64).to_be_bytes()
}

/// A new request to the board, as it looks before it is protected, and its token.
fn request(echo: Option<&[u8]>) -> Result<(Vec<u8>, Vec<u8>), Failed> {
    let (id, token) = (random::bytes()?, random::some(1, 8)?);
    let mut bytes = vec![0; 128];
    let named = Token::new(&token).ok_or("no token")?;
    let id = MessageId(u16::from_be_bytes(id));
    let mut writer = Writer::new(&mut bytes, Type::Non, Code::GET, id, named)?;
    writer.option(OptionNumber::URI_PATH, PATH.as_bytes())?;
    if let Some(echo) = echo {
        writer.option(OptionNumber::ECHO, echo)?;
    }
    let len = writer.finish();
    bytes.truncate(len);
    Ok((bytes, token))
}

/// A new request: protected, and what is needed to open its answer.
fn ask(
    board: &Board,
    host: &mut Host,
    to: To,
    echo: Option<&[u8]>,
) -> Result<(Vec<u8>, Asked, Vec<u8>), Failed> {
    let (plain, token) = request(echo)?;
    let (bytes, asked) = host.ask(board.now, to, &plain)?;
    Ok((bytes, asked, token))
}

/// The board answers a new request once; the answer verifies as the board's, in this mode. The answer, opened.
fn one_answer(
    board: &mut Board,
    host: &mut Host,
    to: To,
    mode: Mode,
    echo: Option<&[u8]>,
) -> Result<Vec<u8>, Failed> {
    let (bytes, mut asked, token) = ask(board, host, to, echo)?;
    let sent = board.hear(&bytes, to == To::Group)?;
    let [answer] = sent.as_slice() else {
        return Err(format!("{} answers to a request in {mode:?} mode", sent.len()).into());
    };
    board.note(answer)?;
    let opened = host.open(board.now, answer, &mut asked)?;
    let message = Message::parse(&opened.message)?;
    let proven = opened.mode == mode && host.is_board(&opened.sender);
    if !proven || message.token().as_bytes() != token {
        return Err(format!("an answer of another kind: {opened:?}").into());
    }
    Ok(opened.message)
}

/// The board answers a new request with its temperature. It may want to see first that the request is fresh and its sender
/// reachable: then it gets its Echo value back by unicast (RFC 9175), and is asked again. Whether it wanted that.
fn answered(board: &mut Board, host: &mut Host, to: To, mode: Mode) -> Result<bool, Failed> {
    let mut answer = one_answer(board, host, to, mode, None)?;
    let message = Message::parse(&answer)?;
    let echo = message.option(OptionNumber::ECHO).map(<[u8]>::to_vec);
    let challenged = message.code() == Code::UNAUTHORIZED && echo.is_some();
    if challenged {
        let member = To::Member(host.board);
        is_temperature(&one_answer(
            board,
            host,
            member,
            Mode::Pairwise,
            echo.as_deref(),
        )?)?;
        answer = one_answer(board, host, to, mode, None)?;
    }
    is_temperature(&answer)?;
    Ok(challenged)
}

fn is_temperature(answer: &[u8]) -> Result<(), Failed> {
    let message = Message::parse(answer)?;
    match (message.code(), message.payload()) {
        (Code::CONTENT, TEMPERATURE) => Ok(()),
        _ => Err(format!("not the temperature: {message:?}").into()),
    }
}

/// The board is silent to everything that is not a new message of a member. How many messages were tried.
fn silent(board: &mut Board, client: &mut Host, group: &Made) -> Result<usize, Failed> {
    let mut tried = 0;
    let mut impostor = group.impostor()?;
    for to in [To::Group, To::Member(group.board.kid)] {
        let multicast = to == To::Group;
        let (valid, mut asked, _) = ask(board, client, to, None)?;
        let forged = ask(board, &mut impostor, to, None)?.0;
        let plain = request(None)?.0;
        let mut all = vec![
            ("made by someone without the private key", forged),
            ("cut short", valid[..valid.len() - 1].to_vec()),
        ];
        if multicast {
            all.push(("not protected", plain));
        }
        let payload = Message::parse(&valid)?.payload().len();
        let first = valid.len() - payload;
        for byte in first..valid.len() {
            let mut changed = valid.clone();
            changed[byte] ^= 1 << random::between(0, 7)?;
            all.push(("changed", changed));
        }
        for (what, bytes) in &all {
            silence(board, bytes, multicast, what)?;
        }
        // all that was for nothing: the message itself is still new, once
        let sent = board.hear(&valid, multicast)?;
        let [answer] = sent.as_slice() else {
            return Err(format!("{} answers after the attack", sent.len()).into());
        };
        board.note(answer)?;
        client.open(board.now, answer, &mut asked)?;
        silence(board, &valid, multicast, "replayed")?;
        // as a new message of the message layer: only the replay window can tell
        let mut renumbered = valid.clone();
        renumbered[3] ^= 1;
        silence(
            board,
            &renumbered,
            multicast,
            "replayed with another Message ID",
        )?;
        tried += all.len() + 2;
    }
    Ok(tried)
}

fn silence(board: &mut Board, bytes: &[u8], multicast: bool, what: &str) -> Result<(), Failed> {
    match board.hear(bytes, multicast)?.len() {
        0 => Ok(()),
        answers => Err(format!("{answers} answers to a message that was {what}").into()),
    }
}
