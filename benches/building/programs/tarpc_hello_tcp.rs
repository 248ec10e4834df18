//! The least program with tarpc over TCP: a greeting.

use futures::prelude::*;
use tarpc::client;
use tarpc::context::{self, Context};
use tarpc::serde_transport::tcp;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;

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
    let mut listener = tcp::listen("127.0.0.1:0", Bincode::default).await?;
    let address = listener.local_addr();
    tokio::spawn(async move {
        while let Some(Ok(transport)) = listener.next().await {
            let requests = BaseChannel::with_defaults(transport).execute(Friendly.serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        }
    });
    let transport = tcp::connect(address, Bincode::default).await?;
    let client = GreeterClient::new(client::Config::default(), transport).spawn();
    println!("{}", client.greet(context::current(), "reader".to_owned()).await?);
    Ok(())
}
