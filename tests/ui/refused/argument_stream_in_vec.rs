use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Vec<Streaming<u8>>);
}

fn main() {}
