use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> impl Stream<Item = u8> + '_;
}

fn main() {}
