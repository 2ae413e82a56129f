//! What is found of a machine, and what is said of what is not.

use crate::fixture::{FIRMWARE, LOG, Machine, SYSTEM, bmc, client_of, machine, shape};
use fleet::observed::Power;
use redfish::fake::{Misdeed, Options, Server, Shape};
use redfish::{Limits, Severity};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn everything_is_found() {
    let Machine { bmc, server } = machine().await;
    let reading = client_of(&server.url(0), Limits::default()).inventory().await.unwrap();
    assert_eq!(reading.gaps, []);
    let inventory = &reading.inventory;
    assert_eq!((inventory.manufacturer.as_str(), inventory.model.as_str()), ("NVIDIA", "DGX B200"));
    assert_eq!((inventory.serial.as_str(), reading.system_serial.as_str()), ("S1", "S1"));
    assert_eq!(inventory.uuid, "b11dd4f2-bfde-1000-02bc-5cff35fbe6e9");
    assert_eq!((inventory.power, inventory.secure_boot), (Power::Off, Some(true)));
    let names: Vec<&str> = inventory.parts.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "cpu1",
            "cpu2",
            "dimm1",
            "dimm2",
            "drive1",
            "drive2",
            "gpu1",
            "gpu2",
            "nic1",
            "nic2",
            "nvswitch1",
            "nvswitch2",
            "psu1",
            "psu2"
        ]
    );
    assert_eq!(inventory.parts["gpu2"].serial, "S1-GPU2");
    assert_eq!(inventory.parts["gpu2"].model, "B200");
    assert_eq!(inventory.firmware["HostBIOS_0"], "1.0");
    assert_eq!(inventory.complaints, Vec::<String>::new());
    assert_eq!(u64::from(reading.requests), bmc.requests());
}

/// The same inventory from a BMC that expands collections and one that does not, and the difference in requests.
#[tokio::test]
async fn expansion_saves_requests_and_changes_nothing() {
    let able = Shape::dgx_b200();
    let plain = Shape { expands: false, ..able.clone() };
    let bmcs = [able, plain].map(|shape| bmc(&Arc::new(shape.tree()), "S1"));
    // Says that it can, and cannot.
    let liar = bmc(&Arc::new(Shape { expands: false, ..Shape::dgx_b200() }.tree()), "S1");
    liar.set("/redfish/v1", "/ProtocolFeaturesSupported/ExpandQuery", json!({ "NoLinks": true, "Levels": true }));
    liar.misbehave("/redfish/v1/Systems?$expand", Misdeed::Status(501));
    let server = Server::start([&bmcs[..], &[liar]].concat(), Options::default()).await.unwrap();
    let mut readings = Vec::new();
    for number in 0..3 {
        readings.push(client_of(&server.url(number), Limits::default()).inventory().await.unwrap());
    }
    assert_eq!(readings[0].inventory, readings[1].inventory);
    assert_eq!(readings[0].inventory, readings[2].inventory);
    let requests: Vec<u32> = readings.iter().map(|reading| reading.requests).collect();
    assert_eq!(requests, [28, 112, 113], "requests of a DGX B200, expanded, by member, and after a broken promise");
}

#[tokio::test]
async fn what_a_bmc_complains_of_is_told_worst_first() {
    let machine = machine().await;
    machine.bmc.set(&format!("{SYSTEM}/Processors/GPU_SXM_2"), "/Status/Health", json!("Critical"));
    machine.bmc.set("/redfish/v1/Chassis/Chassis/PowerSubsystem/PowerSupplies/PSU0", "/Status/State", json!("Absent"));
    machine.bmc.complain(LOG, "2026-11-27T06:00:00Z", "Warning", "fan 3 is slow");
    machine.bmc.complain(LOG, "2026-11-27T06:00:01Z", "OK", "somebody logged in");
    let reading = machine.client().inventory().await.unwrap();
    let parts = &reading.inventory.parts;
    let healthy = |name: &str| parts[name].healthy;
    assert_eq!((healthy("gpu1"), healthy("gpu2"), healthy("psu1"), healthy("psu2")), (true, false, false, true));
    let complaints = &reading.inventory.complaints;
    assert_eq!(complaints[..], ["GPU_SXM_2 is Critical", "2026-11-27T06:00:00Z: fan 3 is slow"]);
    assert_eq!(reading.log.len(), 2);
    assert_eq!((reading.log[0].severity, reading.log[1].severity), (Severity::Ok, Severity::Warning), "newest first");
}

/// One broken resource is a gap, never a machine without firmware.
#[tokio::test]
async fn what_cannot_be_read_is_a_gap() {
    let machine = machine().await;
    machine.bmc.misbehave(FIRMWARE, Misdeed::Status(500));
    let reading = machine.client().inventory().await.unwrap();
    assert_eq!(reading.gaps.len(), 1, "{:?}", reading.gaps);
    assert_eq!((reading.gaps[0].path.as_str(), reading.gaps[0].retry), (FIRMWARE, true));
    assert!(reading.inventory.firmware.is_empty());
    assert!(reading.inventory.complaints[0].starts_with("not read: "), "{:?}", reading.inventory.complaints);
    assert_eq!(reading.inventory.parts.len(), 14, "the rest is there");
}

#[tokio::test]
async fn power_supplies_in_the_old_place() {
    let machine = machine().await;
    let chassis = "/redfish/v1/Chassis/Chassis";
    machine.bmc.set(
        &format!("{chassis}/PowerSubsystem"),
        "",
        json!({
            "PowerSupplies": [{ "MemberId": "0", "SerialNumber": "A" }, { "MemberId": "1", "SerialNumber": "B" }],
        }),
    );
    machine.bmc.set(chassis, "/PowerSubsystem", json!(null));
    machine.bmc.set(chassis, "/Power", json!({ "@odata.id": format!("{chassis}/PowerSubsystem") }));
    let inventory = machine.client().inventory().await.unwrap().inventory;
    assert_eq!((inventory.parts["psu1"].serial.as_str(), inventory.parts["psu2"].serial.as_str()), ("A", "B"));
}

#[tokio::test]
async fn a_glance_costs_few_requests() {
    let machine = machine().await;
    let reading = machine.client().inventory().await.unwrap();
    machine.bmc.set(SYSTEM, "/PowerState", json!("On"));
    machine.bmc.complain(LOG, "2026-11-27T06:00:00Z", "Critical", "fan 3 stands");
    let glance = machine.client().glance(&reading.layout).await.unwrap();
    assert_eq!((glance.power, glance.system_serial.as_str(), glance.requests), (Power::On, "S1", 2));
    assert_eq!(glance.complaints, ["2026-11-27T06:00:00Z: fan 3 stands"]);
    let blind = machine.client().glance(&redfish::Layout::default()).await.unwrap();
    assert_eq!((blind.layout, blind.complaints), (reading.layout, glance.complaints));
    assert!(blind.requests > glance.requests);
}

#[tokio::test]
async fn connections_are_used_again() {
    let bmc = bmc(&Arc::new(shape().tree()), "S1");
    let server = Server::start(vec![bmc.clone()], Options::default()).await.unwrap();
    let client = client_of(&server.url(0), Limits { lanes: 2, ..Limits::default() });
    let reading = client.inventory().await.unwrap();
    client.inventory().await.unwrap();
    assert_eq!(bmc.requests(), 2 * u64::from(reading.requests));
    assert!(server.accepted() <= 2, "{} connections for {} requests", server.accepted(), bmc.requests());
}
