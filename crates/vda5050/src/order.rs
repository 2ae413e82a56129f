//! An order made of a job and the place where the robot stands, and its updates. The whole route is known from the
//! beginning; how far it is released (the base) moves on with the robot.

use crate::job::{Job, JobError};
use crate::limits::BASE_NODES;
use crate::message::Header;
use crate::message::order::{Action, Edge, Node, Order};
use serde::{Deserialize, Serialize};

/// All of an order of ours, as it is at the end; what is released of it is `base`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub order_id: String,
    pub update_id: u32,
    /// Nodes that are released; the first node always is.
    pub base: usize,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
}

impl Plan {
    /// The robot's last node comes first: a robot reaches its first node by standing on it.
    pub fn new(job: &Job, stands_at: &str) -> Result<Plan, JobError> {
        let steps = job.steps()?;
        let begin = (!stands_at.is_empty() && job.route[0] != stands_at).then_some(stands_at);
        let names: Vec<&str> = begin.into_iter().chain(job.route.iter().map(String::as_str)).collect();
        let order_id = job.order_id();
        let mut nodes: Vec<Node> = (0..).zip(&names).map(|(place, name)| node(name, place)).collect();
        let edges = (0..).zip(names.windows(2)).map(|(place, ends)| edge(ends, place)).collect();
        let (first, last) = (names.len() - job.route.len(), names.len() - 1);
        for (number, step) in steps.into_iter().enumerate() {
            nodes[if step.first { first } else { last }].actions.push(Action {
                action_type: step.action_type.to_owned(),
                action_id: format!("{order_id}.{number}"),
                action_descriptor: None,
                blocking_type: step.blocking,
                action_parameters: step.parameters,
                retriable: Some(true),
            });
        }
        let mut plan = Plan { order_id, update_id: 0, base: 0, nodes, edges };
        plan.release(BASE_NODES);
        Ok(plan)
    }

    /// An order that the robot already has: at this node, with this update. If it is past its first node and that was not of
    /// the route, that node's name is lost and not needed again.
    pub fn adopted(job: &Job, update_id: u32, sequence_id: u32, node: &str) -> Result<Plan, JobError> {
        let place = sequence_id as usize / 2;
        let on_route = job.route.iter().position(|it| it == node);
        let stands_at = match (place, on_route) {
            (0, _) => node,
            (_, Some(at)) if at == place => "",
            _ => "?",
        };
        let mut plan = Plan::new(job, stands_at)?;
        plan.update_id = update_id;
        plan.release(plan.base.max(place.saturating_add(BASE_NODES)));
        Ok(plan)
    }

    fn release(&mut self, base: usize) {
        self.base = base.clamp(1, self.nodes.len());
        for (place, node) in self.nodes.iter_mut().enumerate() {
            node.released = place < self.base;
        }
        for (place, edge) in self.edges.iter_mut().enumerate() {
            edge.released = place + 1 < self.base;
        }
    }

    /// The newest message of this order: the whole of it, or, after an update, from the last node of the older base on.
    pub fn message(&self, from: usize, header: Header) -> Order {
        Order {
            header,
            order_id: self.order_id.clone(),
            order_update_id: self.update_id,
            order_description: None,
            nodes: self.nodes[from..].to_vec(),
            edges: self.edges[from..].to_vec(),
        }
    }

    /// Releases more for a robot whose last node has this place. Answers where the update begins: at the last node of the
    /// base so far, which both messages share.
    pub fn extend(&mut self, reached: usize) -> Option<usize> {
        let stitch = self.base - 1;
        let base = (reached + 1 + BASE_NODES).min(self.nodes.len());
        if base <= self.base {
            return None;
        }
        self.release(base);
        self.update_id += 1;
        Some(stitch)
    }

    /// The place of the node with this sequence id, if it is a node of this order.
    pub fn place(&self, sequence_id: u32) -> Option<usize> {
        let place = sequence_id as usize / 2;
        (sequence_id.is_multiple_of(2) && place < self.nodes.len()).then_some(place)
    }

    pub fn actions(&self) -> impl Iterator<Item = (usize, &Action)> {
        self.nodes.iter().enumerate().flat_map(|(place, node)| node.actions.iter().map(move |action| (place, action)))
    }

    pub fn action(&self, id: &str) -> Option<(usize, &Action)> {
        self.actions().find(|(_, action)| action.action_id == id)
    }
}

fn node(name: &str, place: u32) -> Node {
    Node { node_id: name.to_owned(), sequence_id: 2 * place, released: false, node_position: None, actions: Vec::new() }
}

fn edge(ends: &[&str], place: u32) -> Edge {
    Edge {
        edge_id: format!("{}-{}", ends[0], ends[1]),
        sequence_id: 2 * place + 1,
        released: false,
        start_node_id: Some(ends[0].to_owned()),
        end_node_id: Some(ends[1].to_owned()),
        actions: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet::order::Verb;
    use types::TaskId;

    fn job(verb: Verb, subject: &str, route: &[&str]) -> Job {
        Job {
            task: TaskId(7),
            attempt: 1,
            verb,
            subject: subject.to_owned(),
            slot: "h1/r2/k3/u11".to_owned(),
            serial: Some("SN1".to_owned()),
            mass_g: 142_400,
            zone: "h1/r2".to_owned(),
            route: route.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn the_robots_place_comes_first_unless_it_is_the_routes_first() {
        let check = |stands_at: &str, expect: &[&str]| {
            let plan = Plan::new(&job(Verb::Scan, "", &["a", "b"]), stands_at).unwrap();
            let names: Vec<&str> = plan.nodes.iter().map(|it| it.node_id.as_str()).collect();
            assert_eq!(names, expect);
            assert_eq!(plan.edges.len() + 1, plan.nodes.len());
            assert_eq!(plan.nodes.last().unwrap().actions.len(), 1);
        };
        check("x", &["x", "a", "b"]);
        check("a", &["a", "b"]);
        check("", &["a", "b"]);
    }

    #[test]
    fn moving_picks_up_at_the_routes_first_node() {
        let plan = Plan::new(&job(Verb::Move, "", &["dock", "aisle", "rack"]), "home").unwrap();
        let at: Vec<(usize, &str)> = plan.actions().map(|(at, it)| (at, it.action_type.as_str())).collect();
        assert_eq!(at, [(1, "pick"), (3, "drop")]);
    }

    #[test]
    fn an_update_begins_with_the_last_base_node_and_resends_no_older_base() {
        let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
        let route: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut plan = Plan::new(&job(Verb::Scan, "", &route), "n0").unwrap();
        assert_eq!(plan.base, BASE_NODES);
        assert_eq!(plan.extend(0), Some(BASE_NODES - 1));
        assert_eq!(plan.base, BASE_NODES + 1);
        assert_eq!(plan.update_id, 1);
        assert!(plan.nodes[BASE_NODES].released && !plan.nodes[BASE_NODES + 1].released);
        assert!(plan.edges[BASE_NODES - 1].released && !plan.edges[BASE_NODES].released);
        assert_eq!(plan.extend(0), None);
        assert_eq!(plan.extend(19), Some(BASE_NODES));
        assert_eq!((plan.base, plan.update_id), (20, 2));
        assert_eq!(plan.extend(19), None);
    }

    #[test]
    fn verbs_become_actions_with_their_parameters() {
        let check = |verb: Verb, subject: &str, expect: Result<&str, JobError>| {
            let got = job(verb, subject, &["a"]).steps().map(|steps| {
                let step = steps.last().unwrap();
                let parameters: Vec<String> =
                    step.parameters.iter().map(|it| format!("{}={}", it.key, it.value)).collect();
                format!("{}({}) {}", step.action_type, parameters.join(" "), step.blocking.as_str())
            });
            assert_eq!(got, expect.map(str::to_owned), "{verb} {subject}");
        };
        check(Verb::Insert, "u21", Ok(r#"insertServer(slot="h1/r2/k3/u11" rackU=21 serial="SN1") HARD"#));
        check(Verb::Insert, "", Ok(r#"insertServer(slot="h1/r2/k3/u11" rackU=11 serial="SN1") HARD"#));
        check(
            Verb::Cable,
            "c7 mach:p1 leaf3:p9",
            Ok(r#"connectCable(cableId="c7" portA="mach:p1" portB="leaf3:p9") HARD"#),
        );
        check(Verb::Cable, "c7: p1 -> p9", Ok(r#"connectCable(cableId="c7" portA="p1" portB="p9") HARD"#));
        check(Verb::Cable, "c7 p1", Err(JobError::Cable("c7 p1".to_owned())));
        check(Verb::Receive, "", Ok(r#"photograph(slot="h1/r2/k3/u11" subject="" serial="SN1") SOFT"#));
        check(Verb::PowerOn, "", Err(JobError::Verb(Verb::PowerOn)));
        check(Verb::Move, "", Err(JobError::Move));
        assert_eq!(Job { route: Vec::new(), ..job(Verb::Scan, "", &[]) }.steps(), Err(JobError::Route));
    }
}
