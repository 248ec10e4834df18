use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> impl Stream<Item = &str>;
}

fn main() {}
