use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> (u8, impl Stream<Item = u8>);
}

fn main() {}
