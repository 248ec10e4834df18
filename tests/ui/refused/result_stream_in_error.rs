use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> Result<u8, impl Stream<Item = u8>>;
}

fn main() {}
