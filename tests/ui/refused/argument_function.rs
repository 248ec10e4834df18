use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: fn(u8) -> u8);
}

fn main() {}
