//! Sonar's answer as the gateway's translator: bytes in, bytes out, nothing decided.

use bytes::{Bytes, BytesMut};
use dialects::sonar::Answer;
use gateway::inner::{Translator, Unreadable};
use types::Code;

pub(super) struct Spoken {
    answer: Answer,
    out: Vec<u8>,
}

impl Spoken {
    pub fn new(answer: Answer) -> Spoken {
        Spoken { answer, out: Vec::new() }
    }
}

impl Translator for Spoken {
    fn whole(&mut self, body: Bytes) -> Result<Bytes, Unreadable> {
        self.answer.whole(&body).map(Bytes::from).ok_or(Unreadable)
    }

    fn events(&mut self, events: &[u8], out: &mut BytesMut) {
        self.answer.events(events, &mut self.out);
        out.extend_from_slice(&self.out);
        self.out.clear();
    }

    fn flush(&mut self, out: &mut BytesMut) {
        self.answer.flush(&mut self.out);
        out.extend_from_slice(&self.out);
        self.out.clear();
    }

    fn last(&mut self) -> Bytes {
        Bytes::from_static(self.answer.last())
    }

    fn broken(&mut self, code: Code, message: &str) -> Bytes {
        self.answer.broken(code, message).into()
    }
}
