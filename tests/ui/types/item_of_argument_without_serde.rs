use rpc::{Streaming, service};

struct Plain;

#[service]
trait Types {
    async fn method(&self, items: Streaming<Plain>);
}

fn main() {}
