//! Whose turn it is. One thread runs the network; the requests that have a session take turns, each one chunk of prompt
//! or one token, and the others wait in order of arrival. So a long answer delays a short one by a turn per token and
//! never by its whole length, and a long prompt is read in pieces between the others' tokens.
//!
//! Before each turn the caller is looked at: who has left costs no further step. If the thread ends by a fault, all
//! receivers see their channel close and `/health` says so.

use super::meter::Meter;
use super::sequence::{Batch, Event, Job, Progress, Sequence, Work};
use crate::model::Network;
use crate::model::words::Words;
use crate::options::{OnStep, Step, StepKind};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;

pub(crate) struct Schedule {
    pub(crate) network: Network,
    pub(crate) words: Arc<Words>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) sequences_max: usize,
    pub(crate) prefill_chunk: usize,
    pub(crate) on_step: Option<OnStep>,
}

struct Running {
    number: u64,
    doing: Doing,
    events: Sender<Event>,
    place: OwnedSemaphorePermit,
}

enum Doing {
    Generate(Box<Sequence>),
    Embed(Batch),
}

impl Schedule {
    /// Runs until the last sender is gone and nothing is left to do.
    pub(crate) fn run(mut self, inbox: Receiver<Job>) {
        let _ended = Ended(self.meter.clone());
        let mut waiting = VecDeque::new();
        let mut running: Vec<Running> = Vec::new();
        loop {
            if waiting.is_empty() && running.is_empty() {
                match inbox.recv() {
                    Ok(job) => waiting.push_back(job),
                    Err(_) => return,
                }
            }
            waiting.extend(inbox.try_iter());
            self.drop_gone(&mut waiting);
            while running.len() < self.sequences_max
                && let Some(job) = waiting.pop_front()
            {
                match self.start(job) {
                    Ok(started) => running.push(started),
                    Err(job) => {
                        waiting.push_front(job);
                        break;
                    }
                }
            }
            self.meter.waiting.store(waiting.len() as u64, Relaxed);
            self.meter.running.store(running.len() as u64, Relaxed);
            let mut still = Vec::with_capacity(running.len());
            for mut one in running.drain(..) {
                match self.turn(&mut one) {
                    (Progress::Continues, None) => still.push(one),
                    (Progress::Continues, Some(event)) => match one.events.try_send(event) {
                        Ok(()) => still.push(one),
                        Err(_) => self.end(one, Progress::Gone, None),
                    },
                    (ended, event) => self.end(one, ended, event),
                }
            }
            running = still;
        }
    }

    fn drop_gone(&self, waiting: &mut VecDeque<Job>) {
        let before = waiting.len();
        waiting.retain(|job| !job.events.is_closed());
        Meter::add(&self.meter.cancelled, before - waiting.len());
    }

    /// Gives a job its session; gives the job back while all sessions are in use.
    fn start(&mut self, job: Job) -> Result<Running, Job> {
        let Job { number, work, events, place } = job;
        let doing = match (work, &mut self.network) {
            (Work::Generate(generate), Network::Decoder(decoder)) => match decoder.open() {
                Some(session) => Doing::Generate(Box::new(Sequence::new(generate, session))),
                None => return Err(Job { number, work: Work::Generate(generate), events, place }),
            },
            (Work::Embed(inputs), _) => Doing::Embed(Batch::new(inputs)),
            (Work::Generate(_), Network::Embedder(_)) => Doing::Embed(Batch::new(Vec::new())),
        };
        Ok(Running { number, doing, events, place })
    }

    fn turn(&self, one: &mut Running) -> (Progress, Option<Event>) {
        if one.events.is_closed() {
            return (Progress::Gone, None);
        }
        let kind = match &one.doing {
            Doing::Embed(_) => StepKind::Embed,
            Doing::Generate(sequence) => match sequence.prefill(self.prefill_chunk) {
                0 => StepKind::Token,
                tokens => StepKind::Prompt { tokens },
            },
        };
        if let Some(on_step) = &self.on_step {
            on_step(Step { request: one.number, kind });
        }
        match (&mut one.doing, &self.network) {
            (Doing::Generate(sequence), _) => {
                let before = sequence.completion_tokens;
                let outcome = sequence.turn(&self.words, self.prefill_chunk);
                if let StepKind::Prompt { tokens } = kind {
                    Meter::add(&self.meter.prompt_tokens, tokens);
                }
                Meter::add(&self.meter.completion_tokens, sequence.completion_tokens - before);
                outcome
            }
            (Doing::Embed(batch), Network::Embedder(embedder)) => {
                Meter::add(&self.meter.prompt_tokens, batch.tokens());
                batch.turn(embedder)
            }
            (Doing::Embed(_), Network::Decoder(_)) => (Progress::Failed, None),
        }
    }

    /// Closes the books of a request and only then says so: a caller who hears the end finds its place free.
    fn end(&mut self, one: Running, how: Progress, last: Option<Event>) {
        let Running { doing, events, place, .. } = one;
        if let (Doing::Generate(sequence), Network::Decoder(decoder)) = (doing, &mut self.network) {
            decoder.close(sequence.session);
        }
        Meter::add(
            match how {
                Progress::Gone => &self.meter.cancelled,
                Progress::Failed => &self.meter.failed,
                Progress::Finished | Progress::Continues => &self.meter.finished,
            },
            1,
        );
        self.meter.running.fetch_sub(1, Relaxed);
        drop(place);
        if let Some(event) = last {
            let _ = events.try_send(event);
        }
    }
}

/// Says that the thread has ended, also when it ended by a fault.
struct Ended(Arc<Meter>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
        self.0.running.store(0, Relaxed);
    }
}
