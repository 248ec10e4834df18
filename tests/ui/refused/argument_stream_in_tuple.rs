use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: (u8, Streaming<u8>));
}

fn main() {}
