//! Machines, their BMCs and clients of them.

use redfish::fake::{Bmc, Options, Server, Shape, Tree};
use redfish::{Address, Client, Credentials, Limits, Login, Password, Trust};
use std::sync::Arc;
use std::time::Duration;

pub const USER: &str = "root";
pub const PASSWORD: &str = "0penBmc";
pub const SYSTEM: &str = "/redfish/v1/Systems/System";
pub const LOG: &str = "/redfish/v1/Systems/System/LogServices/EventLog/Entries";
pub const FIRMWARE: &str = "/redfish/v1/UpdateService/FirmwareInventory";

/// One BMC that runs.
pub struct Machine {
    pub bmc: Arc<Bmc>,
    pub server: Server,
}

/// A small machine: two of each.
pub fn shape() -> Shape {
    let two = ["HostBIOS_0", "HostBMC_0"].map(|id| (id.to_owned(), "1.0".to_owned()));
    Shape { gpus: 2, nvswitches: 2, dimms: 2, psus: 2, nics: 2, drives: 2, firmware: two.to_vec(), ..Shape::dgx_b200() }
}

pub fn bmc(tree: &Arc<Tree>, serial: &str) -> Arc<Bmc> {
    Arc::new(Bmc::new(tree.clone(), serial, "B11DD4F2-BFDE-1000-02BC-5CFF35FBE6E9", USER, PASSWORD))
}

pub async fn machine() -> Machine {
    let bmc = bmc(&Arc::new(shape().tree()), "S1");
    let server = Server::start(vec![bmc.clone()], Options::default()).await.unwrap();
    Machine { bmc, server }
}

pub fn credentials(login: Login) -> Credentials {
    Credentials { login, ..Credentials::new(USER, Password::new(PASSWORD)) }
}

pub fn client_of(url: &str, limits: Limits) -> Client {
    let address = Address::new(url, credentials(Login::Basic), Trust::Plain).unwrap();
    Client::new(&address, limits).unwrap()
}

/// Limits under which what never comes is given up soon. Only for what never comes: a busy machine is late with the rest.
pub fn hasty() -> Limits {
    Limits { request_timeout: Duration::from_secs(1), ..Limits::default() }
}

impl Machine {
    pub fn client(&self) -> Client {
        client_of(&self.server.url(0), Limits::default())
    }
}
