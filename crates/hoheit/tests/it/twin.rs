//! `hoheit twin serve`, as somebody types it: a small site of its own, from planned to capacity, with simulated BMCs, agents and
//! people over the real protocols.

use crate::site::hoheit;
use serde_json::{Value, json};

#[test]
fn a_small_site_from_planned_to_capacity() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("twin");
    let serve = |more: &[&str]| {
        let arguments = ["twin", "serve", "--site", "small", "--listen", "127.0.0.1:0", "--once", "--json", "--data"];
        let output = hoheit(&[&arguments[..], &[data.to_str().unwrap()], more].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = std::fs::read_to_string(data.join("hoheit.log")).unwrap_or_default();
        assert!(output.status.success(), "{said}\n{log}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    let told = serve(&["--stand", "1"]);
    assert_eq!((&told["machines"], &told["standing"]["capacity"]), (&json!(2), &json!(2)), "{told}");
    let done = &told["done"];
    assert_eq!([&done["orders"], &done["agents"], &done["suites"]], [4, 2, 2], "{told}");
    // Receive, scan, photograph; move, scan, lift, insert, torque, nine cables, photograph, power on: each is begun and ended,
    // and two confirm twice.
    assert_eq!(done["deeds"].as_u64().unwrap() - done["conflicts"].as_u64().unwrap(), 2 * (2 * (3 + 16) + 4), "{told}");
    // Started again, it finds them as the site knows them: nobody has anything to do.
    let again = serve(&[]);
    assert_eq!((&again["machines"], &again["done"]["orders"]), (&json!(2), &json!(0)), "{again}");
}

#[test]
fn what_is_simulated_stays_on_this_machine_and_out_of_a_site_that_is_meant() {
    let refused = |arguments: &[&str]| {
        let output = hoheit(&[&["twin", "serve", "--site", "small"], arguments].concat())
            .env("HOHEIT_TOKEN", "x")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let away = ["--url", "http://10.0.0.1:8080", "--agents", "https://10.0.0.1:8443"];
    assert!(refused(&away).contains("must not reach another"), "{}", refused(&away));
    let site = crate::site::Site::start(&["--no-model", "--agents", "127.0.0.1:0"]);
    let own = include_str!("../../../../sites/small/site.toml").replace("name = \"small\"", "name = \"meant\"");
    let file = site.scratch("site.toml");
    std::fs::write(&file, own).unwrap();
    site.cli(&["site", "apply", file.to_str().unwrap()]);
    let output = hoheit(&["twin", "serve", "--site", "small", "--url", &site.url, "--agents", "https://127.0.0.1:1"])
        .env("HOHEIT_TOKEN", site.token())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("another site file"), "{said}");
}
