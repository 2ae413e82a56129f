//! A real DGX H100, as its BMC answered on 2024-07-10: 5,091 files from DMTF's mockup creator, served over HTTP.

use crate::fixture::{PASSWORD, USER, client_of};
use fleet::observed::Power;
use redfish::Limits;
use redfish::fake::{Bmc, Options, Server, Tree};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// The capture, unpacked into a folder that goes away; `None` where it is not at hand.
pub fn tree() -> Option<Tree> {
    let archive = PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().skip(2).find_map(|folder| {
        let file = folder.join("shared/data/redfish/dgx-h100.tar.gz");
        file.is_file().then_some(file)
    });
    let Some(archive) = archive else {
        println!("skipped: no shared/data/redfish/dgx-h100.tar.gz beside the repository");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(folder.path()).status().unwrap();
    assert!(status.success());
    Some(Tree::from_folder(&folder.path().join("tests/mockups/nvidia_viking")).unwrap())
}

async fn serve(tree: Tree) -> (Arc<Bmc>, Server) {
    let bmc = Arc::new(Bmc::new(Arc::new(tree), "", "", USER, PASSWORD));
    let server = Server::start(vec![bmc.clone()], Options::default()).await.unwrap();
    (bmc, server)
}

#[tokio::test]
async fn a_captured_dgx_is_discovered() {
    let Some(tree) = tree() else { return };
    println!("{} resources", tree.len());
    let (bmc, server) = serve(tree).await;
    let client = client_of(&server.url(0), Limits::default());
    let reading = client.inventory().await.unwrap();
    let inventory = &reading.inventory;
    println!("{} requests, {} bytes, gaps {:#?}", reading.requests, reading.bytes, reading.gaps);

    let count = |kind: &str| inventory.parts.values().filter(|part| part.kind == kind).count();
    let counts = ["gpu", "psu", "nvswitch", "cpu", "dimm", "nic", "drive"].map(|kind| (kind, count(kind)));
    let expected = [("gpu", 8), ("psu", 6), ("nvswitch", 4), ("cpu", 2), ("dimm", 32), ("nic", 12), ("drive", 10)];
    assert_eq!(counts, expected);
    assert_eq!(inventory.firmware.len(), 66);
    assert_eq!(inventory.firmware["HostBIOS_0"], "01.01.03");
    assert_eq!((inventory.manufacturer.as_str(), inventory.model.as_str()), ("NVIDIA", "DGXH100"));
    assert_eq!((inventory.serial.as_str(), reading.system_serial.as_str()), ("1663123000052", "1662923610124"));
    assert_eq!(inventory.uuid, "b11dd4f2-bfde-1000-02bc-5cff35fbe6e9");
    assert_eq!((inventory.power, inventory.secure_boot), (Power::On, Some(false)));
    let serials = [1, 2, 3, 4, 5, 6, 7, 8].map(|n| inventory.parts[&format!("gpu{n}")].serial.clone());
    assert_eq!(
        serials,
        [
            "1652923003067",
            "1652923004435",
            "1652923004252",
            "1652923004442",
            "1652923003447",
            "1652923003973",
            "1652923003348",
            "1652923001497"
        ]
    );
    assert_eq!(inventory.parts["gpu1"].model, "H100 80GB HBM3");
    assert_eq!(inventory.parts["psu1"].serial, "DTHTCT23070SP");
    assert!(inventory.parts.values().all(|part| part.healthy));
    assert_eq!(reading.gaps, []);

    // As a DGX takes a reset: what is allowed stands in a resource of its own, and power cycles are not.
    assert_eq!(client.reset(redfish::Reset::Cycle).await, Ok(true));
    assert_eq!(bmc.resets(), ["ForceRestart"]);
}

/// The same machine with one other serial number, as its bill of materials would find it, and without `$expand`.
#[tokio::test]
async fn a_captured_dgx_with_another_gpu() {
    let Some(tree) = tree() else { return };
    let (bmc, server) = serve(tree).await;
    let client = client_of(&server.url(0), Limits::default());
    let before = client.inventory().await.unwrap();
    bmc.set("/redfish/v1/Systems/HGX_Baseboard_0/Processors/GPU_SXM_3", "/SerialNumber", json!("1652923009999"));
    bmc.set("/redfish/v1", "/ProtocolFeaturesSupported/ExpandQuery", json!(null));
    let after = client.inventory().await.unwrap();
    println!("{} requests with $expand, {} without", before.requests, after.requests);
    let differ: Vec<&String> = before
        .inventory
        .parts
        .keys()
        .filter(|name| before.inventory.parts[*name] != after.inventory.parts[*name])
        .collect();
    assert_eq!(differ, ["gpu3"]);
    assert_eq!(before.inventory.firmware, after.inventory.firmware);
}
