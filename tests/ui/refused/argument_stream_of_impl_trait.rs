use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: Streaming<impl Into<u8>>);
}

fn main() {}
