use rpc::service;

#[service]
trait Refused {
    async fn method(&self, #[rpc(default)] first: u8, second: u8);
}

fn main() {}
