use rpc::service;

struct Plain;

#[service]
trait Types {
    async fn method(&self) -> Vec<Plain>;
}

fn main() {}
