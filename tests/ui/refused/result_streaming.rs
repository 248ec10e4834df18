use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> Streaming<u8>;
}

fn main() {}
