use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> impl Stream<Item = Self>;
}

fn main() {}
