//! The Security Contexts alone: no message layer, no policies, one resource by hand. The least that a member of a group
//! can be, to see what security itself takes.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use antiphon_embedded_image::{Member, Provisioned, report, run};
use antiphon_embedded_line::{Arrival, Failure, PATH, Report, SEED_LEN, TEMPERATURE};
use antiphon_oscore::crypto::{SoftwareKey, hkdf};
use antiphon_oscore::suite::Hkdf;
use antiphon_oscore::{
    AgreeJob, Agreed, Checked, Contexts, Job, JobResult, Opened, Opening, ProtectError, Protected,
    Protecting, Received, Signing, Step, VerifyJob,
};
use antiphon_wire::{Code, Message, MessageId, OptionNumber, Token, Type, Writer};
use cortex_m_rt::entry;

#[entry]
fn main() -> ! {
    run::<Board>()
}

struct Board {
    contexts: Contexts,
    key: SoftwareKey,
    seed: [u8; SEED_LEN],
    /// Of messages sent: the Message ID of the next.
    sent: u16,
}

/// What is to be answered.
enum Question {
    Request(Vec<u8>),
    Challenge(Token),
}

impl Member for Board {
    #[inline(never)]
    fn start(it: Box<Provisioned>, _: u64) -> Result<Board, Failure> {
        let it = *it;
        let mut contexts = Contexts::new();
        contexts.add_group(*it.group);
        Ok(Board {
            contexts,
            key: it.key,
            seed: it.seed,
            sent: 0,
        })
    }

    fn hear(&mut self, arrival: Arrival, bytes: &[u8]) {
        let now = Duration::from_micros(arrival.now);
        // `None` at any step is silence
        let answer = self
            .open(now, bytes, arrival.multicast)
            .and_then(|(received, question)| self.answer(now, received, question));
        if let Some(answer) = answer {
            report(Report::Datagram, &arrival.port.to_be_bytes(), &answer);
        }
    }

    fn wait(&mut self, now: u64) {
        self.contexts.handle_timeout(Duration::from_micros(now));
    }

    fn next(&self) -> Option<u64> {
        None
    }
}

// Not inlined: what one step needs of the stack must not add to what another one needs.
impl Board {
    #[inline(never)]
    fn open(
        &mut self,
        now: Duration,
        bytes: &[u8],
        multicast: bool,
    ) -> Option<(Box<Received>, Question)> {
        let message = Message::parse(bytes)
            .ok()
            .filter(|it| it.code().is_request())?;
        let mut step = self.begin(now, &message, multicast)?;
        loop {
            match step {
                Step::Done(Opened::Request(request)) => {
                    let question = Question::Request(request.message);
                    return Some((Box::new(request.received), question));
                }
                Step::Done(Opened::Challenge(challenged)) => {
                    let question = Question::Challenge(message.token());
                    return Some((Box::new(challenged.received), question));
                }
                Step::Work(opening, job) => {
                    let result = match job {
                        Job::Verify(job) => JobResult::Checked(verify(job)),
                        Job::Agree(job) => JobResult::Agreed(self.agree(job)),
                    };
                    step = self.finish(now, opening, result)?;
                }
            }
        }
    }

    #[inline(never)]
    fn begin(
        &mut self,
        now: Duration,
        message: &Message<'_>,
        multicast: bool,
    ) -> Option<Step<Opened>> {
        self.contexts.begin_request(now, message, multicast).ok()
    }

    #[inline(never)]
    fn finish(
        &mut self,
        now: Duration,
        opening: Box<Opening>,
        result: JobResult,
    ) -> Option<Step<Opened>> {
        self.contexts.finish_request(now, opening, result).ok()
    }

    #[inline(never)]
    fn answer(
        &mut self,
        now: Duration,
        mut received: Box<Received>,
        question: Question,
    ) -> Option<Vec<u8>> {
        self.sent = self.sent.wrapping_add(1);
        let id = MessageId(self.sent);
        let plain = match question {
            Question::Request(request) => respond(id, &Message::parse(&request).ok()?)?,
            Question::Challenge(token) => {
                let mut random = [0; 32];
                hkdf(
                    Hkdf::Sha256,
                    &self.seed,
                    &[],
                    &id.0.to_be_bytes(),
                    &mut random,
                )
                .ok()?;
                self.contexts.challenge(
                    now,
                    &received,
                    || random,
                    [0; 4],
                    (Type::Non, id, token),
                )?
            }
        };
        let response = Message::parse(&plain).ok()?;
        loop {
            match self.protect(now, &response, &mut received).ok()? {
                Protecting::Done(protected) => return Some(protected.bytes),
                Protecting::Sign(signing) => return Some(self.sign(signing).ok()?.bytes),
                Protecting::Agree(job) => {
                    let agreed = self.agree(job);
                    self.contexts.agreed(agreed).ok()?;
                }
            }
        }
    }

    #[inline(never)]
    fn protect(
        &mut self,
        now: Duration,
        response: &Message<'_>,
        received: &mut Received,
    ) -> Result<Protecting, ProtectError> {
        self.contexts
            .protect_response(now, response, received, None)
    }

    #[inline(never)]
    fn agree(&self, job: AgreeJob) -> Agreed {
        job.run(&self.key)
    }

    #[inline(never)]
    fn sign(&self, signing: Signing) -> Result<Protected, ProtectError> {
        signing.sign(&self.key)
    }
}

#[inline(never)]
fn verify(job: VerifyJob) -> Checked {
    job.run()
}

/// The one resource.
#[inline(never)]
fn respond(id: MessageId, request: &Message<'_>) -> Option<Vec<u8>> {
    let mut path = request.options_of(OptionNumber::URI_PATH);
    let found = path.next() == Some(PATH.as_bytes()) && path.next().is_none();
    let (code, payload) = match (found, request.code()) {
        (true, Code::GET) => (Code::CONTENT, TEMPERATURE),
        (true, _) => (Code::METHOD_NOT_ALLOWED, [].as_slice()),
        (false, _) => (Code::NOT_FOUND, [].as_slice()),
    };
    let mut bytes = vec![0; 32];
    let mut writer = Writer::new(&mut bytes, Type::Non, code, id, request.token()).ok()?;
    writer.payload(payload).ok()?;
    let len = writer.finish();
    bytes.truncate(len);
    Some(bytes)
}
