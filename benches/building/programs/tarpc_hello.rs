//! The least program with tarpc: a greeting, called in process as its readme does it.

use futures::prelude::*;
use tarpc::client;
use tarpc::context::{self, Context};
use tarpc::server::{BaseChannel, Channel};

#[tarpc::service]
trait Greeter {
    /// A greeting for somebody.
    async fn greet(name: String) -> String;
}

#[derive(Clone)]
struct Friendly;

impl Greeter for Friendly {
    async fn greet(self, _: Context, name: String) -> String {
        format!("Good morning, {name}")
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (here, there) = tarpc::transport::channel::unbounded();
    let requests = BaseChannel::with_defaults(there).execute(Friendly.serve());
    tokio::spawn(requests.for_each(|request| async {
        tokio::spawn(request);
    }));
    let client = GreeterClient::new(client::Config::default(), here).spawn();
    println!("{}", client.greet(context::current(), "reader".to_owned()).await?);
    Ok(())
}
