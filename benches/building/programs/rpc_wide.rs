//! A wide trait with rpc: serves it over TCP and calls each of its methods once.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    x: f64,
    y: f64,
    name: String,
}

struct Handler;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bound = rpc::Server::new().add(WideServer::new(Handler)).bind("tcp://127.0.0.1:0").await?;
    let address = bound.local_addr().to_string();
    tokio::spawn(bound.serve());
    let client = WideClient::connect(address.as_str()).await?;
    // On a task, as most code of a server is. Within `main` it would be compiled for each place that polls that.
    let right = tokio::spawn(async move { call_all(&client).await.map_err(|error| error.to_string()) });
    println!("{}", right.await??);
    Ok(())
}
