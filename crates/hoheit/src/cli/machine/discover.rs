//! `hoheit machine discover`: asks a BMC itself and no site: to see what a machine is before it is anybody's, or why a site
//! does not believe it.

use crate::cli::Failure;
use crate::cli::show;
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use fleet::observed::{Inventory, Power};
use redfish::{Address, Client, Credentials, Fault, Fingerprint, Limits, Login, Password, Reading, Retry, Trust};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hoheit machine discover https://10.0.3.7 --user admin --password-file bmc.password --ca site-ca.pem\n  hoheit machine discover https://10.0.3.7 --user admin --password-file bmc.password --pin 4f0c…"
)]
pub struct Discover {
    /// The BMC's address, as https://10.0.3.7.
    url: String,
    /// The account at the BMC.
    #[arg(long, default_value = "admin")]
    user: String,
    /// A file that holds its password.
    #[arg(long, value_name = "FILE")]
    password_file: PathBuf,
    /// Believe certificates that this CA signed, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Believe the certificate with this SHA-256 only.
    #[arg(long, value_name = "HEX", conflicts_with = "ca")]
    pin: Option<String>,
    /// Believe any certificate, and show its SHA-256 to pin. Whoever answers gets the password.
    #[arg(long, conflicts_with_all = ["ca", "pin"])]
    trust_anything: bool,
    /// No TLS: for emulators on this machine.
    #[arg(long, conflicts_with_all = ["ca", "pin", "trust_anything"])]
    plain: bool,
    /// Log in for a session instead of sending the password with each request.
    #[arg(long)]
    session: bool,
}

impl Discover {
    pub async fn run(self, as_json: bool) -> Result<(), Failure> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))
        };
        let trust = match (&self.ca, &self.pin) {
            (Some(ca), _) => Trust::ca(&read(ca)?).map_err(usage)?,
            (None, Some(pin)) => Trust::Pin(Fingerprint::parse(pin).map_err(usage)?),
            (None, None) if self.trust_anything => Trust::Anything,
            (None, None) if self.plain => Trust::Plain,
            (None, None) => {
                let hint = "--ca FILE, --pin SHA256, or --trust-anything for a first look";
                return Err(Failure::usage("it is not said how this BMC proves itself").hint(hint));
            }
        };
        let password = String::from_utf8(read(&self.password_file)?)
            .map_err(|_| Failure::usage("the password's file is not text"))?;
        let password = Password::new(password.trim_end_matches(['\r', '\n']));
        let login = if self.session { Login::Session } else { Login::Basic };
        let credentials = Credentials { login, ..Credentials::new(&self.user, password) };
        let address = Address::new(&self.url, credentials, trust).map_err(usage)?;
        let client = Client::new(&address, Limits::default()).map_err(usage)?;
        let reading = client.inventory().await;
        client.close().await;
        let reading = reading.map_err(failed)?;
        match as_json {
            true => show::json(&serde_json::to_value(&reading).map_err(|error| Failure::failed(error.to_string()))?),
            false => show(&reading),
        }
    }
}

fn usage(error: redfish::Error) -> Failure {
    Failure::usage(error.to_string())
}

/// Whose fault it is becomes what to do.
fn failed(error: redfish::Error) -> Failure {
    let hint = match (&error, error.fault(), error.retry()) {
        (redfish::Error::Unauthorized { .. }, _, _) => {
            "check --user and --password-file; five wrong ones lock an account"
        }
        (redfish::Error::Certificate { .. }, _, _) => {
            "compare the SHA-256 with what the BMC shows on its own console; if it is right, give it with --pin"
        }
        (_, Fault::Network, _) => "is it powered, cabled to the management network, and this its address?",
        (_, Fault::Caller, _) => "ask for something else",
        (_, Fault::Bmc, Retry::Later) => "try again; if it stays so, restart the BMC",
        (_, Fault::Bmc, Retry::No) => "this BMC does not speak Redfish as it should: update its firmware",
    };
    Failure::failed(error.to_string()).hint(hint)
}

fn show(reading: &Reading) -> Result<(), Failure> {
    let Inventory { manufacturer, model, serial, uuid, power, secure_boot, parts, firmware, complaints } =
        &reading.inventory;
    show::line(&format!("{manufacturer} {model}, chassis {serial}, system {}, {uuid}", reading.system_serial))?;
    let power = match power {
        Power::On => "on",
        Power::Off => "off",
        Power::Unknown => "not said",
    };
    let secure_boot = match secure_boot {
        Some(true) => "on",
        Some(false) => "off",
        None => "not said",
    };
    show::line(&format!("power {power}, secure boot {secure_boot}"))?;
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    parts.values().for_each(|part| *kinds.entry(&part.kind).or_default() += 1);
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    show::line(&format!("{}, {} firmware components\n", kinds.join(", "), firmware.len()))?;
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["PART", "MODEL", "SERIAL", "HEALTH"]);
    for (name, part) in parts {
        table.add_row([name.as_str(), &part.model, &part.serial, if part.healthy { "ok" } else { "not well" }]);
    }
    show::line(&table.to_string())?;
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["FIRMWARE", "VERSION"]);
    for (component, version) in firmware {
        table.add_row([component, version]);
    }
    show::line(&format!("\n{table}"))?;
    for complaint in complaints {
        show::line(&format!("complaint: {complaint}"))?;
    }
    for gap in &reading.gaps {
        show::line(&format!("not read: {}: {}", gap.path, gap.why))?;
    }
    show::line(&format!("\n{} requests, {} kB", reading.requests, reading.bytes.div_ceil(1_000)))
}
