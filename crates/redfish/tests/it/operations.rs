//! What is done to a machine, and that doing it twice is doing it once.

use crate::fixture::{PASSWORD, SYSTEM, USER, credentials, machine};
use fleet::observed::Power;
use redfish::fake::Misdeed;
use redfish::{
    Address, BootTarget, Client, Credentials, Error, Limits, Login, Password, Reset, Task, TaskState, Trust,
};
use serde_json::json;

#[tokio::test]
async fn power_and_boot() {
    let machine = machine().await;
    let client = machine.client();
    client.boot_once(BootTarget::UefiHttp).await.unwrap();
    client.boot_once(BootTarget::UefiHttp).await.unwrap();
    assert_eq!(client.power().await, Ok(Power::Off));
    assert_eq!(client.reset(Reset::On).await, Ok(true));
    assert_eq!(client.reset(Reset::On).await, Ok(false), "it is on");
    assert_eq!(machine.bmc.booted_from().as_deref(), Some("UefiHttp"));
    assert_eq!(client.reset(Reset::Cycle).await, Ok(true));
    assert_eq!(machine.bmc.booted_from(), None, "once means once");
    assert_eq!(client.reset(Reset::ShutDown).await, Ok(true));
    assert_eq!(client.reset(Reset::ForceOff).await, Ok(false));
    assert_eq!(client.reset(Reset::Cycle).await, Ok(true), "what is off is put on");
    assert_eq!(machine.bmc.resets(), ["On", "PowerCycle", "GracefulShutdown", "On"]);
    assert_eq!(client.secure_boot().await, Ok(Some(true)));
}

#[tokio::test]
async fn only_what_is_allowed_is_asked() {
    let machine = machine().await;
    let allowed = "/Actions/#ComputerSystem.Reset/ResetType@Redfish.AllowableValues";
    machine.bmc.set(SYSTEM, allowed, json!(["ForceRestart", "ForceOn"]));
    machine.bmc.set(SYSTEM, "/Boot/BootSourceOverrideTarget@Redfish.AllowableValues", json!(["None", "Hdd"]));
    let client = machine.client();
    assert_eq!(client.reset(Reset::On).await, Ok(true));
    assert_eq!(client.reset(Reset::Cycle).await, Ok(true));
    assert_eq!(machine.bmc.resets(), ["ForceOn", "ForceRestart"], "what it allows of what means the same");
    assert!(matches!(client.reset(Reset::ShutDown).await, Err(Error::Unsupported(_))));
    assert!(matches!(client.boot_once(BootTarget::Pxe).await, Err(Error::Unsupported(_))));
}

#[tokio::test]
async fn firmware_is_updated_and_the_task_watched() {
    let machine = machine().await;
    let client = machine.client();
    let task = client.update("http://site/HostBIOS_0@1.1", &[]).await.unwrap().unwrap();
    assert_eq!(client.task(&task).await, Ok(TaskState::Running { percent: Some(50) }));
    assert_eq!(client.watch(&task, 5, async || {}).await, Ok(TaskState::Done));
    assert_eq!(client.inventory().await.unwrap().inventory.firmware["HostBIOS_0"], "1.1");
    let wrong = client.update("http://site/Toaster_0@1.1", &[]).await.unwrap().unwrap();
    let failed = TaskState::Failed { why: "the image is for another machine".to_owned() };
    assert_eq!(client.watch(&wrong, 5, async || {}).await, Ok(failed));
    let gone = Task { path: "/redfish/v1/TaskService/Tasks/77".to_owned() };
    assert_eq!(client.task(&gone).await, Ok(TaskState::Gone));
    assert!(matches!(client.update("ftp://site/HostBIOS_0@1.1", &[]).await, Err(Error::Unsupported(_))));
}

/// A task that never ends is looked at as often as was said, also while the BMC restarts.
#[tokio::test]
async fn watching_ends() {
    let machine = machine().await;
    let client = machine.client();
    let task = client.update("http://site/HostBIOS_0@1.1", &[]).await.unwrap().unwrap();
    machine.bmc.misbehave(&task.path, Misdeed::Body(json!({ "TaskState": "Running" }).to_string()));
    let mut pauses = 0;
    let state = client.watch(&task, 4, async || {
        pauses += 1;
        if pauses == 2 {
            machine.bmc.misbehave(&task.path, Misdeed::Status(503));
        }
    });
    assert_eq!(state.await, Ok(TaskState::Running { percent: None }));
    assert_eq!(pauses, 3);
}

#[tokio::test]
async fn the_default_password_is_changed() {
    let machine = machine().await;
    let client = machine.client();
    client.change_password(USER, &Password::new("n3w-and-long")).await.unwrap();
    assert!(matches!(client.power().await, Err(Error::Unauthorized { .. })), "the old one is over");
    let credentials = Credentials::new(USER, Password::new("n3w-and-long"));
    let address = Address::new(&machine.server.url(0), credentials, Trust::Plain).unwrap();
    assert_eq!(Client::new(&address, Limits::default()).unwrap().power().await, Ok(Power::Off));
    assert!(matches!(
        client.change_password("nobody", &Password::new(PASSWORD)).await,
        Err(Error::Unauthorized { .. })
    ));
}

#[tokio::test]
async fn a_session_is_opened_once_renewed_once_and_closed() {
    let machine = machine().await;
    let address = Address::new(&machine.server.url(0), credentials(Login::Session), Trust::Plain).unwrap();
    let client = Client::new(&address, Limits::default()).unwrap();
    client.inventory().await.unwrap();
    assert_eq!(machine.bmc.sessions(), 1);
    machine.bmc.forget_sessions();
    client.inventory().await.unwrap();
    assert_eq!(machine.bmc.sessions(), 1, "one new one, for two lanes");
    client.close().await;
    assert_eq!(machine.bmc.sessions(), 0);
    let wrong = Credentials { login: Login::Session, ..Credentials::new(USER, Password::new("no")) };
    let address = Address::new(&machine.server.url(0), wrong, Trust::Plain).unwrap();
    let client = Client::new(&address, Limits::default()).unwrap();
    assert!(matches!(client.power().await, Err(Error::Unauthorized { .. })));
}
