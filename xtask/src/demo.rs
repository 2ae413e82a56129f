//! `cargo xtask demo`: the idea in a minute, told with the product's own commands on a fresh site.
//!
//! It shows and checks at once: each step fails the demo if what it shows is not so. The server keeps running until
//! Ctrl-C, so that a stranger can go on; `--exit` ends it for scripts.

use crate::screen::{bad, bold, chapter, dim, good, show, step, typed};
use crate::{http, process, root};
use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::Value;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// The first start makes keys and a database and loads a model in the dev profile.
const START_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Options {
    /// End the server and the demo at the end.
    #[arg(long)]
    exit: bool,
    /// The site's folder; a fresh one under target/demo if left out. It must not exist.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub fn run(options: &Options) -> Result<()> {
    let begin = Instant::now();
    chapter("Hoheit: every request leaves a signed receipt.  Jede Anfrage hinterlässt einen signierten Beleg.");
    step("building hoheit and hoheit-verify (the first time takes minutes; cargo shows how far it is)");
    process::run(process::cargo().args(["build", "--package", "hoheit", "--package", "verify"]))?;
    let built = begin.elapsed();
    let data = fresh_folder(options.data.as_deref())?;
    let mut demo = Demo::start(&data)?;
    demo.tell()?;
    demo.how_to_go_on(built)?;
    if options.exit {
        step("stopping the server (SIGTERM: drain, settle, fsync)");
        return Ok(());
    }
    eprintln!("\n{}", bold("The server keeps running until Ctrl-C.  Der Server läuft weiter, bis Sie Strg-C drücken."));
    demo.server.wait()?;
    Ok(())
}

/// A folder that does not exist yet; older ones of the demo are left alone.
fn fresh_folder(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(asked) = asked {
        ensure!(!asked.exists(), "{} exists; the demo wants a fresh folder", asked.display());
        return Ok(asked.to_owned());
    }
    let demos = root::target().join("demo");
    fs::create_dir_all(&demos)?;
    (1..).map(|n| demos.join(n.to_string())).find(|folder| !folder.exists()).context("no free name for a folder")
}

struct Demo {
    server: process::Server,
    address: SocketAddr,
    /// The site's folder.
    data: PathBuf,
    /// What a customer keeps: key, exported receipts, the site's public keys. Beside the site, not in it.
    customer: PathBuf,
}

impl Demo {
    fn start(data: &Path) -> Result<Demo> {
        let address: SocketAddr = format!("127.0.0.1:{}", http::free_port()?).parse()?;
        let customer = data.with_extension("customer");
        fs::create_dir_all(&customer)?;
        chapter("1. A site: one folder, one process");
        typed(&format!("hoheit up --data {} --listen {address}", short(data)));
        let mut up = Command::new(binary("hoheit"));
        up.args(["up", "--listen", &address.to_string(), "--site", "demo-muc1", "--alias", "sonar=nano", "--data"])
            .arg(data);
        let begin = Instant::now();
        let mut server = process::Server::start(up, &data.with_extension("log"))?;
        server.wait_until(START_PATIENCE, || http::get(address, "/readyz").is_ok_and(|(status, _)| status == 200))?;
        show(&format!(
            "serving after {:.1} s; the admin token lies in {}",
            begin.elapsed().as_secs_f32(),
            short(&data.join("admin-token"))
        ));
        Ok(Demo { server, address, data: data.to_owned(), customer })
    }

    fn hoheit(&self, arguments: &[&str]) -> Command {
        let mut hoheit = Command::new(binary("hoheit"));
        hoheit.args(arguments).env("HOHEIT_URL", format!("http://{}", self.address)).env("HOHEIT_DATA", &self.data);
        hoheit.env_remove("HOHEIT_TOKEN").env_remove("HOHEIT_API_KEY");
        hoheit
    }

    /// Runs a command with `--json` and shows it as a person would type it.
    fn make(&self, arguments: &[&str]) -> Result<Value> {
        typed(&quoted(&self.hoheit(arguments)));
        let text = process::output(self.hoheit(arguments).arg("--json"))?;
        serde_json::from_str(&text).context("the command did not print JSON")
    }

    /// Asks a model as the customer would; the answer streams to the screen.
    fn chat(&self, key: &str, arguments: &[&str]) -> Result<Output> {
        let arguments = [&["chat"], arguments].concat();
        typed(&quoted(&self.hoheit(&arguments)));
        let output = self.hoheit(&arguments).env("HOHEIT_API_KEY", key).output()?;
        show(&String::from_utf8_lossy(&output.stdout));
        show(&String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    fn tell(&mut self) -> Result<()> {
        chapter("2. A customer, a project for internal data in Germany only, a key with a budget");
        let tenant = id(&self.make(&["tenant", "create", "Muster GmbH"])?)?;
        let internal = ["--class", "internal", "--country", "DE", "--budget-eur", "5.00"];
        let project = self.make(&[&["project", "create", "assistant", "--tenant", &tenant], &internal[..]].concat())?;
        let project = id(&project)?;
        let key = self.make(&["key", "create", "--project", &project])?;
        let key_id = id(&key)?;
        let key = key["key"].as_str().context("the key is not shown")?.to_owned();
        show(&format!("key {}… (shown once; the site keeps a keyed hash)", &key[..12]));

        chapter("3. A question to nano, a tiny model of our own: it shows the plumbing, not wisdom");
        ensure!(self.chat(&key, &["--model", "nano", "What is a receipt?"])?.status.success(), "nano did not answer");

        chapter("4. Data may not go everywhere: a partner's endpoint under US law, and data of class secret");
        let partner = ["--operator", "Partner Inc.", "--provider", "Partner Inc.", "--jurisdiction", "US"];
        let place = ["engine", "add", "https://partner.example", "--model", "partner-large", "--country", "DE"];
        self.make(&[&place[..], &partner[..]].concat())?;
        let refused =
            self.chat(&key, &["--model", "partner-large", "--class", "secret", "Summarise the client file."])?;
        ensure!(!refused.status.success(), "secret data went to a foreign jurisdiction");
        show(&good("refused before a byte left; the refusal is receipted too"));
        typed(&format!("hoheit policy explain --project {project} --class secret"));
        show(&process::output(&mut self.hoheit(&["policy", "explain", "--project", &project, "--class", "secret"]))?);

        chapter("5. A budget that ends: 0.0004 euro, blocked at the last cent");
        let small =
            self.make(&["key", "create", "--project", &project, "--name", "small", "--budget-eur", "0.0004"])?;
        let small = small["key"].as_str().context("the key is not shown")?.to_owned();
        self.spend(&small)?;
        self.dialects(&key_id, &key)?;
        self.verify(&tenant)?;
        fs::write(self.customer.join("api-key"), key)?;
        Ok(())
    }

    /// Asks until the budget says no.
    fn spend(&self, key: &str) -> Result<()> {
        for answered in 0..50 {
            let output = self.chat(key, &["--model", "nano", "--max-tokens", "24", "And a budget?"])?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if !output.status.success() {
                ensure!(said.contains("budget"), "something else than the budget said no: {said}");
                ensure!(answered > 0, "the budget bought no answer at all: {said}");
                return Ok(());
            }
        }
        bail!("fifty answers and the budget has not ended")
    }

    /// The same key from clients of two other kinds: same budget, same receipts.
    fn dialects(&self, key_id: &str, key: &str) -> Result<()> {
        chapter("6. The same key from Perplexity's and from SAP's clients: other words, one pipeline");
        let url = format!("http://{}", self.address);
        let question =
            r#"{"model":"sonar","disable_search":true,"messages":[{"role":"user","content":"What is a receipt?"}]}"#;
        typed(&format!("curl {url}/chat/completions -H 'Authorization: Bearer hk_…' -d '{question}'"));
        let (status, body) = http::post(self.address, "/chat/completions", key, question)?;
        ensure!(status == 200, "Sonar's dialect answers {status}: {body}");
        let answer: Value = serde_json::from_str(&body)?;
        let cost = &answer["usage"]["cost"]["total_cost"];
        ensure!(cost.is_number() && answer["citations"].is_array(), "not an answer as Sonar's clients read it: {body}");
        show(&format!("{}: {} tokens for {cost} EUR", answer["object"], answer["usage"]["total_tokens"]));

        let form = format!("grant_type=client_credentials&client_id={key_id}&client_secret={key}");
        typed(&format!(
            "curl {url}/oauth/token -d 'grant_type=client_credentials&client_id={key_id}&client_secret=hk_…'"
        ));
        let (status, body) = http::form(self.address, "/oauth/token", &form)?;
        ensure!(status == 200, "the token endpoint answers {status}: {body}");
        let token: Value = serde_json::from_str(&body)?;
        let token = token["access_token"].as_str().context("an answer without a token")?;
        typed(&format!("curl '{url}/v2/lm/deployments?status=RUNNING' -H 'Authorization: Bearer eyJ…'"));
        let (status, body) = http::get_as(self.address, "/v2/lm/deployments?status=RUNNING", token)?;
        ensure!(status == 200, "AI Core's deployments answer {status}: {body}");
        let running: Value = serde_json::from_str(&body)?;
        let deployments = running["resources"].as_array().context("no list of deployments")?;
        let orchestration = deployments.iter().find(|one| one["scenarioId"] == "orchestration");
        let orchestration = orchestration.and_then(|one| one["id"].as_str()).context("no orchestration is running")?;
        let completion = r#"{"config":{"modules":{"prompt_templating":{"prompt":{"template":[{"role":"user","content":"Hi {{?name}}"}]},
            "model":{"name":"nano","params":{"max_tokens":16}}}}},"placeholder_values":{"name":"Muster"}}"#;
        let path = format!("/v2/inference/deployments/{orchestration}/v2/completion");
        typed(&format!("curl {url}{path} -H 'Authorization: Bearer eyJ…' -d '{{\"config\": …}}'"));
        let (status, body) = http::post(self.address, &path, token, completion)?;
        ensure!(status == 200, "orchestration answers {status}: {body}");
        let done: Value = serde_json::from_str(&body)?;
        ensure!(done["final_result"]["choices"].is_array(), "not an answer as SAP's clients read it: {body}");
        show(&format!("{} deployments run; {} answered", deployments.len(), done["final_result"]["model"]));
        fs::write(self.customer.join("aicore.json"), aicore_key(&url, key_id, key))?;
        Ok(())
    }

    fn verify(&self, tenant: &str) -> Result<()> {
        chapter("7. The proof: receipts out of the site, then checked with no network, by a second program");
        let receipts = self.customer.join("receipts");
        let jwks = self.customer.join("jwks.json");
        fs::write(&jwks, self.public("/.well-known/jwks.json")?)?;
        let log_key = self.public("/log/vkey")?.trim().to_owned();
        let out = receipts.display().to_string();
        typed(&format!("hoheit receipt export --tenant {tenant} --out {} --wait", short(&receipts)));
        process::output(&mut self.hoheit(&["receipt", "export", "--tenant", tenant, "--out", &out, "--wait"]))?;
        self.check(&["chain"], &receipts, &jwks, &log_key)?;
        let one = first_with(&receipts, ".jwt")?;
        let proof = one.with_extension("tlog-proof");
        let proof = proof.display().to_string();
        self.check(&["receipt", "--proof", &proof], &one, &jwks, &log_key)?;

        show(&dim("and a forged one: the same receipt, claiming that one token was answered"));
        let forged = self.customer.join("forged.jwt");
        fs::write(&forged, forge(fs::read_to_string(&one)?.trim())?)?;
        ensure!(self.check(&["receipt"], &forged, &jwks, &log_key).is_err(), "a forged receipt was accepted");
        show(&good("rejected, as it must be"));
        Ok(())
    }

    fn check(&self, what: &[&str], file: &Path, jwks: &Path, log_key: &str) -> Result<()> {
        let mut verify = Command::new(binary("hoheit-verify"));
        verify.arg(what[0]).arg(file).args(&what[1..]).arg("--jwks").arg(jwks).args(["--log-key", log_key]);
        typed(&format!("hoheit-verify {} {} … --jwks jwks.json --log-key …", what[0], short(file)));
        let output = verify.output().context("start hoheit-verify")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        show(&if output.status.success() { good(text.trim_end()) } else { bad(text.trim_end()) });
        ensure!(output.status.success(), "hoheit-verify says no: {text}");
        Ok(())
    }

    fn public(&self, path: &str) -> Result<String> {
        let (status, body) = http::get(self.address, path)?;
        ensure!(status == 200, "{path} answers {status}");
        Ok(body)
    }

    fn how_to_go_on(&self, built: Duration) -> Result<()> {
        let url = format!("http://{}", self.address);
        chapter("Go on with the SDK that you use already.  So geht es weiter:");
        show(&format!(
            "export HOHEIT_URL={url}\nexport HOHEIT_API_KEY=$(cat {})",
            short(&self.customer.join("api-key"))
        ));
        show(&bold("\ncurl"));
        show(
            "curl -i $HOHEIT_URL/v1/chat/completions -H \"Authorization: Bearer $HOHEIT_API_KEY\" -H 'Content-Type: application/json' \\\n  \
             -d '{\"model\": \"nano\", \"messages\": [{\"role\": \"user\", \"content\": \"Was ist ein Beleg?\"}]}'",
        );
        show(&bold("\nPython (pip install openai)"));
        show(&format!(
            "from openai import OpenAI\nclient = OpenAI(base_url=\"{url}/v1\", api_key=\"…\")\n\
             client.chat.completions.create(model=\"nano\", messages=[{{\"role\": \"user\", \"content\": \"Hallo\"}}])"
        ));
        show(&bold("\nJavaScript (npm install openai)"));
        show(&format!(
            "import OpenAI from \"openai\";\nconst client = new OpenAI({{ baseURL: \"{url}/v1\", apiKey: \"…\" }});\n\
             await client.chat.completions.create({{ model: \"nano\", messages: [{{ role: \"user\", content: \"Hallo\" }}] }});"
        ));
        show(&bold("\nPerplexity's SDK (pip install perplexityai).  Mit dem SDK von Perplexity:"));
        show(&format!(
            "from perplexity import Perplexity\nclient = Perplexity(base_url=\"{url}\", api_key=\"…\")\n\
             client.chat.completions.create(model=\"sonar\", messages=[{{\"role\": \"user\", \"content\": \"Hallo\"}}])"
        ));
        show(&bold("\nSAP's SDK (npm install @sap-ai-sdk/orchestration).  Mit dem SDK von SAP:"));
        show(&format!("export AICORE_SERVICE_KEY=$(cat {})", short(&self.customer.join("aicore.json"))));
        show(&format!(
            "From a BTP cockpit: hoheit broker register NAME --subaccount ID --signature off prints what `btp register services/broker --url {url}/osb …` takes"
        ));
        show(&bold("\nThe operator"));
        show(&format!(
            "export HOHEIT_DATA={}\n{} status\nA real model: hoheit engine add http://127.0.0.1:8000 --model NAME --country DE --operator … --provider … --jurisdiction DE",
            short(&self.data),
            short(&binary("hoheit"))
        ));
        step(&format!("building took {} s", built.as_secs()));
        Ok(())
    }
}

/// A service key in the form that SAP's clients read from AICORE_SERVICE_KEY.
fn aicore_key(url: &str, id: &str, secret: &str) -> String {
    serde_json::json!({
        "clientid": id, "clientsecret": secret, "url": url, "identityzone": "hoheit", "serviceurls": {"AI_API_URL": url},
    })
    .to_string()
}

fn binary(name: &str) -> PathBuf {
    root::target().join("debug").join(name)
}

/// A path as it reads from the root of the repository.
fn short(path: &Path) -> String {
    path.strip_prefix(root::path()).unwrap_or(path).display().to_string()
}

fn quoted(command: &Command) -> String {
    let quote = |argument: &std::ffi::OsStr| match argument.to_string_lossy() {
        text if text.contains(' ') => format!("\"{text}\""),
        text => text.into_owned(),
    };
    command.get_args().fold("hoheit".to_owned(), |line, argument| line + " " + &quote(argument))
}

fn id(made: &Value) -> Result<String> {
    made["id"].as_str().map(str::to_owned).context("the answer has no id")
}

/// The first file with this ending, by name, at any depth.
fn first_with(folder: &Path, ending: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.into_iter().next().with_context(|| format!("no {ending} in {}", folder.display()))
}

/// The same receipt with another count of tokens; the signature stays.
fn forge(jwt: &str) -> Result<String> {
    let [head, claims, signature] = jwt.split('.').collect::<Vec<_>>()[..] else { bail!("not a JWT: {jwt}") };
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims)?)?;
    let (before, after) = claims.split_once("\"output\":").context("a receipt without a count")?;
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let forged = URL_SAFE_NO_PAD.encode(format!("{before}\"output\":1{after}"));
    Ok(format!("{head}.{forged}.{signature}"))
}
