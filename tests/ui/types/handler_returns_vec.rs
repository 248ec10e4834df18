use rpc::{Stream, service};

#[service]
trait Types {
    async fn method(&self) -> impl Stream<Item = u64>;
}

struct Handler;

impl Types for Handler {
    async fn method(&self) -> impl Stream<Item = u64> {
        vec![1, 2, 3]
    }
}

fn main() {}
