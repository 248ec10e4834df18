use rpc::{Streaming, service};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Upload {
    name: String,
    parts: Streaming<Vec<u8>>,
}

#[service]
trait Types {
    async fn method(&self, upload: Upload);
}

fn main() {}
