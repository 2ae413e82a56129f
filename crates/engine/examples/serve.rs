//! Serves one model by itself, to try a model or a client: `cargo run -p engine --example serve -- PATH [ADDRESS]`.
//! Ends with ctrl-c.

use engine::{Engine, Options};
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("usage: serve PATH [ADDRESS]")?);
    let address = arguments.next().map_or("127.0.0.1:0".into(), |a| a.to_string_lossy().into_owned());
    let start = Instant::now();
    let engine = Engine::load(&path, Options::default())?;
    println!("loaded in {} ms: {:?}", start.elapsed().as_millis(), engine.info());
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(&address).await?;
        println!("http://{}/v1", listener.local_addr()?);
        engine.serve(listener, async { drop(tokio::signal::ctrl_c().await) }).await?;
        Ok(())
    })
}
