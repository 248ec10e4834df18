use rpc::service;

#[service]
trait Refused {
    async fn method(&self) -> Pin<Box<dyn Stream<Item = u8> + Send>>;
}

fn main() {}
