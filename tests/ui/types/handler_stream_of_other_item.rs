use rpc::{Stream, service};

#[service]
trait Types {
    async fn numbers(&self) -> impl Stream<Item = u64>;
    async fn fails(&self) -> impl Stream<Item = Result<u64, String>>;
    async fn body(&self) -> impl Stream<Item = u64>;
}

struct Handler;

impl Types for Handler {
    async fn numbers(&self) -> impl Stream<Item = u32> {
        rpc::iter([1])
    }
    async fn fails(&self) -> impl Stream<Item = u64> {
        rpc::iter([1])
    }
    async fn body(&self) -> impl Stream<Item = u64> {
        rpc::iter(["one"])
    }
}

fn main() {}
