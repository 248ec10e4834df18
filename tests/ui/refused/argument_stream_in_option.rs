use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Option<Streaming<u8>>);
}

fn main() {}
