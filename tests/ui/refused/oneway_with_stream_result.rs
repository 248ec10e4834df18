use rpc::service;

#[service]
trait Refused {
    #[rpc(oneway)]
    async fn method(&self) -> impl Stream<Item = u8>;
}

fn main() {}
