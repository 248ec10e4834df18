use rpc::{Stream, service};

struct Plain;

#[service]
trait Types {
    async fn method(&self) -> impl Stream<Item = Plain>;
}

fn main() {}
