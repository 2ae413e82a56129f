//! From a BMC to a machine that is held: a DGX through executor and reconciler, against its bill of materials. Once in the
//! shape of the capture, made up here, and once as captured where that is at hand.

use crate::reconcile::{World, spec};
use crate::site::START;
use controller::reconcile::Reconciler;
use controller::reconcile::bmcs::{BmcParts, run};
use fleet::machine::{Lifecycle, Machine, Spec};
use redfish::fake::{Bmc, Options, Server, Shape, Tree};
use redfish::{Address, Client, Credentials, Limits, Password, Trust};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::{MachineId, UnixMillis};

const GPU: &str = "/redfish/v1/Systems/HGX_Baseboard_0/Processors/GPU_SXM_3";

/// As a DGX is built: the host is one system, the baseboard with the GPUs another, and the chassis has the serial number on
/// the label.
fn made_up() -> Tree {
    let mut tree = Shape { gpus: 0, ..Shape::dgx_b200() }.tree();
    let link = |path: &str| json!({ "@odata.id": format!("/redfish/v1/{path}") });
    tree.put("/redfish/v1/Systems", json!({ "Members": [link("Systems/HGX_Baseboard_0"), link("Systems/System")] }));
    let processors = link("Systems/HGX_Baseboard_0/Processors");
    let board = json!({ "Id": "HGX_Baseboard_0", "SerialNumber": "1593823000001", "Processors": processors });
    tree.put("/redfish/v1/Systems/HGX_Baseboard_0", board);
    let gpu = |n: usize| {
        let (serial, status) = (format!("165292300{n:04}"), json!({ "State": "Enabled", "Health": "OK" }));
        let gpu = json!({ "ProcessorType": "GPU", "Model": "B200", "SerialNumber": serial, "Status": status });
        (format!("GPU_SXM_{n}"), gpu)
    };
    tree.put_collection("/redfish/v1/Systems/HGX_Baseboard_0/Processors", (1..=8).map(gpu).collect());
    let mut chassis = tree.get("/redfish/v1/Chassis/Chassis").unwrap().clone();
    chassis["SerialNumber"] = json!("1663123000001");
    tree.put("/redfish/v1/Chassis/Chassis", chassis);
    tree
}

/// The capture, unpacked; none where it is not at hand.
fn captured() -> Option<Tree> {
    let archive = PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().skip(2).find_map(|folder| {
        let file = folder.join("shared/data/redfish/dgx-h100.tar.gz");
        file.is_file().then_some(file)
    })?;
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success());
    Some(Tree::from_folder(&folder.path().join("tests/mockups/nvidia_viking")).unwrap())
}

/// Installs the machine with the bill that its own inventory is, but for one GPU that was exchanged on the way; then it comes
/// back with the right one.
async fn discovered(tree: Tree) {
    let bmc = Arc::new(Bmc::new(Arc::new(tree), "1662923000001", "b11dd4f2", "root", "pw"));
    let server = Server::start(vec![bmc.clone()], Options::default()).await.unwrap();
    let credentials = Credentials::new("root", Password::new("pw"));
    let address = Address::new(&server.url(0), credentials, Trust::Plain).unwrap();
    let reading = Client::new(&address, Limits::default()).unwrap().inventory().await.unwrap();
    assert_eq!(reading.gaps, []);
    let inventory = reading.inventory;
    assert_ne!(inventory.serial, reading.system_serial, "the label is the chassis'");
    let mut serials: BTreeMap<String, String> =
        inventory.parts.iter().map(|(name, part)| (name.clone(), part.serial.clone())).collect();
    serials.retain(|_, serial| !serial.is_empty());
    serials.insert("chassis".to_owned(), inventory.serial.clone());
    let count = |kind: &str| inventory.parts.values().filter(|part| part.kind == kind).count() as u32;
    let parts = ["gpu", "psu", "nvswitch"].map(|kind| (kind.to_owned(), count(kind)));
    assert_eq!((count("gpu"), count("psu")), (8, 6));
    let (wanted, found) = (serials["gpu3"].clone(), "1652923009999");
    let spec = Spec { serials, parts: parts.into(), firmware: inventory.firmware, ..spec(1) };
    println!("{} serial numbers and {} firmware entries in its bill", spec.serials.len(), spec.firmware.len());

    bmc.set(GPU, "/SerialNumber", json!(found));
    let mut world = World::of(vec![(spec, Machine::planned(MachineId(1), UnixMillis(START)))]).await;
    world.bmc_at(MachineId(1), &server.url(0)).await;
    let clock = world.site.clock.clone();
    let executor = BmcParts {
        store: world.site.store.clone(),
        wants: world.wants.clone(),
        bell: Default::default(),
        clock: Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed))),
        random: Arc::new(|bytes| bytes.fill(0)),
        ca: None,
        plain_on_loopback: true,
        firmware_url: None,
        read_again: 0,
    };
    let executor = tokio::spawn(run(executor));
    let mut reconciler = Reconciler::start(world.parts()).await.unwrap();
    let store = world.site.store.clone();
    let machine = async || store.machine(MachineId(1)).await.unwrap().unwrap().machine;
    while machine().await.hold.is_none() {
        reconciler.turn().await.unwrap();
        world.people().await;
        assert!(machine().await.lifecycle <= Lifecycle::Powered);
    }
    let held = machine().await;
    let hold = held.hold.unwrap();
    assert_eq!(
        (held.lifecycle, hold.code.as_str(), hold.about.as_str()),
        (Lifecycle::Powered, "serial_differs", "gpu3")
    );
    assert_eq!(hold.text, format!("gpu3: wanted {wanted}, found {found}"));
    // People see it.
    let shown = world.site.get(&format!("/api/v1/machines/{}", held.id)).await.expect(200);
    assert!(shown.to_string().contains(&hold.text), "{shown}");
    let events = world.site.get("/api/v1/fleet/events").await.expect(200).to_string();
    assert!(events.contains(&hold.text), "{events}");

    // The right one comes in; a held machine's BMC is asked again, which shows it, and the machine goes on.
    bmc.set(GPU, "/SerialNumber", json!(wanted));
    while machine().await.hold.is_some() {
        reconciler.turn().await.unwrap();
        tokio::task::yield_now().await;
    }
    let next = machine().await;
    assert_eq!((next.lifecycle, next.reason.as_str()), (Lifecycle::Powered, "waits for its agent to enrol"));
    executor.abort();
}

#[tokio::test]
async fn a_dgx_with_another_gpu_is_held_with_the_difference() {
    discovered(made_up()).await;
}

#[tokio::test]
async fn the_captured_dgx_with_another_gpu_is_held_with_the_difference() {
    match captured() {
        Some(tree) => discovered(tree).await,
        None => println!("skipped: no shared/data/redfish/dgx-h100.tar.gz beside the repository"),
    }
}
