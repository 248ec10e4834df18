use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: impl Stream<Item = u8>);
}

fn main() {}
