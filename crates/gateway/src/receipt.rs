//! Stage six: the duty to leave exactly one receipt, and the chain that shows whether one is missing.
//!
//! An [`Obligation`] is made the moment a principal is known, and only with room for its receipt in the journal's queue:
//! who cannot be receipted is turned away before there is anything to receipt (503 `not_ready`, a counter, no record), so
//! a disk that stands still costs neither memory nor a gap. It ends in [`Obligation::close`]; dropped otherwise (the
//! client left, the future was cancelled, a stage panicked) it writes the receipt itself, as `aborted`. So there is no
//! path on which a request of a known principal leaves none, and none on which it leaves two.
//!
//! If we crash here: a receipt is fixed when its record is in the journal's queue, and counts when it is durable. Before
//! that the intent stands in the journal and the next boot finishes it as `unresolved`.

use crate::fields::Operation;
use crate::gateway::Gateway;
use crate::inner::{Dialect, Foreign};
use crate::limits::{RECEIPT_ROOM_BYTES, RECEIPT_RULES_MAX};
use crate::meter::Meter;
use crate::queue::Service;
use crate::record::{FixedReceipt, IntentFrame, IntentOf, Watermark, encode_intent, encode_receipt, encode_watermark};
use crate::settle::Hold;
use crate::trace::Notes;
use crate::view::{KeyEntry, Offer, View};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use journal::{AppendError, Appended, Room};
use ledger::hash::Hash;
use ledger::stencil::Stencil;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use types::receipt::{PolicyClaim, ServedBy};
use types::{Code, DataClass, Outcome, ReceiptClaims, ReceiptId, TenantId, UnixMillis, Usage, UsageSource};

/// The end of each tenant's chain in this incarnation. As large as the site's tenants.
#[derive(Default)]
pub struct Chains {
    ends: Mutex<HashMap<TenantId, Arc<Mutex<ChainEnd>>>>,
}

#[derive(Clone, Copy)]
struct ChainEnd {
    seq: u64,
    leaf: Hash,
}

impl Chains {
    fn end(&self, tenant: TenantId) -> Arc<Mutex<ChainEnd>> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.entry(tenant).or_insert_with(|| Arc::new(Mutex::new(ChainEnd { seq: 0, leaf: Hash([0; 32]) }))).clone()
    }
}

/// Waits for room for a receipt of an earlier boot. A disk on which none comes free for five seconds has stopped.
pub async fn room(gateway: &Gateway) -> Result<Room, AppendError> {
    for _ in 0..5_000 {
        if let Some(room) = gateway.journal.reserve(RECEIPT_ROOM_BYTES) {
            return Ok(room);
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    Err(AppendError::Full)
}

/// Gives the receipt its place in its tenant's chain and puts it into the journal's queue, both under the chain's lock:
/// the order of the chain is the order of the journal. The chain moves on only with a record that the journal has taken.
pub fn fix(gateway: &Gateway, room: Room, mut claims: ReceiptClaims, prepared: Option<&Prepared>) -> Appended {
    let end = gateway.chains.end(claims.sub);
    let mut end = end.lock().unwrap_or_else(PoisonError::into_inner);
    claims.inc = gateway.incarnation;
    claims.seq = end.seq + 1;
    claims.prev = URL_SAFE_NO_PAD.encode(end.leaf.0);
    let signing_input = match prepared {
        Some(prepared) => gateway.receipt_header.signing_input_from(&prepared.stencil, &claims),
        None => gateway
            .receipt_header
            .signing_input(&claims)
            .expect("claims are plain data: nothing in them can fail to serialise"),
    };
    let leaf = ledger::receipt::leaf(signing_input.as_str());
    let record = encode_receipt(&FixedReceipt {
        id: claims.jti,
        tenant: claims.sub,
        project: claims.project,
        key: claims.key,
        inc: claims.inc,
        chain_seq: claims.seq,
        received_at: claims.received_at,
        cost: claims.cost_micro_eur,
        outcome: claims.outcome,
        leaf,
        signing_input: signing_input.0,
    });
    let appended = gateway.journal.append_into(room, record);
    if appended.seq().is_none() {
        // Closed or failed: the process is ending. Or larger than any record may be, which no request can bring about.
        tracing::error!(receipt = %claims.jti, "the journal refused a receipt: no new requests are taken");
        gateway.alarm_fork();
        return appended;
    }
    *end = ChainEnd { seq: claims.seq, leaf };
    gateway.fixed.fetch_add(1, Ordering::Release);
    gateway.metrics.receipt(&claims);
    appended
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub outcome: Outcome,
    pub code: Option<Code>,
    /// Whether the engine ended its answer itself.
    pub finished: bool,
}

impl End {
    pub fn completed() -> Self {
        End { outcome: Outcome::Completed, code: None, finished: true }
    }

    pub fn refused(code: Code) -> Self {
        End { outcome: Outcome::Refused, code: Some(code), finished: false }
    }

    pub fn failed(code: Code) -> Self {
        End { outcome: Outcome::Failed, code: Some(code), finished: false }
    }

    pub fn partial(code: Code) -> Self {
        End { outcome: Outcome::Partial, code: Some(code), finished: false }
    }

    fn aborted() -> Self {
        End { outcome: Outcome::Aborted, code: None, finished: false }
    }
}

/// What is written once for all requests of one key to one replica. A snapshot, and with it a verdict, makes it anew.
pub struct Prepared {
    stencil: Stencil,
    frame: IntentFrame,
}

/// The commitment to an answer. What runs is boxed: it has more than a kilobyte, and an obligation moves through every stage.
enum Commitment {
    None,
    Running(Box<aws_lc_rs::hmac::Context>),
    Whole(aws_lc_rs::hmac::Tag),
}

/// The duty to leave one receipt.
pub struct Obligation {
    gateway: Arc<Gateway>,
    pub view: Arc<View>,
    pub key: Arc<KeyEntry>,
    pub id: ReceiptId,
    opening: [u8; 32],
    pub received_at: UnixMillis,
    operation: Operation,
    pub model: Arc<str>,
    pub class: DataClass,
    pub policy: Option<(bool, Arc<[String]>)>,
    served_by: Option<Arc<ServedBy>>,
    /// What all requests of this key to the replica that serves it share.
    prepared: Option<Arc<Prepared>>,
    pub request_commitment: Option<[u8; 32]>,
    answer: Commitment,
    pub hold: Option<Hold>,
    pub meter: Meter,
    /// What its tenant is charged for it by the queue, if it waited.
    pub service: Option<Service>,
    pub trace: Option<Box<Notes>>,
    /// Only for a request in another dialect than OpenAI's.
    foreign: Option<Box<Foreign>>,
    /// Room for the receipt; none once it is written.
    room: Option<Room>,
}

impl Obligation {
    /// None: this gateway takes no work now, or could not promise the receipt. Nothing is owed then.
    pub fn begin(gateway: &Arc<Gateway>, view: &Arc<View>, key: &Arc<KeyEntry>, operation: Operation) -> Option<Self> {
        let room = gateway.journal.reserve(RECEIPT_ROOM_BYTES)?;
        if !gateway.enter() {
            return None;
        }
        let mut random = [0; 42];
        gateway.clock.random(&mut random);
        let (id, opening) = random.split_at(10);
        let received_at = gateway.clock.now();
        Some(Obligation {
            id: ReceiptId::from_parts(received_at, id.try_into().unwrap_or_default()),
            opening: opening.try_into().unwrap_or_default(),
            gateway: gateway.clone(),
            view: view.clone(),
            key: key.clone(),
            received_at,
            operation,
            model: view.no_model.clone(),
            class: key.project.class,
            policy: None,
            served_by: None,
            prepared: None,
            request_commitment: None,
            answer: Commitment::None,
            hold: None,
            meter: Meter::default(),
            service: None,
            trace: None,
            foreign: None,
            room: Some(room),
        })
    }

    /// Makes the promise durable before any byte of an answer leaves. Returns at once; the caller waits beside the
    /// engine. None if the journal's queue has no room for new work: receipts go first. Where it is
    /// promised before a replica was chosen, nothing is prepared, and the frame is made for it alone.
    pub fn promise(&self) -> Option<Appended> {
        let made;
        let frame = match &self.prepared {
            Some(prepared) => &prepared.frame,
            None => {
                made = self.prepare();
                &made.frame
            }
        };
        let of = IntentOf {
            receipt: self.id,
            received_at: self.received_at,
            opening: &self.opening,
            request_commitment: self.request_commitment.as_ref(),
            reserved: self.hold.as_ref().map(Hold::amount).unwrap_or_default(),
        };
        self.gateway.journal.append_if_room(encode_intent(of, frame))
    }

    /// Makes it a request in another dialect, before anything of it is read.
    pub(crate) fn speak(&mut self, foreign: Foreign) {
        self.foreign = Some(Box::new(foreign));
    }

    pub(crate) fn foreign(&mut self) -> Option<&mut Foreign> {
        self.foreign.as_deref_mut()
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.foreign.as_ref().map_or(Dialect::OpenAi, |foreign| foreign.dialect)
    }

    fn operation(&self) -> &'static str {
        self.foreign.as_ref().and_then(|foreign| foreign.step).unwrap_or(self.operation.as_str())
    }

    /// Whether an engine was asked.
    pub fn was_sent(&self) -> bool {
        self.served_by.is_some()
    }

    /// Names the place and the rules in the receipt that is being written.
    pub fn serve_at(&mut self, offer: &Offer) {
        self.served_by = Some(offer.served_by.clone());
        self.policy = Some((true, offer.rules.clone()));
        // What a request in another dialect says of itself, no other shares.
        self.prepared = match self.foreign {
            None => Some(offer.prepared(self.operation, || self.prepare())),
            Some(_) => None,
        };
    }

    fn prepare(&self) -> Prepared {
        let price = self.hold.as_ref().map(|hold| hold.price().clone()).unwrap_or_else(|| types::snapshot::Price {
            model: self.model.to_string(),
            input: Default::default(),
            cached_input: Default::default(),
            output: Default::default(),
        });
        let draft = self.claims(End::aborted(), Usage::default(), UsageSource::None, Default::default(), None);
        Prepared {
            stencil: Stencil::of(&draft).expect("every receipt has the claims that a stencil looks for"),
            frame: IntentFrame::new(&draft, &price),
        }
    }

    /// Notes the running count; nobody waits, and a full queue may drop it.
    pub fn watermark(&self, usage: Usage) {
        self.gateway.journal.append_if_room(encode_watermark(&Watermark { receipt: self.id, usage }));
    }

    /// Bytes of a streamed answer as they are handed to the client's connection.
    pub fn answer_bytes(&mut self, bytes: &[u8]) {
        match &mut self.answer {
            Commitment::Running(context) => context.update(bytes),
            answer => {
                let mut context = Box::new(aws_lc_rs::hmac::Context::with_key(&self.key.commitment_key));
                context.update(bytes);
                *answer = Commitment::Running(context);
            }
        }
    }

    /// An answer that is handed over in one piece.
    pub fn whole_answer(&mut self, bytes: &[u8]) {
        self.answer = Commitment::Whole(aws_lc_rs::hmac::sign(&self.key.commitment_key, bytes));
    }

    /// Settles what was held and fixes the receipt. The future resolves when it is durable.
    pub fn close(mut self, end: End) -> Appended {
        let room = self.room.take().expect("only closing takes the room, and closing consumes the obligation");
        self.finish(room, end)
    }

    /// Ends without a receipt of its own: a replay under an idempotency key is the request that was receipted before.
    pub(crate) fn void(mut self) {
        self.room = None;
        self.gateway.leave();
    }

    fn finish(&mut self, room: Room, end: End) -> Appended {
        let (usage, source) = self.meter.settle(end.finished);
        if source == UsageSource::Estimated {
            self.gateway.metrics.usage_implausible.inc();
            tracing::warn!(receipt = %self.id, model = %self.model, "an engine's token count could not be believed");
        }
        let cost = match self.hold.take() {
            Some(hold) => hold.settle(&usage, self.gateway.clock.monotonic_millis()),
            None => Default::default(),
        };
        match self.service.take() {
            Some(service) => service.settle(&usage),
            None => self.gateway.queues().note(self, &usage),
        }
        let answer = match std::mem::replace(&mut self.answer, Commitment::None) {
            Commitment::None => None,
            Commitment::Running(context) => Some(URL_SAFE_NO_PAD.encode(context.sign().as_ref())),
            Commitment::Whole(tag) => Some(URL_SAFE_NO_PAD.encode(tag.as_ref())),
        };
        let claims = self.claims(end, usage, source, cost, answer);
        if let Some(notes) = self.trace.take() {
            self.gateway.end_trace(*notes, &claims);
        }
        let appended = fix(&self.gateway, room, claims, self.prepared.as_deref());
        self.gateway.leave();
        appended
    }

    fn claims(
        &self,
        end: End,
        usage: Usage,
        usage_source: UsageSource,
        cost: types::MicroEur,
        answer_commitment: Option<String>,
    ) -> ReceiptClaims {
        let (permit, mut rules) = self.policy.clone().unwrap_or_default();
        if rules.len() > RECEIPT_RULES_MAX {
            let more = rules.len() - RECEIPT_RULES_MAX;
            // No rule can be called so.
            let rest = std::iter::once(format!("(and {more} more)"));
            rules = rules.iter().take(RECEIPT_RULES_MAX).cloned().chain(rest).collect();
        }
        let ended_at = self.gateway.clock.now();
        ReceiptClaims {
            iss: self.view.site.clone(),
            jti: self.id,
            iat: ended_at.seconds(),
            sub: self.key.tenant,
            project: self.key.project.id,
            key: self.key.key.id,
            dialect: self.dialect().as_str().into(),
            operation: self.operation().into(),
            model: self.model.clone(),
            served_by: self.served_by.clone(),
            data_class: self.class,
            policy: PolicyClaim { digest: self.view.policy_digest.clone(), permit, rules },
            usage,
            usage_source,
            price_book: self.view.price_book_digest.clone(),
            cost_micro_eur: cost,
            outcome: end.outcome,
            code: end.code,
            received_at: self.received_at,
            ended_at,
            request_commitment: self.request_commitment.map(|tag| URL_SAFE_NO_PAD.encode(tag)).unwrap_or_default(),
            answer_commitment,
            passages: self.foreign.as_ref().map(|foreign| foreign.passages.clone()).unwrap_or_default(),
            egress: self.foreign.as_ref().and_then(|foreign| foreign.egress.clone()),
            opening: URL_SAFE_NO_PAD.encode(self.opening),
            inc: self.gateway.incarnation,
            seq: 0,
            prev: String::new(),
            intent_inc: None,
        }
    }

    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }
}

impl Drop for Obligation {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            // Enqueued now and written whether or not anybody waits.
            drop(self.finish(room, End::aborted()));
        }
    }
}
