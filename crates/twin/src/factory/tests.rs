//! Small factories: the same course twice, nothing that must not be, limits, spares, bad scenarios.

use super::scenario::Start;
use super::*;
use fleet::drains::{DOMAIN_PER_DAY_MAX, DOMAIN_PER_HOUR_MAX};

const SITE: &str = include_str!("../../../../sites/small/site.toml");

/// So many machines of the small site's kind, two to a rack, all behind the same leaves.
fn machines(count: usize) -> Vec<PlannedMachine> {
    let site = fleet::site::read(SITE, None).site.unwrap();
    let kind = site.machines().remove(0);
    let one = |number: usize| {
        let mut machine = kind.clone();
        machine.spec.slot = format!("h1/r01/k{:02}/u{:02}", number / 2, 1 + number % 2 * 12);
        machine.spec.serials.clear();
        machine
    };
    (0..count).map(one).collect()
}

fn scenario(more: &str) -> Scenario {
    Scenario::parse(&format!("format = 1\nname = \"test\"\nsite = \"small\"\n{more}")).unwrap()
}

fn study(count: usize, scenario: &Scenario) -> Report {
    let every_event = Checks { every: 1 };
    run(&machines(count), scenario, every_event, |_| {}).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_table() {
    let mut scenario = scenario("start = \"pallet\"\ndays = 40\nfaults = { factor = 20 }");
    let told = |it: &Scenario| {
        let report = study(16, it);
        (report.text(), report.csv())
    };
    let first = told(&scenario);
    assert_eq!(first, told(&scenario));
    scenario.seed = 2;
    // The table names its seed; the days differ by what happened.
    assert_ne!(first.1, told(&scenario).1);
}

/// What the deciding code promises holds at every event, whatever goes wrong: each change of a machine, and the fleet.
#[test]
fn nothing_that_must_not_be_ever_is() {
    for seed in 1..=4 {
        let mut scenario = scenario(
            "start = \"pallet\"\ndays = 40\nrobots = { count = 3, dies_per_thousand = 100 }\n\
             people = { count = 4 }\nspares = { order_days = 3, stock = { gpu = 1, board = 1, cable = 1 } }\n\
             machines = { dead_on_arrival = 0.3, suite_cut_off = 0.2 }\nfaults = { factor = 60, switches = 0.5 }\n\
             [work.fails_per_thousand]\ncable = 200\nlift = 200\nscan = 300",
        );
        scenario.seed = seed;
        let report = study(12, &scenario);
        assert!(report.faults > 20, "{}", report.text());
        assert!(report.capacity_days[&100].is_some(), "seed {seed}: {}", report.text());
    }
}

#[test]
fn a_factory_without_faults_serves_all_the_time() {
    let report = study(8, &scenario("start = \"capacity\"\ndays = 20\nfaults = { factor = 0 }"));
    assert_eq!((report.serving_share, report.serving, report.faults), (1.0, 8, 0));
    assert_eq!(report.drains_automatic + report.drains_asked, 0);
}

#[test]
fn more_robots_are_sooner_done() {
    let days = |robots: usize| {
        let mut scenario = scenario("start = \"pallet\"\ndays = 60\nfaults = { factor = 0 }");
        scenario.robots.count = robots;
        study(24, &scenario).capacity_days[&100].unwrap()
    };
    let (one, four, none) = (days(1), days(4), days(0));
    assert!(one > four + 1.0, "{one} {four}");
    // What no robot can do is people's.
    assert!(none < 60.0, "{none}");
}

#[test]
fn a_repair_waits_for_its_spare() {
    let text = "start = \"capacity\"\ndays = 40\nfaults = { factor = 30, switches = 0 }";
    let lacking = |stock: usize| {
        let mut scenario = scenario(text);
        scenario.spares.stock.insert("gpu".to_owned(), stock);
        let report = run(&machines(16), &scenario, Checks { every: 100 }, |_| {}).unwrap();
        let gpus = report.spares.into_iter().find(|it| it.part == "gpu").unwrap();
        assert!(gpus.used > 0);
        (gpus.lacking, report.repair.p90)
    };
    let (none, short) = (lacking(100), lacking(0));
    assert_eq!(none.0, 0);
    assert!(short.0 > 0 && short.1 > none.1 + 24.0 * 60.0, "{none:?} {short:?}");
}

/// 40 machines behind one switch: it is off for a day, again and again.
#[test]
fn a_switch_fault_drains_no_more_than_the_limit() {
    let text = "start = \"capacity\"\ndays = 30\nfaults = { factor = 40, switches = 1, switch_hours = 24 }";
    let report = run(&machines(40), &scenario(text), Checks { every: 100 }, |_| {}).unwrap();
    assert!(report.switch_faults > 0 && report.drains_refused > 0, "{}", report.text());
    assert!(report.findings.contains_key("page shared_cause"), "{}", report.text());
    // All machines stand behind the same eight leaves, so the day's limit of one leaf is the site's.
    let most = report.by_day.iter().map(|it| it.drains).max().unwrap();
    let asked = report.drains_asked;
    assert!(most <= (DOMAIN_PER_DAY_MAX + DOMAIN_PER_HOUR_MAX) as u64 + asked, "{most}");
}

#[test]
fn bad_scenarios_are_refused_with_their_line() {
    let check = |text: &str, want: &str| {
        let error = Scenario::parse(text).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let good = "format = 1\nname = \"x\"\nsite = \"small\"\ndays = 1\nstart = \"pallet\"\n";
    assert!(Scenario::parse(good).is_ok());
    check(&format!("{good}robotz = 3"), "line 6");
    check(&good.replace("format = 1", "format = 2"), "format is 2");
    check(&good.replace("days = 1", "days = 0"), "days is 0");
    check(&format!("{good}[people]\ncount = 3\n"), "at least two for each of 2 shifts");
    check(&format!("{good}[people]\nshifts = [\"6 to 9\"]\n"), "people.shifts");
    check(&format!("{good}[work.minutes]\nlift = 91\n"), "91 for lift");
    check(&format!("{good}[robots]\nverbs = [\"swap\"]\n"), "robots.verbs");
    check(&format!("{good}[faults]\nfactor = nan\n"), "faults.factor");
    check(&" ".repeat(scenario::SCENARIO_BYTES_MAX + 1), "at most");
    assert!(Scenario::parse(&format!("{good}{}", " ".repeat(scenario::SCENARIO_BYTES_MAX - good.len()))).is_ok());
}

#[test]
fn shipped_scenarios_read_and_name_sites_that_are_there() {
    for (name, text) in SCENARIOS {
        let scenario = Scenario::parse(text).unwrap();
        assert_eq!(scenario.name, *name);
        let site = fleet::site::read(site_named(&scenario.site).unwrap(), None).site.unwrap();
        assert_eq!(site.machines().len(), 1_250);
    }
    assert_eq!(Scenario::parse(SCENARIOS[0].1).unwrap().start, Start::Pallet);
}

/// The figures of docs/twin.md: `cargo test -p twin --lib -- --ignored --nocapture shipped_studies`.
#[test]
#[ignore = "a minute; run by hand for the documentation"]
fn shipped_studies_print_their_tables() {
    for (_, text) in SCENARIOS {
        let scenario = Scenario::parse(text).unwrap();
        let site = fleet::site::read(site_named(&scenario.site).unwrap(), None).site.unwrap();
        let report = run(&site.machines(), &scenario, Checks::default(), |_| {}).unwrap();
        println!("{}\n", report.text());
        println!("{} events, {} steps\n", report.events, report.steps);
    }
}
