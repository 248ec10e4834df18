use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> Option<impl Stream<Item = u8>>;
}

fn main() {}
