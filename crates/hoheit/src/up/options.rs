//! What `hoheit up` can be told. Parsing only; defaults that depend on the machine are made by the wiring.

use crate::cli::Policy;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use types::{Country, DataClass};

/// Which streams are padded against length analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PadStreams {
    Never,
    Secret,
    Confidential,
    Internal,
    Public,
}

impl PadStreams {
    /// The lowest class whose streams are padded.
    pub fn from(self) -> Option<DataClass> {
        match self {
            PadStreams::Never => None,
            PadStreams::Secret => Some(DataClass::Secret),
            PadStreams::Confidential => Some(DataClass::Confidential),
            PadStreams::Internal => Some(DataClass::Internal),
            PadStreams::Public => Some(DataClass::Public),
        }
    }
}

/// A week: longer than that nobody should serve on keys and rules that nobody can change.
const SNAPSHOT_TTL_MAX: u64 = 7 * 86_400;

/// As many as a site of 10,000 replicas has use for, and a slip of the finger below.
const GATEWAYS_MAX: i64 = 1_024;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  hoheit up --data ./site
  hoheit up --data ./site --listen 0.0.0.0:8080 --site muc1 --operator \"Muster Rechenzentrum\"
  hoheit up --data ./site --model ./Qwen3-0.6B          a folder with safetensors, or a GGUF file
  hoheit up --data ./site --no-model                    only engines that you register

The first start makes the folder: keys (0600), database, journal, log, and DIR/admin-token.
GET /readyz answers 200 when it serves. SIGTERM stops it cleanly.")]
pub struct Options {
    /// The folder of this site; made on the first start.
    #[arg(long, value_name = "DIR", env = "HOHEIT_DATA")]
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one and prints it.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How clients reach this site, for what it tells them (credentials of bindings, addresses in answers): https://ai.example.
    /// Left out, it is where it listens.
    #[arg(long, value_name = "URL", env = "HOHEIT_PUBLIC_URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// A name that clients ask for, and the model that it means: sonar=MODEL. May be said several times. Without one, the names of
    /// the family `sonar` mean the site's model, if there is one only.
    #[arg(long = "alias", value_name = "NAME=MODEL", value_parser = alias)]
    pub aliases: Vec<(String, String)>,
    /// The model that makes embeddings of documents and questions; left out, documents are found by their words.
    #[arg(long, value_name = "MODEL", env = "HOHEIT_EMBEDDING_MODEL")]
    pub embedding_model: Option<String>,
    /// A model for the embedded engine: a folder (safetensors, tokenizer.json, config.json) or a GGUF file.
    #[arg(long, value_name = "PATH", conflicts_with = "no_model")]
    pub model: Option<PathBuf>,
    /// Start without an embedded engine.
    #[arg(long)]
    pub no_model: bool,
    /// The site's name, `iss` of every receipt; fixed on the first start.
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// Where this site stands (ISO 3166-1 alpha-2); a fact of the embedded engine's endpoint.
    #[arg(long, value_name = "DE", default_value = "DE")]
    pub country: Country,
    /// Who runs this site.
    #[arg(long, value_name = "NAME")]
    pub operator: Option<String>,
    /// PostgreSQL instead of DIR/hoheit.db: postgres://user@host/database.
    #[arg(long, value_name = "URL", env = "HOHEIT_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// This gateway's name, one for each that shares a database: of two with one name the one started later serves.
    #[arg(long, value_name = "NAME", default_value = "gateway-1")]
    pub gateway: String,
    /// For how many seconds requests are served without the database; then all are refused until it is back.
    #[arg(long, value_name = "SECONDS", default_value_t = controller::SNAPSHOT_TTL.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=SNAPSHOT_TTL_MAX))]
    pub snapshot_ttl: u64,
    /// An OpenTelemetry collector; a span of every request goes to URL/v1/traces (OTLP, JSON over HTTP). Off if left out.
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
    /// How a replica is chosen among those that policy permits: prefix is where the prompt's beginning was read before,
    /// unless too much work waits there.
    #[arg(long, value_name = "HOW", value_enum, default_value = "prefix")]
    pub routing: Policy,
    /// How many gateways share this site's engines, this one included. With more than one, a prompt that this gateway has not
    /// seen goes where each of the others would send it too.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=GATEWAYS_MAX))]
    pub gateways: u32,
    /// Pad streams of data of this class and above, so that the sizes of encrypted records do not tell the lengths of
    /// tokens. Costs about 256 bytes a token.
    #[arg(long, value_name = "CLASS", value_enum, default_value = "confidential")]
    pub pad_streams: PadStreams,
    /// Where agents of machines connect (TLS with the site's own CA); no agent can enrol if left out.
    #[arg(long, value_name = "ADDR", help_heading = "Machines")]
    pub agents: Option<SocketAddr>,
    /// A name or address under which agents reach that; 127.0.0.1 and the address itself are there already.
    #[arg(long, value_name = "NAME", help_heading = "Machines")]
    pub agents_name: Vec<String>,
    /// The robots' broker: mqtts://HOST:PORT, or mqtt:// on this machine.
    #[arg(long, value_name = "URL", help_heading = "Machines")]
    pub mqtt_url: Option<String>,
    /// Who we are at the broker.
    #[arg(long, value_name = "NAME", requires = "mqtt_url", help_heading = "Machines")]
    pub mqtt_user: Option<String>,
    /// A file with the password.
    #[arg(long, value_name = "FILE", requires = "mqtt_user", help_heading = "Machines")]
    pub mqtt_password_file: Option<PathBuf>,
    /// Certificates (PEM) that the broker's is signed by; otherwise the public ones.
    #[arg(long, value_name = "FILE", requires = "mqtt_url", help_heading = "Machines")]
    pub mqtt_ca: Option<PathBuf>,
    /// Certificates (PEM) that BMCs' are signed by; a BMC with a pin needs none.
    #[arg(long, value_name = "FILE", help_heading = "Machines")]
    pub bmc_ca: Option<PathBuf>,
    /// Ask BMCs on 127.0.0.1 without TLS: simulated ones.
    #[arg(long, help_heading = "Machines")]
    pub bmc_plain_on_loopback: bool,
    /// Where BMCs fetch firmware: URL/COMPONENT.
    #[arg(long, value_name = "URL", help_heading = "Machines")]
    pub firmware_url: Option<String>,
    /// Reconcile machines and orders here. One process of a site does; the one started last. Without --database-url it does.
    #[arg(long, help_heading = "Machines")]
    pub reconcile: bool,
    /// A header in which the proxy in front of this port names the subject of the client certificate that it verified, for
    /// registrations that have one (`hoheit broker register --certificate-subject`). The proxy must overwrite what clients
    /// send there, and nobody else may reach this port.
    #[arg(long, value_name = "NAME", help_heading = "Partners")]
    pub broker_certificate_header: Option<http::HeaderName>,
    /// Text for people, JSON for collectors.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => Ok((name.to_owned(), model.to_owned())),
        _ => Err("an alias is NAME=MODEL, for example sonar=qwen3-32b".to_owned()),
    }
}

/// http or https and a host, without a slash at the end; without a path, since clients of three kinds each add their own.
fn public_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let uri: http::Uri = url.parse().map_err(|_| "this is no URL".to_owned())?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && matches!(uri.path(), "" | "/")
        && uri.query().is_none()
        && !url.contains(['#', '@']);
    if plain { Ok(url.to_owned()) } else { Err("give http:// or https:// and a host, without a path".to_owned()) }
}

impl Options {
    /// What of them the shells of the partners' dialects go by.
    pub fn settings(&self) -> partners::Settings {
        partners::Settings { aliases: self.aliases.clone(), embedding: self.embedding_model.clone() }
    }

    /// Without a slash at the end.
    pub fn public_url(&self, listening: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{listening}"))
    }

    /// What routing weighs, with its defaults where nobody has a say.
    pub fn routing(&self) -> gateway::RoutingOptions {
        gateway::RoutingOptions { strategy: self.routing.into(), gateways: self.gateways, ..Default::default() }
    }
}
