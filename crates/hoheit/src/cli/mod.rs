//! The command line: one file per noun, each a thin client of the control API. It decides nothing and stores nothing;
//! what it prints with `--json` is what the API answered. `twin`, `site check` and
//! `site plan` ask nobody; `machine discover` asks a BMC.

mod agent;
mod audit;
mod broker;
mod budget;
mod chat;
mod client;
mod endpoint;
mod engine;
mod export;
mod failure;
mod fleet;
mod key;
mod machine;
mod model;
mod order;
mod partner;
mod policy;
mod price;
mod project;
mod receipt;
mod show;
mod site;
mod status;
mod task;
mod tenant;
mod token;
mod twin;

pub use failure::Failure;
pub use twin::Policy;

use clap::Subcommand;

/// Everything but `up`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Customers.
    Tenant(tenant::Tenant),
    /// Parts of a tenant with their own keys, class, country and budget.
    Project(project::Project),
    /// API keys of a project.
    Key(key::Key),
    /// The names that tenants ask for.
    Model(model::Model),
    /// Running engines: replicas of endpoints.
    Engine(engine::Engine),
    /// Models under one set of facts.
    Endpoint(endpoint::Endpoint),
    /// Rules, and what they permit.
    Policy(policy::Policy),
    /// Money per month, at tenant, project or key.
    Budget(budget::Budget),
    /// The price book.
    Price(price::Price),
    /// Providers that publish endpoints here, and what they earned.
    Partner(partner::Partner),
    /// Signed receipts and their proofs.
    Receipt(receipt::Receipt),
    /// Bearers of a role at the control API.
    Token(token::Token),
    /// Who changed what.
    Audit(audit::Audit),
    /// Ask a model, with streaming, and see the receipt.
    Chat(chat::Chat),
    /// The state of the site.
    Status(status::Status),
    /// The site file: halls, racks, power, switches and machines, checked and planned.
    Site(site::Site),
    /// The machines of the site.
    Machine(machine::Machine),
    /// What runs on each machine: reports, validation, engines kept alive.
    Agent(agent::Agent),
    /// Work on machines, by robots and people.
    Order(order::Order),
    /// The steps of orders, for people: confirm, take, start, done.
    Task(task::Task),
    /// Platforms that order through the Open Service Broker, SAP BTP for example.
    Broker(broker::Broker),
    /// All machines at once: counts, events, a live view.
    Fleet(fleet::Fleet),
    /// The simulated factory: studies in virtual time, or around a real site on loopback.
    Twin(twin::Twin),
}

/// Runs a command to its end.
pub fn run(command: Command) -> Result<(), Failure> {
    if let Command::Twin(noun) = command {
        return noun.run();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("The runtime did not start: {error}")))?;
    runtime.block_on(async {
        match command {
            Command::Tenant(noun) => noun.run().await,
            Command::Project(noun) => noun.run().await,
            Command::Key(noun) => noun.run().await,
            Command::Model(noun) => noun.run().await,
            Command::Engine(noun) => noun.run().await,
            Command::Endpoint(noun) => noun.run().await,
            Command::Policy(noun) => noun.run().await,
            Command::Budget(noun) => noun.run().await,
            Command::Price(noun) => noun.run().await,
            Command::Partner(noun) => noun.run().await,
            Command::Receipt(noun) => noun.run().await,
            Command::Token(noun) => noun.run().await,
            Command::Audit(noun) => noun.run().await,
            Command::Chat(noun) => noun.run().await,
            Command::Status(noun) => noun.run().await,
            Command::Site(noun) => noun.run().await,
            Command::Machine(noun) => noun.run().await,
            Command::Agent(noun) => noun.run().await,
            Command::Order(noun) => noun.run().await,
            Command::Task(noun) => noun.run().await,
            Command::Broker(noun) => noun.run().await,
            Command::Fleet(noun) => noun.run().await,
            Command::Twin(noun) => noun.run(),
        }
    })
}
