//! What a made-up machine consists of, as a tree of resources.

use super::Tree;
use serde_json::{Value, json};

/// Counts and models of a machine's parts. Serial numbers follow from the machine's own: `SERIAL-GPU3`.
#[derive(Debug, Clone)]
pub struct Shape {
    pub manufacturer: String,
    pub model: String,
    pub gpu_model: String,
    pub gpus: usize,
    pub nvswitches: usize,
    pub cpus: usize,
    pub dimms: usize,
    pub psus: usize,
    pub nics: usize,
    pub drives: usize,
    /// Component to version.
    pub firmware: Vec<(String, String)>,
    /// Whether it answers `$expand`.
    pub expands: bool,
}

impl Shape {
    /// 8 B200, 2 NVSwitches, 6 power supplies, 8 ConnectX-7 and 2 BlueField-3.
    pub fn dgx_b200() -> Shape {
        Shape {
            manufacturer: "NVIDIA".to_owned(),
            model: "DGX B200".to_owned(),
            gpu_model: "B200".to_owned(),
            gpus: 8,
            nvswitches: 2,
            cpus: 2,
            dimms: 32,
            psus: 6,
            nics: 10,
            drives: 10,
            firmware: firmware(8, 2, 6),
            expands: true,
        }
    }

    /// 8 RTX PRO 6000 without NVLink.
    pub fn rtx_pro() -> Shape {
        Shape {
            model: "RTX PRO Server".to_owned(),
            gpu_model: "RTX PRO 6000 Blackwell".to_owned(),
            nvswitches: 0,
            psus: 4,
            nics: 4,
            drives: 4,
            dimms: 16,
            firmware: firmware(8, 0, 4),
            ..Shape::dgx_b200()
        }
    }

    pub fn tree(&self) -> Tree {
        let mut tree = Tree::default();
        let link = |path: &str| json!({ "@odata.id": format!("/redfish/v1/{path}") });
        tree.put("/redfish/v1", json!({
            "Id": "RootService", "RedfishVersion": "1.15.0", "UUID": "{uuid}",
            "ProtocolFeaturesSupported": { "ExpandQuery": { "NoLinks": self.expands, "Levels": self.expands, "MaxLevels": 1 } },
            "Systems": link("Systems"), "Chassis": link("Chassis"), "Managers": link("Managers"), "Fabrics": link("Fabrics"),
            "UpdateService": link("UpdateService"), "AccountService": link("AccountService"),
            "SessionService": link("SessionService"), "Tasks": link("TaskService"),
        }));
        self.system(&mut tree, &link);
        self.chassis(&mut tree, &link);
        let switches = parts("NVSwitch_", 0, self.nvswitches, "NVSWITCH", |_| json!({ "Model": "NVSwitch" }));
        tree.put_collection(
            "/redfish/v1/Fabrics",
            vec![("NVLink".to_owned(), json!({ "FabricType": "NVLink", "Switches": link("Fabrics/NVLink/Switches") }))],
        );
        tree.put_collection("/redfish/v1/Fabrics/NVLink/Switches", switches);
        tree.put(
            "/redfish/v1/UpdateService",
            json!({
                "FirmwareInventory": link("UpdateService/FirmwareInventory"),
                "Actions": { "#UpdateService.SimpleUpdate": {
                    "target": "/redfish/v1/UpdateService/Actions/UpdateService.SimpleUpdate",
                    "TransferProtocol@Redfish.AllowableValues": ["HTTP", "HTTPS"],
                } },
            }),
        );
        let component =
            |(id, version): &(String, String)| (id.clone(), json!({ "Version": version, "Updateable": true }));
        tree.put_collection(
            "/redfish/v1/UpdateService/FirmwareInventory",
            self.firmware.iter().map(component).collect(),
        );
        tree.put("/redfish/v1/AccountService", json!({ "Accounts": link("AccountService/Accounts") }));
        let account = json!({ "UserName": "{user}", "Enabled": true, "RoleId": "Administrator" });
        tree.put_collection("/redfish/v1/AccountService/Accounts", vec![("1".to_owned(), account)]);
        tree.put("/redfish/v1/SessionService", json!({ "Sessions": link("SessionService/Sessions") }));
        tree
    }

    fn system(&self, tree: &mut Tree, link: &impl Fn(&str) -> Value) {
        let base = "/redfish/v1/Systems/System";
        tree.put_collection("/redfish/v1/Systems", vec![("System".to_owned(), json!({
            "Manufacturer": self.manufacturer, "Model": self.model, "SerialNumber": "{serial}", "UUID": "{uuid}",
            "PowerState": "Off", "Status": { "State": "Enabled", "Health": "OK", "HealthRollup": "OK" },
            "Boot": {
                "BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None",
                "BootSourceOverrideTarget@Redfish.AllowableValues": ["None", "Pxe", "Hdd", "UefiHttp"],
            },
            "Processors": link("Systems/System/Processors"), "Memory": link("Systems/System/Memory"),
            "Storage": link("Systems/System/Storage"), "SecureBoot": link("Systems/System/SecureBoot"),
            "LogServices": link("Systems/System/LogServices"), "Links": { "Chassis": [link("Chassis/Chassis")] },
            "Actions": { "#ComputerSystem.Reset": {
                "target": format!("{base}/Actions/ComputerSystem.Reset"),
                "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown", "ForceRestart", "PowerCycle"],
            } },
        }))]);
        let mut processors =
            parts("CPU_", 0, self.cpus, "CPU", |_| json!({ "ProcessorType": "CPU", "Model": "Xeon 8570" }));
        let gpu = |_| json!({ "ProcessorType": "GPU", "Model": self.gpu_model });
        processors.extend(parts("GPU_SXM_", 1, self.gpus, "GPU", gpu));
        tree.put_collection(&format!("{base}/Processors"), processors);
        let dimm =
            |_| json!({ "MemoryDeviceType": "DDR5", "CapacityMiB": 65_536, "PartNumber": "MTC40F2046S1RC56BD1" });
        tree.put_collection(&format!("{base}/Memory"), parts("DIMM", 0, self.dimms, "DIMM", dimm));
        let drive = |_| json!({ "Model": "SAMSUNG MZQL23T8HCLS", "Protocol": "NVMe" });
        let drives = parts("NVMe", 0, self.drives, "DRIVE", drive);
        let links: Vec<Value> =
            drives.iter().map(|(id, _)| link(&format!("Systems/System/Storage/1/Drives/{id}"))).collect();
        tree.put_collection(&format!("{base}/Storage"), vec![("1".to_owned(), json!({ "Drives": links }))]);
        tree.put_collection(&format!("{base}/Storage/1/Drives"), drives);
        tree.put(
            &format!("{base}/SecureBoot"),
            json!({ "SecureBootEnable": true, "SecureBootCurrentBoot": "Enabled" }),
        );
        let log = json!({ "Entries": link("Systems/System/LogServices/EventLog/Entries") });
        tree.put_collection(&format!("{base}/LogServices"), vec![("EventLog".to_owned(), log)]);
        tree.put(&format!("{base}/LogServices/EventLog/Entries"), json!({ "Members": [], "Members@odata.count": 0 }));
        tree.put_collection("/redfish/v1/Managers", vec![("BMC".to_owned(), json!({ "ManagerType": "BMC" }))]);
    }

    fn chassis(&self, tree: &mut Tree, link: &impl Fn(&str) -> Value) {
        tree.put_collection("/redfish/v1/Chassis", vec![("Chassis".to_owned(), json!({
            "ChassisType": "RackMount", "Manufacturer": self.manufacturer, "Model": self.model, "SerialNumber": "{serial}",
            "Status": { "State": "Enabled", "Health": "OK" },
            "PowerSubsystem": link("Chassis/Chassis/PowerSubsystem"), "NetworkAdapters": link("Chassis/Chassis/NetworkAdapters"),
        }))]);
        let base = "/redfish/v1/Chassis/Chassis";
        tree.put(
            &format!("{base}/PowerSubsystem"),
            json!({ "PowerSupplies": link("Chassis/Chassis/PowerSubsystem/PowerSupplies") }),
        );
        let psu = |_| json!({ "Manufacturer": "Delta", "Model": "ECD16020137" });
        tree.put_collection(&format!("{base}/PowerSubsystem/PowerSupplies"), parts("PSU", 0, self.psus, "PSU", psu));
        let nic = |_| json!({ "Manufacturer": "NVIDIA", "Model": "ConnectX-7" });
        tree.put_collection(&format!("{base}/NetworkAdapters"), parts("NIC", 0, self.nics, "NIC", nic));
    }
}

/// `count` parts with ids that count from `first`; serial numbers count from one.
fn parts(id: &str, first: usize, count: usize, word: &str, one: impl Fn(usize) -> Value) -> Vec<(String, Value)> {
    let part = |n: usize| {
        let mut part = one(n);
        part["SerialNumber"] = json!(format!("{{serial}}-{word}{}", n + 1));
        part["Status"] = json!({ "State": "Enabled", "Health": "OK" });
        (format!("{id}{}", n + first), part)
    };
    (0..count).map(part).collect()
}

/// The 66 components of a captured DGX H100 are of this kind and number; versions are made up.
fn firmware(gpus: usize, nvswitches: usize, psus: usize) -> Vec<(String, String)> {
    let mut components =
        vec![("HostBIOS_0".to_owned(), "01.05.03".to_owned()), ("HostBMC_0".to_owned(), "25.03.1".to_owned())];
    let counted =
        [("GPU_SXM_", gpus, "97.00.88.00.0F"), ("NVSwitch_", nvswitches, "35.2014.4300"), ("PSU_", psus, "0204")];
    for (id, count, version) in counted {
        components.extend((0..count).map(|n| (format!("{id}{n}"), version.to_owned())));
    }
    components
}
