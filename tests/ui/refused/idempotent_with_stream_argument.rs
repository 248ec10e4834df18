use rpc::service;

#[service]
trait Refused {
    #[rpc(idempotent)]
    async fn method(&self, argument: Streaming<u8>);
}

fn main() {}
