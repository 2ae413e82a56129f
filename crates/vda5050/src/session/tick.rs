//! What time does: orders sent again, robots found mute, tasks handed over.

use super::{Out, Presence, Progress, Session};
use crate::limits::SENDS_MAX;
use crate::message::Message;
use crate::topic::Topic;
use types::UnixMillis;

impl Session {
    pub(super) fn tick(&mut self, out: &mut Out<'_>) {
        self.silence(out);
        self.gone(out);
        self.unanswered_order(out);
        self.unanswered_instants(out);
        let waited = self.greeted_at.is_some_and(|at| out.now.0 - at.0 >= out.rules.waits.answer_ms);
        if waited && self.presence == Presence::Online && self.abilities.is_none() && !self.asked_factsheet {
            self.asked_factsheet = true;
            self.instant("factsheetRequest", None, out);
        }
    }

    /// Everything that is waited for is waited for from now on; what happened meanwhile is asked for.
    pub(super) fn linked(&mut self, out: &mut Out<'_>) {
        let now = out.now;
        for at in [&mut self.heard_at, &mut self.broken_at, &mut self.greeted_at].into_iter().flatten() {
            *at = now;
        }
        for instant in self.instants.values_mut() {
            instant.sent_at = now;
        }
        if let Some(current) = self.current.as_mut() {
            current.sent_at = now;
            current.other_since = current.other_since.map(|_| now);
            self.instant("stateRequest", None, out);
        }
    }

    fn silence(&mut self, out: &mut Out<'_>) {
        let waits = out.rules.waits;
        let mute = self.heard_at.map_or(0, |at| out.now.0 - at.0);
        if self.presence != Presence::Online || mute < waits.silence_ms {
            return;
        }
        if !self.silent {
            self.silent = true;
            self.find("silent", format!("no state for {} s", mute / 1_000), out);
        }
        if mute >= waits.silence_ms + waits.handover_ms {
            self.lose("silent", format!("no state for {} s", mute / 1_000), out);
        }
    }

    fn gone(&mut self, out: &mut Out<'_>) {
        let waits = out.rules.waits;
        let past = |since: Option<UnixMillis>, ms: i64| since.is_some_and(|at| out.now.0 - at.0 >= ms);
        if past(self.broken_at, waits.broken_ms) {
            self.lose("connection_broken", "its connection broke and did not come back".to_owned(), out);
        } else if past(self.current.as_ref().and_then(|it| it.other_since), waits.handover_ms) {
            self.lose("other_order", "it works on another order instead".to_owned(), out);
        }
    }

    /// The same order and update again; a robot that has it already ignores it.
    fn unanswered_order(&mut self, out: &mut Out<'_>) {
        let (now, wait) = (out.now, out.rules.waits.answer_ms);
        let online = self.presence == Presence::Online;
        let Some(current) = self.current.as_mut() else { return };
        if current.answered || current.cancelling || !online || now.0 - current.sent_at.0 < wait {
            return;
        }
        if current.sends >= SENDS_MAX {
            let text = format!("{SENDS_MAX} times sent, shown in no state");
            self.lose("order_unanswered", text, out);
            // It may come to it yet.
            self.instant("cancelOrder", None, out);
            return;
        }
        current.sends += 1;
        current.sent_at = now;
        let (plan, from) = (current.plan.clone(), current.from);
        let header = self.header(Topic::Order, now);
        if let Err(error) = self.publish(&Message::Order(plan.message(from, header)), out) {
            self.find("not_written", error, out);
        }
    }

    fn unanswered_instants(&mut self, out: &mut Out<'_>) {
        let (now, wait) = (out.now, out.rules.waits.answer_ms);
        if self.presence != Presence::Online {
            return;
        }
        let due: Vec<String> =
            self.instants.iter().filter(|(_, it)| now.0 - it.sent_at.0 >= wait).map(|(id, _)| id.clone()).collect();
        for id in due {
            let Some(mut instant) = self.instants.remove(&id) else { continue };
            if instant.sends < SENDS_MAX {
                instant.sends += 1;
                instant.sent_at = now;
                self.send_instant(&id, &instant, out);
                self.instants.insert(id, instant);
                continue;
            }
            self.find("instant_unanswered", format!("{} shows in no state", instant.action_type), out);
            if instant.action_type == "cancelOrder" && self.current.as_ref().is_some_and(|it| it.cancelling) {
                self.lose("cancel_unanswered", "it does not answer that its order is cancelled".to_owned(), out);
            }
        }
    }

    /// The task is no longer this robot's, whatever it says later.
    pub(super) fn lose(&mut self, code: &str, text: String, out: &mut Out<'_>) {
        let Some(current) = self.current.take() else { return };
        if !current.told_end {
            self.tell(&current.job, Progress::Lost { code: code.to_owned(), text }, out);
        }
        self.left = Some(current.plan.order_id);
        self.instants.clear();
    }
}
