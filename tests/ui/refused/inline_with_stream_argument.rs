use rpc::service;

#[service]
trait Refused {
    #[rpc(inline)]
    async fn method(&self, numbers: Streaming<u64>);
}

fn main() {}
