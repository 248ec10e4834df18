use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Streaming<Streaming<u8>>);
}

fn main() {}
