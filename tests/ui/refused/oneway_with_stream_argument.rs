use rpc::service;

#[service]
trait Refused {
    #[rpc(oneway)]
    async fn method(&self, argument: Streaming<u8>);
}

fn main() {}
