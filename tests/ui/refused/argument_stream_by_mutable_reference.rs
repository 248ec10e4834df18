use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: &mut Streaming<u8>);
}

fn main() {}
