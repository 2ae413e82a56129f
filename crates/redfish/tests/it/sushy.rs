//! Power and boot on sushy-tools, OpenStack's Redfish emulator with its `fake` driver: another's reading of Redfish.

use crate::fixture::client_of;
use fleet::observed::Power;
use redfish::{BootTarget, Client, Limits, Reset};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn power_and_boot_on_an_emulator() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let program = root.join(".xtask/sushy/bin/sushy-emulator");
    if !program.is_file() {
        println!("skipped: no sushy-tools; `cargo xtask test` installs it");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // Free now; somebody else could take it before the emulator does, and then it says so.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let configuration = folder.path().join("sushy.conf");
    let uuid = "27946b59-9e44-4fa7-8e91-f3527a1ef094";
    let systems = format!("[{{'uuid': '{uuid}', 'name': 'node', 'power_state': 'Off', 'nics': []}}]");
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(
        &configuration,
        format!(
            "SUSHY_EMULATOR_FAKE_DRIVER = True\nSUSHY_EMULATOR_FAKE_SYSTEMS = {systems}\nSUSHY_EMULATOR_STATE_DIR = {:?}\n",
            state.display().to_string()
        ),
    )
    .unwrap();
    let mut command = Command::new(program);
    command.args(["--fake", "--interface", "127.0.0.1", "--port", &port.to_string(), "--config"]).arg(&configuration);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut emulator = Emulator(command.spawn().unwrap());
    let client = client_of(&format!("http://127.0.0.1:{port}"), Limits::default());
    // Until it listens; it ends by itself if it cannot.
    let first = loop {
        match client.power().await {
            Err(redfish::Error::Unreachable(_)) => assert_eq!(emulator.0.try_wait().unwrap(), None, "it ended"),
            power => break power,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(first, Ok(Power::Off));
    let reading = client.inventory().await.unwrap();
    assert_eq!(reading.inventory.uuid, uuid);
    client.boot_once(BootTarget::Pxe).await.unwrap();
    assert_eq!(client.reset(Reset::On).await, Ok(true));
    becomes(&client, Power::On).await;
    assert_eq!(client.reset(Reset::On).await, Ok(false));
    assert_eq!(client.reset(Reset::ForceOff).await, Ok(true));
    becomes(&client, Power::Off).await;
}

/// As real machines do, it takes a while. Each look is a request, so this does not spin.
async fn becomes(client: &Client, wanted: Power) {
    while client.power().await.unwrap() != wanted {}
}
