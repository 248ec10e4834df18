use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: &Streaming<u8>);
}

fn main() {}
