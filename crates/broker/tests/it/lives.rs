//! Any calls in any order, on what a shell would have stored: the same call twice does once, a DELETE wins, and nothing that
//! was there is lost but by a DELETE.

use broker::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use types::{KeyId, OperationId, ProjectId, UnixMillis};

pub fn registration() -> Registration {
    Registration {
        plans: Plan::ALL.to_vec(),
        subaccounts: None,
        tenant_key: "subaccount_id".to_owned(),
        tenants_max: 10,
        instances_max: 10,
        tenant_budget: None,
        signing: Signing::default(),
        certificate_subject: None,
    }
}

/// What is stored under one id of an instance and one of a binding, and what a shell did.
#[derive(Clone, Debug, PartialEq)]
struct World {
    instance: Slot<Instance>,
    binding: Slot<Binding>,
    projects: Vec<ProjectId>,
    keys: Vec<KeyId>,
    revoked: Vec<KeyId>,
    now: i64,
    drawn: u128,
}

#[derive(Clone, Debug)]
enum Call {
    Put {
        plan: Plan,
        budget: u32,
    },
    Patch {
        plan: Plan,
        budget: u32,
        replicas: u32,
    },
    Delete,
    /// The second half of a DELETE whose first half was answered by a crash.
    Ended,
    Fulfil,
    Refuse,
    Bind {
        days: u32,
    },
    Unbind,
    Wait(i64),
}

fn calls() -> impl Strategy<Value = Call> {
    let plan = || prop::sample::select(Plan::ALL.to_vec());
    prop_oneof![
        4 => (plan(), 0..3u32).prop_map(|(plan, budget)| Call::Put { plan, budget }),
        2 => (plan(), 0..3u32, 1..3u32).prop_map(|(plan, budget, replicas)| Call::Patch { plan, budget, replicas }),
        2 => Just(Call::Delete),
        1 => Just(Call::Ended),
        2 => Just(Call::Fulfil),
        1 => Just(Call::Refuse),
        2 => (1..3u32).prop_map(|days| Call::Bind { days }),
        1 => Just(Call::Unbind),
        1 => prop::sample::select(vec![1, TOMBSTONE_MILLIS - 1, TOMBSTONE_MILLIS, POLLING_SECS_MAX * 1_000]).prop_map(Call::Wait),
    ]
}

fn parameters(plan: Plan, budget: u32) -> Value {
    match plan {
        Plan::InferenceDedicated => json!({ "model": "m", "monthly_budget_eur": budget }),
        Plan::InferenceShared | Plan::GroundedAnswers => json!({ "monthly_budget_eur": budget }),
    }
}

fn put(plan: Plan, budget: u32) -> Provision {
    let body = json!({ "service_id": SERVICE, "plan_id": plan.id(), "organization_guid": "-", "space_guid": "-",
        "context": { "subaccount_id": "s" }, "parameters": parameters(plan, budget) });
    Provision::read(&registration(), "i", body.to_string().as_bytes(), true).unwrap()
}

fn named(plan: Plan) -> Named {
    Named::read(Which { service_id: Some(SERVICE.to_owned()), plan_id: Some(plan.id().to_owned()), operation: None })
        .unwrap()
}

impl World {
    fn new() -> World {
        World {
            instance: Slot::Free,
            binding: Slot::Free,
            projects: Vec::new(),
            keys: Vec::new(),
            revoked: Vec::new(),
            now: 1_794_700_800_000,
            drawn: 0,
        }
    }

    fn now(&self) -> UnixMillis {
        UnixMillis(self.now)
    }

    fn fresh(&mut self) -> Fresh {
        self.drawn += 1;
        Fresh { project: ProjectId(self.drawn), operation: OperationId(self.drawn) }
    }

    fn held(&self) -> Option<Instance> {
        match &self.instance {
            Slot::Held(held) => Some(held.at(self.now())),
            Slot::Free | Slot::Gone { .. } => None,
        }
    }

    /// Does what a shell does with a step of the instance; its status.
    fn take(&mut self, step: Step<Instance>) -> u16 {
        match step.act {
            Act::Make => {
                let Next::Held(next) = &step.next else { panic!("a project for nothing") };
                self.projects.push(next.project.unwrap());
            }
            Act::End => self.revoked.clone_from(&self.keys),
            Act::Nothing | Act::Change => {}
        }
        match step.next {
            Next::Same => {}
            Next::Held(next) => self.instance = Slot::Held(next),
            Next::Gone { until, operation } => {
                // A shell removes its bindings with it.
                self.binding = Slot::Free;
                self.instance = Slot::Gone { until, operation };
            }
        }
        step.answer.map_or_else(|refusal| refusal.status, |answer| answer.status)
    }

    fn call(&mut self, call: &Call) -> u16 {
        let (fresh, now) = (self.fresh(), self.now());
        let (plan, operation) =
            self.held().map_or((Plan::InferenceShared, None), |held| (held.asked.plan, held.order()));
        let step = match call {
            Call::Put { plan, budget } => provision(&self.instance, &put(*plan, *budget), fresh, now),
            Call::Patch { plan, budget, replicas } => {
                let mut parameters = parameters(*plan, *budget);
                if plan.by_order() {
                    parameters["replicas"] = json!(replicas);
                }
                let body = json!({ "service_id": SERVICE, "plan_id": plan.id(), "parameters": parameters });
                let change = Change::read(&registration(), "i", body.to_string().as_bytes(), true).unwrap();
                update(&self.instance, &change, fresh, now)
            }
            Call::Delete => {
                let status = self.take(deprovision(&self.instance, &named(plan), now));
                if status == 200 {
                    self.take(ended(&self.instance, now));
                }
                return status;
            }
            Call::Ended => Ok(ended(&self.instance, now)),
            Call::Fulfil => match fulfil(&self.instance, operation.unwrap_or(OperationId(0)), fresh, now) {
                Some(step) => Ok(step),
                None => return 404,
            },
            Call::Refuse => match refuse(&self.instance, operation.unwrap_or(OperationId(0)), "no", now) {
                Some(step) => Ok(step),
                None => return 404,
            },
            Call::Bind { days } => return self.bind(*days, plan),
            Call::Unbind => {
                let step = unbind(&self.binding, &named(plan), now);
                if let (Act::End, Slot::Held(held)) = (step.act, &self.binding) {
                    self.revoked.push(held.key);
                }
                if let Next::Gone { until, operation } = step.next {
                    self.binding = Slot::Gone { until, operation };
                }
                return step.answer.map_or_else(|refusal| refusal.status, |answer| answer.status);
            }
            Call::Wait(millis) => {
                self.now += millis;
                return 0;
            }
        };
        match step {
            Ok(step) => self.take(step),
            Err(refusal) => refusal.status,
        }
    }

    fn bind(&mut self, days: u32, plan: Plan) -> u16 {
        let body = json!({ "service_id": SERVICE, "plan_id": plan.id(), "parameters": { "expires_in_days": days } });
        let ask = Bind::read(&registration(), "i", body.to_string().as_bytes()).unwrap();
        let fresh = FreshBinding { key: KeyId(self.drawn), salt: "00".to_owned() };
        match bind(&self.instance, &self.binding, None, 0, &ask, fresh, self.now()) {
            Err(refusal) => refusal.status,
            Ok(step) => {
                if let Next::Held(next) = step.next {
                    assert_eq!(step.act, Act::Make);
                    self.keys.push(next.key);
                    self.binding = Slot::Held(next);
                }
                step.answer.unwrap().status
            }
        }
    }

    fn fetched(&self) -> Result<Answer, Refusal> {
        fetch(&self.instance, &Which::default(), self.now())
    }
}

/// Everything but the ids that a repeat draws and throws away.
fn seen(world: &World) -> World {
    World { drawn: 0, ..world.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_same_call_twice_does_once(before in prop::collection::vec(calls(), 0..12), call in calls()) {
        prop_assume!(!matches!(call, Call::Wait(_)));
        let mut world = World::new();
        before.iter().for_each(|call| { world.call(call); });
        let first = world.call(&call);
        let after = seen(&world);
        let second = world.call(&call);
        prop_assert_eq!(seen(&world), after);
        let expect = match (&call, first) {
            (Call::Put { .. } | Call::Bind { .. }, 201) => 200,
            (Call::Delete | Call::Unbind, 200) => 410,
            (Call::Fulfil | Call::Refuse, 200) => 404,
            (_, status) => status,
        };
        prop_assert_eq!(second, expect);
    }

    #[test]
    fn a_delete_wins(
        before in prop::collection::vec(calls(), 0..12),
        after in prop::collection::vec(calls(), 0..12),
    ) {
        let mut world = World::new();
        before.iter().for_each(|call| { world.call(call); });
        prop_assert!([200, 410].contains(&world.call(&Call::Delete)));
        prop_assert!(world.keys.iter().all(|key| world.revoked.contains(key)), "a key outlives its instance");
        let (projects, keys, deleted) = (world.projects.len(), world.keys.len(), world.now);
        for call in &after {
            world.call(call);
            if world.now - deleted >= TOMBSTONE_MILLIS {
                return Ok(());
            }
            prop_assert_eq!(world.fetched().unwrap_err().status, 404);
            prop_assert_eq!((world.projects.len(), world.keys.len()), (projects, keys), "made after its DELETE");
        }
    }

    #[test]
    fn what_is_there_stays_until_it_is_deleted(calls in prop::collection::vec(calls(), 1..20)) {
        let mut world = World::new();
        for call in &calls {
            let before = world.held();
            let status = world.call(call);
            let after = world.held();
            if let (Some(before), false) = (&before, matches!(call, Call::Delete | Call::Ended)) {
                let after = after.clone().unwrap();
                prop_assert!(before.project.is_none() || after.project == before.project, "another project");
                let changes = matches!(call, Call::Patch { .. } | Call::Fulfil) && status == 200;
                prop_assert!(after.asked == before.asked || changes, "{:?} changed what was asked for", call);
            }
            // 4xx leaves everything as it is: but for the tombstones.
            if (400..500).contains(&status) && !matches!(call, Call::Delete | Call::Unbind) {
                prop_assert_eq!(&after, &before);
            }
            // A project is there when the instance is, and only then: never two for one life.
            if let Some(Instance { state: State::Ready { .. } | State::Changing { .. }, project, .. }) = &after {
                prop_assert!(project.is_some());
                prop_assert_eq!(world.projects.last(), project.as_ref());
            }
        }
        let mut once = world.projects.clone();
        once.dedup();
        prop_assert_eq!(once, world.projects);
    }
}

fn check(calls: &[(Call, u16)]) -> World {
    let mut world = World::new();
    for (place, (call, status)) in calls.iter().enumerate() {
        assert_eq!(world.call(call), *status, "{place}: {call:?} of {calls:?}");
    }
    world
}

const SHARED: Call = Call::Put { plan: Plan::InferenceShared, budget: 1 };
const DEDICATED: Call = Call::Put { plan: Plan::InferenceDedicated, budget: 1 };

#[test]
fn lives_in_words() {
    check(&[
        (SHARED, 201),
        (SHARED, 200),
        (Call::Put { plan: Plan::InferenceShared, budget: 2 }, 409),
        (DEDICATED, 409),
    ]);
    check(&[
        (DEDICATED, 202),
        (DEDICATED, 202),
        (SHARED, 409),
        (Call::Bind { days: 1 }, 422),
        (Call::Fulfil, 200),
        (DEDICATED, 200),
        (Call::Bind { days: 1 }, 201),
    ]);
    check(&[
        (DEDICATED, 202),
        (Call::Delete, 200),
        (Call::Fulfil, 404),
        (DEDICATED, 422),
        (Call::Wait(TOMBSTONE_MILLIS), 0),
        (DEDICATED, 202),
    ]);
    check(&[
        (Call::Delete, 410),
        (SHARED, 422),
        (Call::Wait(TOMBSTONE_MILLIS - 1), 0),
        (SHARED, 422),
        (Call::Wait(1), 0),
        (SHARED, 201),
    ]);
    let world = check(&[(DEDICATED, 202), (Call::Wait(POLLING_SECS_MAX * 1_000 - 1), 0), (Call::Fulfil, 200)]);
    assert_eq!(world.projects.len(), 1);
    check(&[
        (DEDICATED, 202),
        (Call::Wait(POLLING_SECS_MAX * 1_000), 0),
        (Call::Fulfil, 404),
        (DEDICATED, 409),
        (Call::Delete, 200),
    ]);
    check(&[
        (SHARED, 201),
        (Call::Bind { days: 1 }, 201),
        (Call::Bind { days: 1 }, 200),
        (Call::Bind { days: 2 }, 409),
        (Call::Unbind, 200),
        (Call::Unbind, 410),
        (Call::Bind { days: 1 }, 422),
    ]);
    let more = Call::Patch { plan: Plan::InferenceDedicated, budget: 1, replicas: 2 };
    check(&[
        (SHARED, 201),
        (more.clone(), 202),
        (more.clone(), 202),
        (Call::Bind { days: 1 }, 201),
        (Call::Refuse, 200),
        (more.clone(), 202),
        (Call::Fulfil, 200),
        (more, 200),
    ]);
}

/// The 200th binding of an instance is made, the next one is not; nor is one of another plan, or for another customer.
#[test]
fn a_binding_is_of_its_instance_and_one_of_so_many() {
    let mut world = World::new();
    let plan = Plan::InferenceShared;
    assert_eq!(world.call(&Call::Put { plan, budget: 0 }), 201);
    let status = |plan: Plan, count: u64, context: Value| {
        let body = json!({ "service_id": SERVICE, "plan_id": plan.id(), "context": context });
        let ask = Bind::read(&registration(), "i", body.to_string().as_bytes()).unwrap();
        let fresh = FreshBinding { key: KeyId(1), salt: "00".to_owned() };
        match bind(&world.instance, &Slot::Free, None, count, &ask, fresh, world.now()) {
            Ok(step) => step.answer.unwrap().status,
            Err(refusal) => refusal.status,
        }
    };
    assert_eq!(status(plan, BINDINGS_MAX - 1, json!({})), 201);
    assert_eq!(status(plan, BINDINGS_MAX, json!({})), 400);
    assert_eq!(status(Plan::GroundedAnswers, 0, json!({})), 400);
    assert_eq!(status(plan, 0, json!({ "subaccount_id": "other" })), 400);
    assert_eq!(status(plan, 0, json!({ "subaccount_id": "s" })), 201);
    // Once its end has begun there is no further one, also while what it stored is still being destroyed.
    let Next::Held(ending) = deprovision(&world.instance, &named(plan), world.now()).next else { panic!("it ends") };
    world.instance = Slot::Held(ending);
    assert_eq!(world.bind(1, plan), 422);
}

#[test]
fn a_failed_change_says_that_the_instance_works() {
    let more = Call::Patch { plan: Plan::InferenceDedicated, budget: 1, replicas: 2 };
    let world = check(&[(SHARED, 201), (more, 202)]);
    assert_eq!(world.fetched().unwrap_err().error, Some("ConcurrencyError"));
    let operation = world.held().unwrap().order().unwrap().to_string();
    let poll = |world: &World| {
        let which = Which { operation: Some(operation.clone()), ..Which::default() };
        last_operation(&world.instance, &which, world.now()).unwrap().body
    };
    assert_eq!(poll(&world)["state"], "in progress");
    let mut world = world;
    world.call(&Call::Refuse);
    let body = poll(&world);
    assert_eq!(
        (&body["state"], &body["instance_usable"], &body["update_repeatable"]),
        (&json!("failed"), &json!(true), &json!(true))
    );
    assert_eq!(world.fetched().unwrap().body["plan_id"], Plan::InferenceShared.id());
}

/// A slip of the operator's finger, or an order that was deleted and ordered anew meanwhile.
#[test]
fn an_order_is_ended_by_its_own_id_only() {
    let world = check(&[(DEDICATED, 202)]);
    let (own, fresh) =
        (world.held().unwrap().order().unwrap(), Fresh { project: ProjectId(9), operation: OperationId(9) });
    for other in [OperationId(0), OperationId(own.0 + 1)] {
        assert_eq!(fulfil(&world.instance, other, fresh, world.now()), None);
        assert_eq!(refuse(&world.instance, other, "no", world.now()), None);
    }
    assert!(fulfil(&world.instance, own, fresh, world.now()).is_some());
}

#[test]
fn what_ended_an_order_is_told_to_who_polls_it() {
    let world = check(&[(DEDICATED, 202)]);
    let operation = world.held().unwrap().order().unwrap().to_string();
    let mut world = world;
    world.call(&Call::Delete);
    let poll = |operation: Option<&str>| {
        let which = Which { operation: operation.map(str::to_owned), ..Which::default() };
        last_operation(&world.instance, &which, world.now()).map(|answer| answer.body["state"].clone())
    };
    assert_eq!(poll(Some(&operation)).unwrap(), "failed");
    assert_eq!(poll(None).unwrap_err().status, 410);
    assert_eq!(poll(Some("other")).unwrap_err().status, 410);
}

/// Read strictly: whatever is wrong with a body is 400, except what the specification gives another status.
#[test]
fn bodies() {
    let good = json!({ "service_id": SERVICE, "plan_id": Plan::InferenceDedicated.id(), "organization_guid": "-",
        "space_guid": "-", "context": { "subaccount_id": "s" }, "parameters": { "model": "m" } });
    let read = |body: &Value| {
        Provision::read(&registration(), "i", body.to_string().as_bytes(), true).map_err(|refusal| refusal.status)
    };
    read(&good).unwrap();
    for (name, value, status) in [
        ("service_id", json!(null), 400),
        ("service_id", json!("x"), 400),
        ("plan_id", json!("x"), 400),
        ("plan_id", json!(7), 400),
        ("organization_guid", json!(""), 400),
        ("space_guid", json!(null), 400),
        ("context", json!("x"), 400),
        ("context", json!({}), 400),
        ("context", json!({ "subaccount_id": 7 }), 400),
        ("context", json!({ "subaccount_id": "x".repeat(129) }), 400),
        ("parameters", json!([]), 400),
        ("parameters", json!({ "model": "" }), 400),
        ("maintenance_info", json!({}), 400),
        ("maintenance_info", json!({ "version": "9.9.9" }), 422),
    ] {
        let mut body = good.clone();
        body[name] = value;
        assert_eq!(read(&body).unwrap_err(), status, "{body}");
    }
    for text in ["", "{", "[]", "7", "\"\u{0}\""] {
        assert_eq!(Provision::read(&registration(), "i", text.as_bytes(), true).unwrap_err().status, 400, "{text}");
    }
    let mut ours = registration();
    ours.subaccounts = Some(vec!["t".to_owned()]);
    ours.plans = vec![Plan::InferenceDedicated];
    assert_eq!(Provision::read(&ours, "i", good.to_string().as_bytes(), true).unwrap_err().status, 400);
    ours.subaccounts = Some(vec!["s".to_owned()]);
    Provision::read(&ours, "i", good.to_string().as_bytes(), true).unwrap();
    ours.plans = vec![Plan::InferenceShared];
    assert_eq!(Provision::read(&ours, "i", good.to_string().as_bytes(), true).unwrap_err().status, 400);
    let without = provision(
        &Slot::Free,
        &Provision { incomplete: false, ..put(Plan::InferenceDedicated, 1) },
        Fresh { project: ProjectId(1), operation: OperationId(1) },
        UnixMillis(0),
    );
    assert_eq!(without.unwrap_err().error, Some("AsyncRequired"));
}
