use rpc::{Streaming, service};

#[service]
trait Types {
    async fn method(&self, numbers: Streaming<u64>);
}

struct Handler;

impl Types for Handler {
    async fn method(&self, numbers: Streaming<u32>) {
        drop(numbers);
    }
}

fn main() {}
