//! A wide trait with tarpc: serves it over TCP and calls each of its methods once.

use futures::prelude::*;
use serde::{Deserialize, Serialize};
use tarpc::client;
use tarpc::context::{self, Context};
use tarpc::serde_transport::tcp;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    x: f64,
    y: f64,
    name: String,
}

#[derive(Clone)]
struct Handler;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut listener = tcp::listen("127.0.0.1:0", Bincode::default).await?;
    let address = listener.local_addr();
    tokio::spawn(async move {
        while let Some(Ok(transport)) = listener.next().await {
            let requests = BaseChannel::with_defaults(transport).execute(Handler.serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        }
    });
    let transport = tcp::connect(address, Bincode::default).await?;
    let client = WideClient::new(client::Config::default(), transport).spawn();
    // On a task, as most code of a server is. Within `main` it would be compiled for each place that polls that.
    let right = tokio::spawn(async move { call_all(&client).await.map_err(|error| error.to_string()) });
    println!("{}", right.await??);
    Ok(())
}
