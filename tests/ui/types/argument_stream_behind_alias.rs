use rpc::{Streaming, service};

type Numbers = Streaming<u64>;

#[service]
trait Types {
    async fn method(&self, numbers: Numbers);
}

fn main() {}
