use rpc::service;

#[service]
trait Refused {
    async fn method(&self, #[rpc(default)] argument: Streaming<u8>);
}

fn main() {}
