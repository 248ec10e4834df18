use rpc::service;

struct Plain;

#[service]
trait Types {
    async fn method(&self) -> Result<u8, Plain>;
}

fn main() {}
