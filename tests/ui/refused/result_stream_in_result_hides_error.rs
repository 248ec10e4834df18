use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> Result<impl Stream<Item = u8>>;
}

fn main() {}
