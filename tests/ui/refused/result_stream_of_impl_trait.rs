use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> impl Stream<Item = impl Into<u8>>;
}

fn main() {}
