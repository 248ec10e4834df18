use rpc::service;

#[service]
trait Refused {
    #[rpc(inline)]
    async fn method(&self) -> impl Stream<Item = u64>;
}

fn main() {}
