use rpc::{Streaming, service};

type Numbers = Streaming<u64>;

#[service]
trait Types {
    async fn method(&self) -> Numbers;
}

fn main() {}
