use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> Result<Streaming<u8>, String>;
}

fn main() {}
