//! BMCs that are broken, or somebody else's: each ends as a clear error or a gap, within its limits, and no credentials leave.

use crate::fixture::{FIRMWARE, Machine, PASSWORD, SYSTEM, USER, bmc, client_of, hasty, machine, shape};
use redfish::fake::{Misdeed, Options, Server, Tree};
use redfish::{Client, Error, Fault, Limits, Reading, Reset, Retry};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each request with these bytes, by the number of the request and its path; then waits for the next.
async fn raw(answer: impl Fn(usize, &str) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut read = Vec::new();
            while let Ok(byte) = socket.read_u8().await {
                read.push(byte);
                if !read.ends_with(b"\r\n\r\n") {
                    continue;
                }
                let head = String::from_utf8(std::mem::take(&mut read)).unwrap();
                let bytes = answer(count, head.split(' ').nth(1).unwrap());
                count += 1;
                if bytes.is_empty() || socket.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        }
    });
    url
}

fn ok(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn inventory_of(machine: &Machine, limits: Limits) -> Result<Reading, Error> {
    client_of(&machine.server.url(0), limits).inventory().await
}

/// The only gap of a reading.
fn gap(reading: &Reading) -> &str {
    assert_eq!(reading.gaps.len(), 1, "{:?}", reading.gaps);
    &reading.gaps[0].why
}

#[tokio::test]
async fn slow_ones_are_given_up() {
    let cases: [&[u8]; 3] =
        [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":", b"H"];
    for bytes in cases {
        let url = raw(move |_, _| bytes.to_vec()).await;
        let error = client_of(&url, hasty()).inventory().await.unwrap_err();
        assert!(matches!(&error, Error::Slow { what, .. } if what == "/redfish/v1/"), "{error}");
        assert_eq!((error.fault(), error.retry()), (Fault::Bmc, Retry::Later));
    }
    let machine = machine().await;
    machine.bmc.misbehave("/redfish/v1/Chassis", Misdeed::Hang);
    let reading = inventory_of(&machine, hasty()).await.unwrap();
    let chassis = reading.gaps.iter().find(|gap| gap.path == "/redfish/v1/Chassis").unwrap();
    assert!(chassis.why.contains("within") && chassis.retry, "{chassis:?}");
    let limits = Limits { reading_timeout: Duration::from_millis(100), ..Limits::default() };
    let error = inventory_of(&machine, limits).await.unwrap_err();
    assert!(matches!(error, Error::Slow { what, .. } if what == "the whole inventory"));
}

#[tokio::test]
async fn what_is_no_redfish_is_called_so() {
    let check = async |misdeed: Misdeed| {
        let machine = machine().await;
        machine.bmc.misbehave("/redfish/v1/", misdeed);
        inventory_of(&machine, Limits::default()).await.unwrap_err()
    };
    let deep = "[".repeat(100_000);
    for body in ["", "{", "<html>", "{\"a\":1}x", "\u{0}", &deep] {
        let error = check(Misdeed::Body(body.to_owned())).await;
        assert!(matches!(error, Error::NotJson { .. }), "{body:.20}: {error}");
        assert_eq!((error.fault(), error.retry()), (Fault::Bmc, Retry::Later));
    }
    for body in ["[]", "7", "\"Systems\"", "null", "{}", "{\"Systems\":null}"] {
        let error = check(Misdeed::Body(body.to_owned())).await;
        assert!(matches!(error, Error::Shape { .. }), "{body}: {error}");
    }
    let error = check(Misdeed::Status(500)).await;
    assert!(matches!(&error, Error::Status { message, .. } if message == "as told"), "{error}");
    assert_eq!((error.fault(), error.retry()), (Fault::Bmc, Retry::Later));
    let error = check(Misdeed::Close).await;
    assert!(matches!(error, Error::Broken(_)), "{error}");
    let error = client_of(&raw(|_, _| b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()).await, Limits::default())
        .inventory()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotHttp(_)), "{error}");
    let error = client_of("http://127.0.0.1:1", Limits::default()).inventory().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}

/// Every resource replaced by everything that it should not be: never a crash, and an end each time.
#[tokio::test]
async fn no_resource_of_any_type_is_a_crash() {
    let machine = machine().await;
    let tree: Tree = shape().tree();
    let client = machine.client();
    let mut answered = 0;
    for path in tree.paths() {
        for wrong in [
            json!(null),
            json!([[]]),
            json!({}),
            json!({ "Members": 7, "Id": [], "SerialNumber": {}, "Status": [], "Version": true, "Links": 3, "Drives": [7] }),
            json!({ "Members": [7, null, {}, { "@odata.id": 5 }, { "@odata.id": "x" }], "Members@odata.nextLink": 1 }),
            json!({ "Systems": [], "Chassis": "x", "UpdateService": {}, "Status": { "Health": 3 }, "ProcessorType": 9 }),
        ] {
            machine.bmc.misbehave(path, Misdeed::Body(wrong.to_string()));
            answered += usize::from(client.inventory().await.is_ok());
            machine.bmc.behave();
        }
    }
    assert!(answered > 100, "most of them are gaps and not errors: {answered}");
    assert_eq!(client.inventory().await.unwrap().gaps, []);
}

/// Neither redirects nor members make us ask somebody else, least of all with a password.
#[tokio::test]
async fn nobody_else_is_asked() {
    let elsewhere = machine().await;
    let other = elsewhere.server.url(0);
    let machine = machine().await;
    machine.bmc.misbehave("/redfish/v1/Chassis", Misdeed::Redirect(format!("{other}/redfish/v1/Chassis")));
    machine.bmc.set(FIRMWARE, "/Members/0/@odata.id", json!(format!("{other}{FIRMWARE}/HostBIOS_0")));
    machine.bmc.set(SYSTEM, "/SecureBoot/@odata.id", json!("//127.0.0.1/redfish/v1/SecureBoot"));
    let reading = inventory_of(&machine, Limits::default()).await.unwrap();
    let outside = reading.gaps.iter().filter(|gap| gap.why.contains("points outside the BMC") && !gap.retry).count();
    assert_eq!(outside, 3, "{:#?}", reading.gaps);
    machine.bmc.set(SYSTEM, "/Actions/#ComputerSystem.Reset/target", json!(format!("{other}/reset")));
    let error = machine.client().reset(Reset::On).await.unwrap_err();
    assert!(matches!(error, Error::Outside { .. }), "{error}");
    assert_eq!(elsewhere.server.accepted(), 0);
}

#[tokio::test]
async fn redirects_within_a_bmc_are_followed_when_reading_only() {
    let machine = machine().await;
    machine.bmc.set("/redfish/v1", "/Systems/@odata.id", json!("/old"));
    machine.bmc.misbehave("/old", Misdeed::Redirect("/redfish/v1/Systems".to_owned()));
    assert!(inventory_of(&machine, Limits::default()).await.unwrap().gaps.is_empty());
    machine.bmc.misbehave("/old", Misdeed::Redirect("/old".to_owned()));
    let error = inventory_of(&machine, Limits::default()).await.unwrap_err();
    assert!(error.to_string().contains("/old redirects"), "{error}");
    machine.bmc.behave();
    machine.bmc.set("/redfish/v1", "/Systems/@odata.id", json!("/redfish/v1/Systems"));
    let action = format!("{SYSTEM}/Actions");
    machine.bmc.misbehave(&action, Misdeed::Redirect(format!("{SYSTEM}/Actions/ComputerSystem.Reset?again")));
    let error = machine.client().reset(Reset::On).await.unwrap_err();
    assert!(matches!(&error, Error::Unsure(told) if matches!(**told, Error::Redirect { .. })), "{error}");
    assert!(machine.bmc.resets().is_empty());
}

#[tokio::test]
async fn collections_that_do_not_end() {
    let machine = machine().await;
    machine.bmc.set(FIRMWARE, "/Members@odata.nextLink", json!(FIRMWARE));
    let reading = inventory_of(&machine, Limits::default()).await.unwrap();
    assert!(gap(&reading).contains("was read already"), "{:?}", reading.gaps);
    assert_eq!(reading.inventory.firmware.len(), 2, "what it named before is there");

    // A new page each time, with a new member.
    let url = raw(|count, path| match path {
        "/redfish/v1/" => ok(&json!({ "Systems": { "@odata.id": "/s" } })),
        _ => ok(&json!({
            "Members": [{ "@odata.id": format!("/m{count}"), "Id": "x" }],
            "Members@odata.nextLink": format!("/s?{count}"),
        })),
    });
    let reading = client_of(&url.await, Limits::default()).inventory().await.unwrap();
    assert!(gap(&reading).contains("one page more than 16"), "{:?}", reading.gaps);
}

#[tokio::test]
async fn members_that_are_none() {
    let machine = machine().await;
    let check = async |pointer: &str, value: Value, why: &str| {
        let before = machine.bmc.get(FIRMWARE).unwrap();
        machine.bmc.set(FIRMWARE, pointer, value);
        let reading = inventory_of(&machine, Limits::default()).await.unwrap();
        assert!(gap(&reading).contains(why), "{:?}", reading.gaps);
        machine.bmc.set(FIRMWARE, "", before);
    };
    check("/Members@odata.count", json!(66), "count 66 with 2 members").await;
    check("/Members@odata.count", json!(1), "count 1 with 2 members").await;
    check("/Members/1/@odata.id", json!(FIRMWARE), "a member of itself").await;
    check("/Members/1/@odata.id", json!(format!("{FIRMWARE}/HostBIOS_0")), "named twice").await;
    check("/Members/1", json!(7), "not a link").await;
    check("/Members", json!("all"), "Members is not a list").await;
    check("/Members/1/@odata.id", json!("/redfish/v1/Toaster"), "404").await;
}

/// At each limit all is well, and one below it is not.
#[tokio::test]
async fn limits_at_their_edges() {
    let machine = machine().await;
    let reading = inventory_of(&machine, Limits::default()).await.unwrap();
    let at = Limits { requests_max: reading.requests, reading_bytes_max: reading.bytes, ..Limits::default() };
    assert_eq!(inventory_of(&machine, at.clone()).await.unwrap().inventory, reading.inventory);
    for below in [
        Limits { requests_max: at.requests_max - 1, ..at.clone() },
        Limits { reading_bytes_max: at.reading_bytes_max - 1, ..at.clone() },
    ] {
        let error = inventory_of(&machine, below).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        assert_eq!(error.retry(), Retry::No);
    }
    // Four processors are the largest collection.
    let members = |members_max| inventory_of(&machine, Limits { members_max, ..Limits::default() });
    assert!(members(4).await.unwrap().gaps.is_empty());
    let three = members(3).await.unwrap();
    assert!(gap(&three).contains("more than 3 members"));

    let page = |n: usize, of: usize| {
        let mut page = json!({ "Members": [], "Members@odata.count": 0 });
        if n < of {
            page["Members@odata.nextLink"] = json!(format!("{FIRMWARE}?page={}", n + 1));
        }
        page.to_string()
    };
    for (pages, gaps) in [(3, 0), (4, 1)] {
        machine.bmc.behave();
        machine.bmc.misbehave(FIRMWARE, Misdeed::Body(page(1, pages)));
        (2..=pages).for_each(|n| machine.bmc.misbehave(&format!("{FIRMWARE}?page={n}"), Misdeed::Body(page(n, pages))));
        let reading = inventory_of(&machine, Limits { pages_max: 3, ..Limits::default() }).await.unwrap();
        assert_eq!(reading.gaps.len(), gaps, "{pages} pages: {:?}", reading.gaps);
    }
}

/// By its own word or without one, a body ends at the limit.
#[tokio::test]
async fn bodies_at_their_limit() {
    let body = json!({ "Systems": { "@odata.id": "/s" }, "Name": "x".repeat(1000) }).to_string();
    let length = body.len();
    for chunked in [false, true] {
        let head = match chunked {
            true => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
            false => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"),
        };
        let url = raw(move |_, _| head.clone().into_bytes()).await;
        let read = async |body_bytes_max| {
            client_of(&url, Limits { body_bytes_max, ..Limits::default() }).power().await.unwrap_err()
        };
        let error = read(length).await;
        assert!(!matches!(error, Error::TooLarge { .. }), "{error}");
        let error = read(length - 1).await;
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
    let endless = "x".repeat(redfish::limits::BODY_BYTES_MAX + 1);
    let machine = machine().await;
    machine.bmc.misbehave(FIRMWARE, Misdeed::Body(endless));
    assert!(gap(&inventory_of(&machine, Limits::default()).await.unwrap()).contains("is larger than 4194304"));
    let head = async |length: usize| {
        let rest = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: \r\n\r\n".len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {}\r\n\r\n", "x".repeat(length - rest));
        client_of(&raw(move |_, _| head.clone().into_bytes()).await, Limits::default()).power().await.unwrap_err()
    };
    let error = head(redfish::limits::HEAD_BYTES_MAX).await;
    assert!(matches!(error, Error::NotJson { .. }), "its body is empty: {error:?}");
    let error = head(redfish::limits::HEAD_BYTES_MAX + 1).await;
    assert!(matches!(error, Error::NotHttp(_)), "{error:?}");
}

#[tokio::test]
async fn refused_in_the_middle() {
    let machine = machine().await;
    machine.bmc.misbehave(FIRMWARE, Misdeed::Status(401));
    let error = inventory_of(&machine, Limits::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Unauthorized { path } if path.starts_with(FIRMWARE)), "{error}");
    assert_eq!((error.fault(), error.retry()), (Fault::Caller, Retry::No), "asking on would lock the account");
    let before = machine.bmc.requests();
    assert!(machine.client().inventory().await.is_err());
    assert!(machine.bmc.requests() - before < 30, "it stops there");
}

/// The host is read at the beginning and at the end; a machine that was swapped meanwhile is no mixture of two.
#[tokio::test]
async fn a_serial_that_changes_while_it_is_read() {
    let bmc = bmc(&Arc::new(shape().tree()), "S1");
    let changing = bmc.clone();
    let latency = move |_, request| {
        if request == 10 {
            changing.set(SYSTEM, "/SerialNumber", json!("S2"));
        }
        Duration::ZERO
    };
    let options = Options { latency: Some(Arc::new(latency)), ..Options::default() };
    let server = Server::start(vec![bmc], options).await.unwrap();
    let error = client_of(&server.url(0), Limits::default()).inventory().await.unwrap_err();
    let changed = Error::Changed { field: "SerialNumber", before: "S1".to_owned(), after: "S2".to_owned() };
    assert_eq!(error, changed);
    assert_eq!((error.fault(), error.retry()), (Fault::Bmc, Retry::Later));
}

/// A kept connection that the BMC has closed is no failure of reading; a reset of power is never sent twice.
#[tokio::test]
async fn closed_connections() {
    let url = raw(|count, path| match (count % 2, path) {
        (1, _) => Vec::new(),
        (_, "/redfish/v1/") => ok(&json!({ "Systems": { "@odata.id": "/s" } })),
        (_, "/s") => ok(&json!({ "Members": [{ "@odata.id": "/s/1", "Id": "1", "PowerState": "On" }] })),
        _ => Vec::new(),
    });
    assert_eq!(client_of(&url.await, Limits::default()).power().await, Ok(fleet::observed::Power::On));

    static RESETS: OnceLock<std::sync::atomic::AtomicUsize> = OnceLock::new();
    let resets = RESETS.get_or_init(Default::default);
    let url = raw(|_, path| match path {
        "/redfish/v1/" => ok(&json!({ "Systems": { "@odata.id": "/s" } })),
        "/s" => ok(&json!({ "Members": [{
            "@odata.id": "/s/1", "PowerState": "Off", "Actions": { "#ComputerSystem.Reset": { "target": "/reset" } },
        }] })),
        _ => {
            resets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Vec::new()
        }
    });
    let error = client_of(&url.await, Limits::default()).reset(Reset::On).await.unwrap_err();
    // It was read once and perhaps done: whoever asks again looks first.
    assert!(matches!(&error, Error::Unsure(lost) if matches!(**lost, Error::Broken(_))), "{error}");
    assert_eq!(resets.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn nothing_prints_a_password() {
    let address = crate::fixture::credentials(redfish::Login::Basic);
    assert!(!format!("{address:?}").contains(PASSWORD) && format!("{address:?}").contains(USER));
    fn is_send<T: Send + Sync>() {}
    is_send::<Client>();
}
