//! What the controller asks for: a task given, a task ended.

use super::{Abilities, Current, Out, Progress, Session};
use crate::job::Job;
use crate::limits::ACTIONS_MAX;
use crate::message::Message;
use crate::order::Plan;
use crate::topic::Topic;
use std::collections::BTreeMap;
use types::TaskId;

impl Session {
    pub(super) fn give(&mut self, job: Job, out: &mut Out<'_>) {
        let (order_id, seen) = (job.order_id(), self.seen.as_ref());
        let known = seen.is_some_and(|it| it.order_id == order_id) && self.left.as_ref() != Some(&order_id);
        if known && self.current.as_ref().is_some_and(|it| it.job.order_id() != order_id) {
            // A controller before us gave it this after our session was kept: what stood there before is over.
            self.lose("other_order", "it has a newer order of ours".to_owned(), out);
            self.left = None;
        }
        if let Some(current) = &self.current {
            match (current.job.task, current.job.attempt) == (job.task, job.attempt) {
                // Given twice; the asker may have forgotten how far it is.
                true if current.begun => self.tell(&job, current.running(), out),
                true => {}
                false => self.refuse(&job, "busy", format!("it has {}", current.job.task), out),
            }
            return;
        }
        if known {
            return self.adopt(job, out);
        }
        let plan = match self.fit(&job) {
            Ok(plan) => plan,
            Err((code, text)) => return self.refuse(&job, code, text, out),
        };
        let header = self.header(Topic::Order, out.now);
        let message = Message::Order(plan.message(0, header));
        if let Err(error) = self.publish(&message, out) {
            return self.refuse(&job, "robot_limit", error, out);
        }
        self.current = Some(self.begin(job, plan, out));
    }

    /// The robot already has this order of ours: a controller before us sent it. Nothing is sent, its next state tells.
    fn adopt(&mut self, job: Job, out: &mut Out<'_>) {
        let (update_id, sequence, node) =
            self.seen.as_ref().map(|it| (it.update_id, it.sequence, it.node.clone())).unwrap_or_default();
        let plan = match Plan::adopted(&job, update_id, sequence, &node) {
            Ok(plan) => plan,
            Err(error) => return self.refuse(&job, "job_invalid", error.to_string(), out),
        };
        let mut current = self.begin(job, plan, out);
        current.answered = true;
        self.current = Some(current);
        self.instant("stateRequest", None, out);
    }

    fn begin(&self, job: Job, plan: Plan, out: &Out<'_>) -> Current {
        Current {
            job,
            plan,
            from: 0,
            sent_at: out.now,
            sends: 1,
            answered: false,
            begun: false,
            reached: 0,
            actions: BTreeMap::new(),
            results: BTreeMap::new(),
            retries: BTreeMap::new(),
            cancelling: false,
            told_end: false,
            other_since: None,
            errors_before: self.seen.as_ref().map(|it| it.errors.clone()).unwrap_or_default(),
        }
    }

    fn refuse(&self, job: &Job, code: &str, text: String, out: &mut Out<'_>) {
        self.tell(job, Progress::Refused { code: code.to_owned(), text }, out);
    }

    /// Whether this robot can do it, and how.
    fn fit(&self, job: &Job) -> Result<Plan, (&'static str, String)> {
        if let Some(why) = self.unavailable() {
            return Err(("not_available", why));
        }
        let abilities = self.abilities.as_ref().ok_or(("not_available", String::new()))?;
        if !abilities.verbs.contains(&job.verb) {
            return Err(("verb", format!("its factsheet has not all actions of \"{}\"", job.verb)));
        }
        if job.mass_g > abilities.payload_g {
            return Err(("payload", format!("{} g, of at most {} g", job.mass_g, abilities.payload_g)));
        }
        let stands_at = self.seen.as_ref().map_or("", |it| &it.node);
        let plan = Plan::new(job, stands_at).map_err(|error| ("job_invalid", error.to_string()))?;
        abilities.allow(&plan).map_err(|text| ("robot_limit", text))?;
        Ok(plan)
    }

    pub(super) fn cancel(&mut self, task: TaskId, out: &mut Out<'_>) {
        let Some(current) = self.current.as_mut().filter(|it| it.job.task == task) else { return };
        if !current.cancelling {
            current.cancelling = true;
            self.instant("cancelOrder", None, out);
        }
    }
}

impl Abilities {
    /// Within what the robot's factsheet says it can read.
    fn allow(&self, plan: &Plan) -> Result<(), String> {
        let over = |max: usize, value: usize| max != 0 && value > max;
        let nodes = plan.nodes.len();
        if over(self.nodes_max, nodes) {
            return Err(format!("{nodes} nodes, of at most {}", self.nodes_max));
        }
        let actions = plan.nodes.iter().map(|it| it.actions.len()).max().unwrap_or(0);
        if over(self.actions_max, actions) || actions > ACTIONS_MAX {
            return Err(format!("{actions} actions at one node, of at most {}", self.actions_max));
        }
        let ids = plan.nodes.iter().map(|it| it.node_id.len()).chain(plan.edges.iter().map(|it| it.edge_id.len()));
        let longest = ids.chain(plan.actions().map(|(_, it)| it.action_id.len())).max().unwrap_or(0);
        if over(self.id_bytes_max, longest) {
            return Err(format!("an id of {longest} bytes, of at most {}", self.id_bytes_max));
        }
        if self.ids_numerical {
            return Err("it reads numerical ids only, ours are words".to_owned());
        }
        Ok(())
    }
}
